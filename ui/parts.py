"""The parts a view is made of, JSON-ready; static/parts.js has a drawing of the same name for each.

Everything here is text and numbers. The page sets text as text, so nothing in it is ever markup.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from .protocol import Part

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Hue = Literal["global", "local", "signed", "plain"]
DIGITS = 4
"""Significant digits of a number sent to be drawn."""
OVERVIEW = 400
"""The most columns of the small map of a whole text."""


def note(text: str) -> Part:
    """A quiet sentence."""
    return {"kind": "note", "text": text}


def heading(text: str) -> Part:
    """A title inside a view."""
    return {"kind": "heading", "text": text}


def side_by_side(*parts: Part) -> Part:
    """Parts in one row, under each other where the page is narrow."""
    return {"kind": "row", "parts": list(parts)}


def stacked(*parts: Part) -> Part:
    """Parts under each other, as one cell of a row."""
    return {"kind": "column", "parts": list(parts)}


def cell(
    text: object, *, bar: float | None = None, hue: Hue = "plain", strong: bool = False, **hold: int
) -> Part:
    """A cell of a table.

    Args:
        text: what it says.
        bar: 0 to 1, drawn behind the text; from -1 where the hue is "signed".
        hue: of the bar.
        strong: whether it stands out.
        hold: a `layer`, `head`, `token` or wish of the view that a click sets.
    """
    made: Part = {"text": str(text)}
    if bar is not None:
        made |= {"bar": round(float(bar), 4), "hue": hue}
    if strong:
        made["strong"] = True
    return made | ({"hold": hold} if hold else {})


def table(
    columns: Sequence[str], rows: Sequence[Sequence[Part | str]], *, title: str = "",
    left: Sequence[str] = (),
) -> Part:  # fmt: skip
    """A table; numbers to the right, the columns named in `left` to the left."""
    return {
        "kind": "table",
        "title": title,
        "columns": [{"name": name, "left": name in left} for name in columns],
        "rows": [[one if isinstance(one, dict) else cell(one) for one in row] for row in rows],
    }


def heat(
    values: npt.ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
    axis: str = "",
    hue: Hue | Sequence[Hue] = "plain",
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    unit: str = "",
    texts: Sequence[Sequence[str]] | None = None,
    hold: tuple[str | None, str | None] = (None, None),
    row_hold: Sequence[int | None] | None = None,
    column_hold: Sequence[int | None] | None = None,
    row_hues: Sequence[Hue] | None = None,
    mark: tuple[int | None, int | None] | None = None,
    window: slice | None = None,
) -> Part:
    """A small matrix in colour, with the value under the pointer told.

    Of a long text only a window of the columns is drawn large. A small map of all of them stands
    above it, on which the view's wish `first` moves the window.

    Args:
        values: (row, column); NaN is drawn as nothing.
        rows: a label each.
        columns: a label each.
        title: above it.
        axis: what the columns are, where their labels don't say it.
        hue: of all cells, or of each row.
        low: value of the lightest colour; the least by default, or minus `high` for "signed".
        high: value of the darkest; the most by default.
        log: whether colours are spaced by the values' logarithms; they are all above 0 then.
        unit: what the number is, "nats".
        texts: a word written in each cell, where there is room.
        hold: which held wish a click on a cell sets by its row and by its column.
        row_hold: what each row sets; its index by default, and nothing for None.
        column_hold: what each column sets.
        row_hues: colour of each row's label.
        mark: row and column that are outlined; None for all of them.
        window: the columns drawn large; None for all. Everything else counts in all columns.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    signed = hue == "signed"
    top = float(np.abs(finite).max() if signed else finite.max()) if finite.size else 1.0
    high = top if high is None else high
    low = (-high if signed else float(finite.min()) if finite.size else 0.0) if low is None else low
    total = array.shape[1]
    seen = window or slice(0, total)
    overview = None if seen.stop - seen.start == total else _overview(array, seen)
    holds = range(total) if column_hold is None else column_hold
    return {
        "kind": "heat",
        "title": title,
        "values": _rounded(array[:, seen]),
        "overview": overview,
        "rows": list(rows),
        "columns": list(columns[seen]),
        "axis": axis,
        "hue": hue if isinstance(hue, str) else list(hue),
        "low": _short(low),
        "high": _short(high if high > low else low + 1),
        "log": log,
        "unit": unit,
        "texts": None if texts is None else [list(row[seen]) for row in texts],
        "hold": list(hold),
        "row_hold": None if row_hold is None else list(row_hold),
        "column_hold": list(holds[seen]),
        "row_hues": None if row_hues is None else list(row_hues),
        "mark": _mark_inside(mark, seen),
    }


