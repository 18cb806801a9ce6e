"""A rectangle of a layer's attention maps, some queries by some keys, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.maps import head_names, layer_title, strongest_first
from mbexplore.analysis.tile import Tile, tile, tile_links
from mbexplore.analysis.words import Axis
from mbexplore.explorer import Explorer
from mbexplore.palette import head_hues
from mbexplore.recording import Recording
from mbexplore.views.attention_checks import check_part
from mbexplore.views.attention_facts import LINK_COLUMNS, layer_facts
from mbexplore.views.attention_page import part_page
from mbexplore.views.names import attention_name
from mbexplore.views.view import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PIXELS = 384
"""The most rows and columns of a picture of one map."""


def view_part(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    queries: Axis,
    keys: Axis,
    mean: bool = False,
    links: int = 20,
    query: int | None = None,
) -> View:
    """A part of the maps of one layer, and its strongest links.

    Args:
        explorer: that made the recording.
        recording: with the layer's "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        queries: the rows: tokens or words, all or a part.
        keys: the columns, likewise.
        mean: whether to average over the heads.
        links: how many of the strongest.
        query: a token among `queries`, whose links alone are told.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    explorer.check_layer_and_head(layer, head)
    config = recording.config
    heads = tuple(range(config.num_attention_heads)) if head is None else (head,)
    each: tuple[int | None, ...] = (None,) if mean else heads
    place = None if query is None else queries.place_of(query)
    found = sorted(
        (
            link
            for one in each
            for link in tile_links(recording, layer, one, queries, keys, links, place)
        ),
        key=strongest_first,
    )[:links]
    kind, half_window = config.layer_kinds[layer], config.half_window(layer)

    def tiles(pixels: int) -> list[Tile]:
        return [tile(recording, layer, one, queries, keys, pixels) for one in each]

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "view": "part",
            "unit": queries.unit,
            "queries": _side(queries),
            "keys": _side(keys),
            "heads": list(heads),
            "mean": mean,
            **layer_facts(config, layer),
            "links": [dataclasses.asdict(link) for link in found],
        }

    title = layer_title(layer, kind, half_window, config.theta(layer))

    def draw() -> Figure:
        from mbexplore.plots.attention_part import plot_part

        names, hues = head_names(heads, mean), head_hues(heads, mean)
        return plot_part(tiles(PIXELS), names, hues, kind, title, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        check_part(len(each), queries, keys)
        whole = tiles(max(len(queries), len(keys)))
        return {
            "queries": np.array(queries.labels),
            "query_spans": np.array(queries.spans),
            "keys": np.array(keys.labels),
            "key_spans": np.array(keys.spans),
            "weights": np.stack([one.weights for one in whole]),
        }

    def rows() -> Iterator[list[object]]:
        yield list(LINK_COLUMNS)
        for link in found:
            sides = ((queries, link.query), (keys, link.key))
            places = [value for side, i in sides for value in (side.spans[i][0], side.labels[i])]
            yield [layer, link.head, *places, link.weight]

    command = build_command(
        "attention", explorer.info, recording.encoding, layer=layer, head=head, mean=mean,
        queries=_bounds(queries), keys=_bounds(keys), words=queries.words,
        hide_special=queries.hide_special, query=query, top=links,
    )  # fmt: skip
    return View(
        attention_name("part", layer, head),
        command,
        payload,
        draw,
        arrays,
        rows,
        lambda: part_page(tiles(PIXELS), heads, mean, layer, title, explorer.info.name, command),
    )


def _side(axis: Axis) -> dict[str, Any]:
    return {"tokens": list(axis.labels), "spans": [list(span) for span in axis.spans]}


def _bounds(axis: Axis) -> str:
    start, stop = axis.bounds or (0, axis.seq)
    return f"{start}:{stop}"
