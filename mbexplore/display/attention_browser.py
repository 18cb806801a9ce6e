"""Attention as JSON for a browser: small maps as they are, large ones in 256 shades."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import numpy as np
import numpy.typing as npt

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import max_pool
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.browser import Part, short, to_part
from mbexplore.display.palette import head_hues
from mbexplore.text import word

EXACT = 160
"""A map of at most so many rows and columns is sent as numbers, a larger one as shades."""
PIXELS = {1: 512, 16: 256}
"""Most rows and columns of a map, by how many maps there are at most."""
THUMBNAIL = 48
"""Rows and columns of a map among those of all heads."""
MOST_PLACES = 240
"""Tokens in a column of arcs; of a longer text, those around the marked one."""

Weights = npt.NDArray[np.float32]


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
    }
    maps = []
    for number, weights in enumerate(tile.weights):
        name = block.title if count == 1 else block.title_of(number)
        profile = None if block.profile is None else [short(x) for x in block.profile[number]]
        numbers = _numbers(weights, block.high, block.root)
        maps.append({**shared, "title": name, "profile": profile, **numbers})
    if count == 1:
        return maps[0]
    return {"kind": "maps", "title": block.title, "parts": maps}


def _places(axis: Axis, pool: int) -> list[list[Any]]:
    """The first place of each pixel: its label, and its token."""
    return [[word(axis.labels[i]), int(axis.starts[i])] for i in range(0, len(axis), pool)]


def _numbers(weights: Weights, high: float, root: int) -> Part:
    """A map's pixels in base64."""
    exact = max(weights.shape) <= EXACT
    data = _base64(weights.astype("<f4")) if exact else _shades(weights, high, root)
    return {"shape": list(weights.shape), "exact": exact, "data": data}


def _shades(weights: Weights, high: float, root: int) -> str:
    """256 shades of the root of each weight's share of `high`."""
    levels = np.rint((weights / max(high, 1e-9)) ** (1 / root) * 255)
    return _base64(levels.astype(np.uint8))


def _base64(array: npt.NDArray[Any]) -> str:
    return b64encode(np.ascontiguousarray(array).tobytes()).decode()


@to_part.register
def _(block: ModelView) -> Part:
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
