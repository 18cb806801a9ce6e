"""Blocks as JSON for a browser: display/page has a drawing for each kind.

Everything is text and numbers, and the scripts set text as text: nothing in it is ever markup.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

from mbexplore.display import blocks as b
from mbexplore.display.blocks import Block, Cell
from mbexplore.display.kinds import renderer

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable

    import numpy as np
    from numpy.typing import NDArray

Part: TypeAlias = dict[str, Any]
DIGITS = 4
"""Significant digits of a number that is drawn; files hold all of them."""
OVERVIEW = 400
"""Most columns of the small map of a whole text."""
WIDE = 120
"""Most columns of a matrix that are drawn large."""


def to_parts(blocks: Iterable[Block], first: int | None = None) -> list[Part]:
    """Blocks as the scripts draw them.

    Args:
        blocks: of a view.
        first: of a matrix with many columns, the first that is drawn large; None for those around
            its mark.
    """
    parts = [to_part(block) for block in blocks]
    return [_windowed(part, first) for part in parts]


def _windowed(part: Part, first: int | None) -> Part:
    if part["kind"] in ("row", "column"):
        return part | {"parts": [_windowed(one, first) for one in part["parts"]]}
    return cut_columns(part, first) if part["kind"] == "heat" else part


to_part: _SingleDispatchCallable[Part] = renderer("browser")
"""A block as JSON."""


@to_part.register(b.Headline)
@to_part.register(b.Badge)
@to_part.register(b.Note)
def _(block: Block) -> Part:
    return {"kind": type(block).__name__.lower(), **vars(block)}


@to_part.register(b.Row)
@to_part.register(b.Column)
def _(block: b.Row | b.Column) -> Part:
    kind = "row" if isinstance(block, b.Row) else "column"
    return {"kind": kind, "parts": [to_part(one) for one in block.blocks]}


@to_part.register
def _(block: b.Table) -> Part:
    return {
        "kind": "table",
        "title": block.title,
        "columns": [{"name": name, "left": name in block.left} for name in block.columns],
        "rows": [[_cell(cell) for cell in row] for row in block.cells],
    }


def _cell(cell: Cell) -> Part:
    made: Part = {"text": cell.shown}
    if cell.bar is not None:
        made |= {"bar": round(float(cell.bar), 4), "hue": cell.hue}
    if cell.strong:
        made["strong"] = True
    return made | ({"hold": dict(cell.select)} if cell.select else {})


@to_part.register
def _(block: b.Bars) -> Part:
    return to_part(block.table)


@to_part.register
def _(block: b.Heat) -> Part:
    low, high = map(short, block.bounds)
    columns = block.column_values or tuple(range(len(block.columns)))
    return {"kind": "heat", **vars(block), "low": low, "high": high, "column_hold": columns}


def cut_columns(part: Part, first: int | None) -> Part:
    """A matrix with the columns that are drawn large, and a small map of all where it is cut."""
    array: NDArray[np.floating] = part["values"]
    total = array.shape[1]
    mark = part["mark"]
    start = first
    if start is None:
        start = 0 if mark is None or mark[1] is None else mark[1] - WIDE // 2
    start = max(0, min(start, total - WIDE))
    seen = slice(start, min(start + WIDE, total))
    if mark is not None and mark[1] is not None:
        inside = seen.start <= mark[1] < seen.stop
        part["mark"] = [mark[0], mark[1] - seen.start] if inside else None
    texts = part["texts"]
    return part | {
        "values": [[short(x) for x in row] for row in array[:, seen].tolist()],
        "overview": None if total <= WIDE else _overview(array, seen),
        "columns": part["columns"][seen],
        "column_hold": part["column_hold"][seen],
        "texts": None if texts is None else [row[seen] for row in texts],
    }


def _overview(array: NDArray[np.floating], seen: slice) -> Part:
    """All columns, pooled: of the columns of a pixel the value farthest from 0 is kept."""
    import numpy as np

    total = array.shape[1]
    pool = -(-total // OVERVIEW)
    firsts = range(0, total, pool)
    most, least = (each.reduceat(array, firsts, axis=1) for each in (np.maximum, np.minimum))
    values = np.where(most >= -least, most, least)
    return {
        "values": [[short(x) for x in row] for row in values.tolist()],
        "pool": pool,
        "total": total,
        "start": seen.start,
        "stop": seen.stop,
    }


@to_part.register
def _(block: b.Lines) -> Part:
    names = ("name", "hue", "dashed", "dots")
    series = [
        {name: getattr(one, name) for name in names}
        | {"points": [[short(a), short(b)] for a, b in one.points]}
        for one in block.series
    ]
    return {"kind": "lines", **vars(block), "series": series}


@to_part.register
def _(block: b.TokenStrip) -> Part:
    numbers = {"values": [short(value) for value in block.values], "high": short(block.full)}
    return {"kind": "strip", **vars(block), **numbers}


def short(value: float) -> float | None:
    """A number of `DIGITS` significant digits; None for what JSON has no number for."""
    return float(f"{value:.{DIGITS}g}") if isfinite(value) else None
