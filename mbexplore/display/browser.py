"""Blocks as JSON for a browser: display/page has a drawing for each kind.

Everything is text and numbers, and the scripts set text as text: nothing in it is ever markup.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from functools import singledispatch
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mbexplore.display import blocks as b
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.blocks import Block, Cell
from mbexplore.display.data import pick
from mbexplore.display.palette import head_hues
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.story_blocks import LEAST, Proof, RouteGraph, Story
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.analysis.axis import Axis

Part: TypeAlias = dict[str, Any]
DIGITS = 4
"""Significant digits of a number that is drawn; files hold all of them."""
OVERVIEW = 400
"""Most columns of the small map of a whole text."""
WIDE = 120
"""Most columns of a matrix that are drawn large."""
EXACT = 160
"""A map of at most so many rows and columns is sent as numbers, a larger one as shades."""
PIXELS = {1: 512, 16: 256}
"""Most rows and columns of a map, by how many maps there are at most."""
THUMBNAIL = 48
"""Rows and columns of a map among those of all heads."""
MOST_PLACES = 240
"""Tokens in a column of arcs; of a longer text, those around the marked one."""


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


@singledispatch
def to_part(block: Block) -> Part:
    """A block as JSON."""
    raise TypeError(f"no browser renderer for {type(block).__name__}")


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
        pick(one, *names) | {"points": [[short(a), short(b)] for a, b in one.points]}
        for one in block.series
    ]
    return {"kind": "lines", **vars(block), "series": series}


@to_part.register
def _(block: b.TokenStrip) -> Part:
    numbers = {"values": [short(value) for value in block.values], "high": short(block.full)}
    return {"kind": "strip", **vars(block), **numbers}


@to_part.register
def _(block: Story) -> Part:
    sentences = [
        {
            "phrases": [
                {"text": each.text, "figure": each.proof.figure, "open": _link(each.proof)}
                for each in one.phrases
            ],
            "commands": one.elsewhere,
        }
        for one in block.sentences
    ]
    return {"kind": "story", "sentences": sentences}


def _link(proof: Proof) -> Part:
    """What opens the view of a proof."""
    return {"view": proof.view, "settings": dict(proof.settings), "text": proof.text}


@to_part.register
def _(block: RouteGraph) -> Part:
    names = ("row", "key", "query", "name", "label", "about", "hue", "backup")
    edges = [
        pick(edge, *names)
        | {"share": short(edge.share), "open": _link(edge.proof), "number": n, "count": count}
        for edge, n, count in block.ends
    ]
    nodes = block.nodes
    return pick(nodes, "title", "unit", "rows", "columns") | {
        "kind": "route",
        "values": [[short(x) for x in row] for row in nodes.values.tolist()],
        "row_hues": nodes.row_hues or (),
        "row_hold": nodes.row_values or (),
        "column_hold": nodes.column_values or (),
        "mark": None if nodes.mark is None else nodes.mark[1],
        "least": LEAST,
        "high": short(nodes.bounds[1]),
        "edges": edges,
    }


@to_part.register
def _(block: Scatter) -> Part:
    names = ("title", "names", "theirs_name", "x", "y", "mark")
    return {
        "kind": "scatter",
        **pick(block, *names),
        "measures": {name: list(map(short, some)) for name, some in block.measures.items()},
        "theirs": {name: list(map(short, some)) for name, some in block.theirs.items()},
        "hues": [block.hue(i) for i in range(len(block.names))],
        "hold": [dict(one) for one in block.select],
        "axes": block.hold,
        "shares": sorted(block.shares),
    }


@to_part.register
def _(block: AttentionMap) -> Part:
    """One part a map, beside each other."""
    count = len(block.names)
    pixels = next((most for maps, most in PIXELS.items() if count <= maps), 128)
    tile = block.tile.shrink(pixels)
    tall, wide = tile.pool
    shared: Part = {
        "kind": "map",
        "hue": tile.kind,
        "root": block.root,
        "scale": block.high,
        "unit": block.scale,
        "columnAxis": block.column_axis,
        "rowPlaces": _places(tile.queries, tall),
        "columnPlaces": _places(tile.keys, wide),
        "pool": [tall, wide],
        "pooled": tile.pooled,
        "window": tile.window(),
        "seq": tile.queries.seq,
        "zoom": block.has_keys,
        "zoomed": tile.queries.bounds is not None or tile.keys.bounds is not None,
        "mark": None if block.mark is None else block.mark // tall,
        "marked": None if block.mark is None else _places(tile.queries, 1)[block.mark],
    }
    maps = []
    for number, weights in enumerate(tile.weights):
        name = block.title if count == 1 else block.title_of(number)
        maps.append({**shared, "title": name, **_numbers(weights, block.high, block.root)})
    if count == 1:
        return maps[0]
    return {"kind": "maps", "title": block.title, "parts": maps}


def _places(axis: Axis, pool: int) -> list[list[Any]]:
    """The first place of each pixel: its label, and its token."""
    return [[word(axis.labels[i]), int(axis.starts[i])] for i in range(0, len(axis), pool)]


def _numbers(weights: NDArray[np.float32], high: float, root: int) -> Part:
    """A map's pixels in base64."""
    exact = max(weights.shape) <= EXACT
    data = _base64(weights.astype("<f4")) if exact else _shades(weights, high, root)
    return {"shape": list(weights.shape), "exact": exact, "data": data}


