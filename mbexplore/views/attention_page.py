"""What the components of the pages show: maps as packed bytes, and arcs as their numbers."""

from __future__ import annotations

import shlex
import zlib
from base64 import b64encode
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from mbexplore.analysis.band import BandMap
from mbexplore.analysis.links import Arcs
from mbexplore.analysis.maps import LayerMap, head_names
from mbexplore.analysis.words import Axis
from mbexplore.palette import HUE, ON_WHITE, TINT, head_hues
from mbexplore.web import build_page

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
    axis, (_, height, width) = first.axis, first.weights.shape
    rows = _places(axis, "query", first.pool)
    return {
        "rows": rows,
        "columns": _offsets(first) if isinstance(first, BandMap) else {**rows, "name": "key"},
        "height": height,
        "width": width,
        "maps": list(first.names),
        "layers": [_layer(each) for each in maps],
        "selected": list(selected),
        "pooled": first.pooled and f"{first.pooled}.",
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
    note = (
        "Rows are queries, columns keys; each map is coloured up to its own largest weight, on a "
        "square-root scale. Point at it to read a weight, rounded to 1/255 of its square root."
    )
    title = f"{PurePath(model).name}: {layers}, {first.axis.size}, {what}"
    return build_page(
        title, note, shlex.join(("mbexplore", *command)), attention_data(maps, (selected, 0))
    )


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
        f"{arcs.note}. Left of the text: to what came before; right: after. Wide and dark is much; "
        "dashed lines come from other tokens to the one pointed at."
    )
    return build_page(title, note, shlex.join(("mbexplore", *command)), arcs_data(arcs), "arcs")


def _layer(shown: LayerMap | BandMap) -> dict[str, Any]:
    """One layer: what it is, and its weights as bytes, deflated, in base64."""
    codes = np.rint(np.sqrt(shown.weights) * STEPS).astype(np.uint8)
    edges = shown.window() if isinstance(shown, LayerMap) else None
    return {
        "name": f"{shown.layer} {shown.kind}",
        "title": shown.title,
        "kind": shown.kind,
        "edges": None if edges is None else edges.tolist(),
        "data": b64encode(zlib.compress(codes.tobytes(), 6)).decode("ascii"),
    }


def _places(axis: Axis, name: str, pool: int) -> dict[str, Any]:
    labels = list(axis.labels)
    return {"name": name, "labels": labels, "starts": axis.starts.tolist(), "pool": pool}


def _offsets(band: BandMap) -> dict[str, Any]:
    labels = [f"{offset:+d}" if offset else "0" for offset in band.offsets.tolist()]
    return {"name": "offset", "labels": labels, "starts": None, "pool": 1}