def _mark_inside(
    mark: tuple[int | None, int | None] | None, seen: slice
) -> list[int | None] | None:
    """The mark counted in the columns seen; None where its column is none of them."""
    if mark is None:
        return None
    row, column = mark
    if column is None:
        return [row, None]
    return [row, column - seen.start] if seen.start <= column < seen.stop else None


def _overview(array: npt.NDArray[np.float64], seen: slice) -> Part:
    """All columns, pooled: of the columns of a pixel the value farthest from 0 is kept."""
    total = array.shape[1]
    pool = -(-total // OVERVIEW)
    firsts = range(0, total, pool)
    most, least = (each.reduceat(array, firsts, axis=1) for each in (np.maximum, np.minimum))
    values = np.where(most >= -least, most, least)
    return {
        "values": _rounded(values), "pool": pool, "total": total,
        "start": seen.start, "stop": seen.stop,
    }  # fmt: skip


def line(
    name: str, y: Sequence[float], x: Sequence[float] | None = None, *, hue: Hue = "plain",
    dashed: bool = False, dots: bool = False,
) -> Part:  # fmt: skip
    """One curve of `lines`."""
    xs = range(len(y)) if x is None else x
    points = [[_short(a), _short(b)] for a, b in zip(xs, y, strict=True)]
    return {"name": name, "points": points, "hue": hue, "dashed": dashed, "dots": dots}


def lines(
    series: Sequence[Part],
    *,
    title: str = "",
    x: str = "",
    y: str = "",
    log_x: bool = False,
    log_y: bool = False,
    ticks: Sequence[str] | None = None,
    marks: Mapping[str, float] | None = None,
    levels: Mapping[str, float] | None = None,
) -> Part:
    """Curves over one axis.

    Args:
        series: made by `line`.
        title: above them.
        x: what the axis is.
        y: likewise.
        log_x: whether it is logarithmic.
        log_y: likewise.
        ticks: names of x = 0, 1, 2 and so on.
        marks: upright lines by name.
        levels: level lines by name.
    """
    return {
        "kind": "lines",
        "title": title,
        "series": list(series),
        "x": {"label": x, "log": log_x, "ticks": None if ticks is None else list(ticks)},
        "y": {"label": y, "log": log_y},
        "marks": [{"name": name, "at": _short(at)} for name, at in (marks or {}).items()],
        "levels": [{"name": name, "at": _short(at)} for name, at in (levels or {}).items()],
    }


def strip(
    tokens: Sequence[str], values: Sequence[float], *, title: str = "", unit: str = "",
    hue: Hue = "signed", mark: int | None = None,
) -> Part:  # fmt: skip
    """The text with each token coloured by its value; a click holds the token."""
    return {
        "kind": "strip", "title": title, "tokens": list(tokens), "mark": mark, "unit": unit,
        "values": [_short(value) for value in values], "hue": hue,
        "high": max([abs(value) for value in values], default=0.0) or 1.0,
    }  # fmt: skip


def shades(weights: npt.NDArray[np.float32], scale: float) -> str:
    """A map in 256 shades of the root of each weight's share of `scale`, in base64."""
    levels = np.rint(np.sqrt(weights / max(scale, 1e-9)) * 255)
    return b64encode(levels.astype(np.uint8).tobytes()).decode()


def picture(figure: Figure, alt: str) -> Part:
    """A matplotlib figure as it is saved. Slow: for what is drawn once, not for redraws."""
    from io import BytesIO

    buffer = BytesIO()
    figure.savefig(buffer, format="svg")
    return {"kind": "picture", "svg": b64encode(buffer.getvalue()).decode(), "alt": alt}


def _rounded(array: npt.NDArray[np.float64]) -> list[list[float | None]]:
    return [[_short(x) for x in row] for row in array.tolist()]


def _short(value: float) -> float | None:
    """A number of `DIGITS` significant digits; None for what JSON has no number for."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