def _shades(weights: NDArray[np.float32], high: float, root: int) -> str:
    """256 shades of the root of each weight's share of `high`."""
    levels = np.rint((weights / max(high, 1e-9)) ** (1 / root) * 255)
    return _base64(levels.astype(np.uint8))


def _base64(array: NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()


@to_part.register
def _(block: ModelView) -> Part:
    from mbexplore.analysis.maps import max_pool

    layers = []
    for each in block.maps:
        pool = -(-each.weights.shape[-1] // THUMBNAIL)
        small = max_pool(each.weights, (pool, pool)).astype(np.float32)
        highest = [float(one.max()) for one in small]
        maps = [_shades(one, high, 2) for one, high in zip(small, highest, strict=True)]
        layers.append({"kind": each.kind, "maps": maps, "highest": [short(x) for x in highest]})
    pool *= block.maps[0].pool
    return {
        "kind": "thumbs",
        "title": block.title,
        "unit": block.scale,
        "size": small.shape[-1],
        "places": _places(block.maps[0].axis, pool),
        "pool": pool,
        "mark": None if block.mark is None else block.mark // pool,
        "marked": None if block.mark is None else _places(block.maps[0].axis, 1)[block.mark],
        "names": list(block.maps[0].names),
        "layers": layers,
        "parts": list(block.parts),
        "blocked": list(block.blocked),
        "tokens": list(block.tokens),
    }


@to_part.register
def _(block: Arcs) -> Part:
    """The links inside the part of the text that is drawn."""
    found = block.arcs
    places = len(found.axis)
    first = max(0, min((block.mark or 0) - MOST_PLACES // 2, places - MOST_PLACES))
    seen = range(first, min(first + MOST_PLACES, places))
    links = [x for x in found.links if x.query in seen and x.key in seen]
    hues = dict(zip(found.heads, head_hues(found.heads, False), strict=True))
    return {
        "kind": "arcs",
        "title": block.title,
        "hue": found.kind,
        "heads": [] if found.is_mean or len(hues) == 1 else [[h, c] for h, c in hues.items()],
        "places": _places(found.axis, 1)[seen.start : seen.stop],
        "links": [[x.query - first, x.key - first, round(x.weight, 4), x.head] for x in links],
        "high": block.high,
        "mark": None if block.mark is None else block.mark - first,
        "part": ""
        if len(seen) == places
        else f"Drawn: tokens {found.axis.starts[seen[0]]:,} to "
        f"{found.axis.starts[seen[-1]]:,} of a text of {found.axis.seq:,}; those around another "
        "token are drawn when it is selected.",
    }


def short(value: float | None) -> float | None:
    """A number of `DIGITS` significant digits; None for what JSON has no number for."""
    return None if value is None or not isfinite(value) else float(f"{value:.{DIGITS}g}")
