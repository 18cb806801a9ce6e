"""What the components of the pages show: maps as packed bytes, and arcs as their numbers."""

from __future__ import annotations

import shlex
import zlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.band import BandMap
from mbexplore.analysis.links import Arcs
from mbexplore.analysis.maps import LayerMap, head_names
from mbexplore.analysis.tile import Tile
from mbexplore.display.palette import HUE, ON_WHITE, TINT, head_hues
from mbexplore.network.config import LayerKind
from mbexplore.web import build_page

NOTE = (
    "Rows are queries, columns keys; each map is coloured up to its own largest weight, on a "
    "square-root scale. Point at it to read a weight, rounded to 1/255 of its square root."
)

STEPS = 255
"""A weight is sent as the nearest of so many steps of its square root: faint ones stay apart."""


def attention_data(
    maps: Sequence[LayerMap] | Sequence[BandMap], selected: tuple[int, int] = (0, 0)
) -> dict[str, Any]:
    """What `mountAttention` of `mbexplore.web` shows.

    Weights are rounded to steps of their square root: by 0.0002 at most near 0.01 and 0.002 near 1.
    A row of 128 weights that sum to 1 then has an entropy of less than 5.6 bits a weight, which
    keeps the 264 maps of base under 5 MB.

    Args:
        maps: of one layer or several, all alike but for their kind.
        selected: which of `maps` and which of its heads is shown large at first.
    """
    first = maps[0]
    rows = _places(first.axis, "query", first.pool)
    columns = _offsets(first) if isinstance(first, BandMap) else {**rows, "name": "key"}
    layers = []
    for each in maps:
        edges = each.window() if isinstance(each, LayerMap) else None
        listed = None if edges is None else edges.tolist()
        layers.append(_layer(each.layer, each.kind, each.title, each.weights, listed))
    pooled = first.pooled and f"{first.pooled}."
    heads = (first.heads, first.is_mean)
    return _data(rows, columns, first.weights, heads, layers, selected, pooled)


def part_data(
    tiles: Sequence[Tile], heads: tuple[int, ...], is_mean: bool, layer: int, title: str
) -> dict[str, Any]:
    """The same of some queries by some keys.

    Args:
        tiles: one a head, all of the same queries and keys; or one of their mean.
        heads: whose they are.
        is_mean: whether it is the mean.
        layer: from 0.
        title: what the layer is, in one line.
    """
    first, weights = tiles[0], np.stack([each.weights for each in tiles])
    kind: LayerKind = "global" if first.half_window is None else "local"
    edges = first.window()
    listed = None if edges is None else [list(pair) for pair in edges]
    return _data(
        _places(first.queries, "query", first.pool[0]),
        _places(first.keys, "key", first.pool[1]),
        weights,
        (heads, is_mean),
        [_layer(layer, kind, title, weights, listed)],
        (0, 0),
        f"{first.pooled.removeprefix(', ')}." if first.pooled else "",
    )


def _data(
    rows: dict[str, Any],
    columns: dict[str, Any],
    weights: NDArray[np.float32],
    heads: tuple[tuple[int, ...], bool],
    layers: list[dict[str, Any]],
    selected: tuple[int, int],
    pooled: str,
) -> dict[str, Any]:
    return {
        "rows": rows,
        "columns": columns,
        "height": weights.shape[1],
        "width": weights.shape[2],
        "maps": list(head_names(*heads)),
        "marks": list(head_hues(*heads)),
        "layers": layers,
        "selected": list(selected),
        "pooled": pooled,
        "colours": ON_WHITE,
        "hues": HUE,
        "tints": TINT,
    }


def attention_page(
    maps: Sequence[LayerMap] | Sequence[BandMap],
    model: str,
    command: Sequence[str],
    selected: int = 0,
) -> str:
    """A page in one file with `maps`, one of which (`selected`) is shown large at first."""
    first = maps[0]
    what = "by the offset of their keys" if isinstance(first, BandMap) else "who looks at whom"
    layers = f"{len(maps)} layers" if len(maps) > 1 else f"layer {first.layer}"
    title = f"{PurePath(model).name}: {layers}, {first.axis.size}, {what}"
    data = attention_data(maps, (selected, 0))
    return build_page(title, NOTE, shlex.join(("mbexplore", *command)), data)


def part_page(
    tiles: Sequence[Tile],
    heads: tuple[int, ...],
    is_mean: bool,
    layer: int,
    title: str,
    model: str,
    command: Sequence[str],
) -> str:
    """A page in one file with some queries by some keys; see `part_data`."""
    sides = f"{tiles[0].queries.size} looking at {tiles[0].keys.size}"
    name = f"{PurePath(model).name}: layer {layer}, {sides}"
    data = part_data(tiles, heads, is_mean, layer, title)
    return build_page(name, NOTE, shlex.join(("mbexplore", *command)), data)


def arcs_data(arcs: Arcs) -> dict[str, Any]:
    """What `mountArcs` of `mbexplore.web` shows; a link is [head, query, key, weight]."""
    heads = (-1,) if arcs.is_mean else arcs.heads
    names, hues = head_names(arcs.heads, arcs.is_mean), head_hues(arcs.heads, arcs.is_mean)
    return {
        "labels": list(arcs.axis.labels),
        "starts": arcs.axis.starts.tolist(),
        "query": arcs.query,
        "heads": [
            {"number": head, "name": name, "hue": hue}
            for head, name, hue in zip(heads, names, hues, strict=True)
        ],
        "links": [
            [link.head, link.query, link.key, float(f"{link.weight:.4g}")] for link in arcs.links
        ],
    }


def arcs_page(arcs: Arcs, model: str, command: Sequence[str]) -> str:
    """A page in one file where pointing at a token shows its links alone."""
    title = f"{PurePath(model).name}: {arcs.title}, {arcs.axis.size}, the links that carry most"
    note = (
        f"{arcs.note}. Left of the text: to what came before; right: after. Wide and dark is much, "
        "faint ones fade where they crowd; dashed lines come from other tokens to the one pointed "
        "at."
    )
    return build_page(title, note, shlex.join(("mbexplore", *command)), arcs_data(arcs), "arcs")


def _layer(
    layer: int, kind: LayerKind, title: str, weights: NDArray[np.float32], edges: list[Any] | None
) -> dict[str, Any]:
    """One layer: what it is, and its weights as bytes, deflated, in base64."""
    codes = np.rint(np.sqrt(weights) * STEPS).astype(np.uint8)
    return {
        "name": f"{layer} {kind}",
        "title": title,
        "kind": kind,
        "edges": edges,
        "data": b64encode(zlib.compress(codes.tobytes(), 6)).decode("ascii"),
    }


def _places(axis: Axis, name: str, pool: int) -> dict[str, Any]:
    labels = list(axis.labels)
    return {"name": name, "labels": labels, "starts": axis.starts.tolist(), "pool": pool}


def _offsets(band: BandMap) -> dict[str, Any]:
    labels = [f"{offset:+d}" if offset else "0" for offset in band.offsets.tolist()]
    return {"name": "offset", "labels": labels, "starts": None, "pool": 1}
