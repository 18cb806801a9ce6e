"""Attention maps in every form: those of a layer, and the model view of all.

Each view reads a recording that kept "attention"; a form is computed when it is asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.links import links_of_query, strongest_links
from mbexplore.analysis.maps import PIXELS, LayerMap, layer_map, nearest_other_kind
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.recording import Recording
from mbexplore.views.attention_checks import check_dense, is_banded
from mbexplore.views.attention_facts import (
    LINK_COLUMNS,
    about,
    attention_command,
    layer_facts,
    link_rows,
)
from mbexplore.views.attention_page import attention_page
from mbexplore.views.names import attention_name
from mbexplore.views.old import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def view_map(
    explorer: Explorer,
    recording: Recording,
    layer: int,
    head: int | None = None,
    *,
    axis: Axis | None = None,
    mean: bool = False,
    links: int = 20,
    query: int | None = None,
    progress: Progress | None = None,
) -> View:
    """The maps of one layer, and its strongest links.

    Args:
        explorer: that made the recording.
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        axis: tokens or words, all or a part; None for all tokens.
        mean: whether to average over the heads.
        links: how many of the strongest.
        query: a token, whose links alone are told.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    explorer.check_layer_and_head(layer, head)
    config, axis = recording.config, axis or build_axis(recording.encoding)
    if query is None:
        found = strongest_links(recording, layer, head, links, axis, mean=mean, progress=progress)
    else:
        place = axis.index_of(query)
        found = links_of_query(recording, layer, place, head, links, axis, mean=mean)

    def maps(pixels: int) -> list[LayerMap]:
        """Of the layer, and for contrast of the nearest one of the other kind."""
        other = nearest_other_kind(config, layer)
        layers = [layer] if other is None else [layer, other]
        return [layer_map(recording, each, head, pixels, axis, mean=mean) for each in layers]

    def draw() -> Figure:
        from mbexplore.plots.attention import picture_pixels, plot_layer_maps

        count = 1 if mean or head is not None else config.num_attention_heads
        return plot_layer_maps(maps(picture_pixels(count)), explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **about(explorer, axis, head, mean, "map"),
            **layer_facts(config, layer),
            "links": [dataclasses.asdict(link) for link in found],
        }

    command = attention_command(
        explorer, recording, axis, layer=layer, head=head, mean=mean, query=query, top=links
    )
    return View(
        attention_name("map", layer, head),
        command,
        payload,
        draw,
        lambda: _dense(recording, layer, head, axis, mean),
        lambda: [LINK_COLUMNS, *link_rows(layer, axis, found)],
        lambda: attention_page(maps(PIXELS), explorer.info.name, command),
    )


def view_model(explorer: Explorer, recording: Recording, maps: Sequence[LayerMap]) -> View:
    """The maps of every layer, as `model_maps` makes them: the model view."""
    first = maps[0]
    axis, mean = first.axis, first.is_mean
    head = first.heads[0] if len(first.heads) == 1 else None

    def draw() -> Figure:
        from mbexplore.plots.model_view import plot_model_view

        return plot_model_view(maps, explorer.info.name)

    def payload() -> dict[str, Any]:
        return {
            **about(explorer, axis, head, mean, "map"),
            "layers": [
                {
                    **layer_facts(recording.config, each.layer),
                    "strongest": [dataclasses.asdict(link) for link in each.strongest],
                }
                for each in maps
            ],
        }

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        return {
            "tokens": np.array(axis.labels),
            "spans": np.array(axis.spans),
            "pool": np.array(first.pool),
            "kinds": np.array([each.kind for each in maps]),
            "weights": np.stack([each.weights for each in maps]),
        }

    def rows() -> Iterator[Sequence[object]]:
        yield LINK_COLUMNS
        for each in maps:
            yield from link_rows(each.layer, axis, each.strongest)

    command = attention_command(explorer, recording, axis, layer="all", head=head, mean=mean)
    return View(
        attention_name("map", None, head),
        command,
        payload,
        draw,
        arrays,
        rows,
        lambda: attention_page(maps, explorer.info.name, command),
    )


def _dense(
    recording: Recording, layer: int, head: int | None, axis: Axis, mean: bool
) -> dict[str, NDArray[Any]]:
    """Every weight of a layer: as a band where that holds them all, as a map otherwise."""
    import numpy as np

    config, arrays = recording.config, {"tokens": np.array(axis.labels)}
    check_dense(config, layer, head, axis, mean)
    if is_banded(config, layer, axis):
        band = recording.attention_band(layer, head).cpu().numpy().astype(np.float32)
        reach = band.shape[2] // 2
        band = band.mean(0, keepdims=True) if mean else band
        return {**arrays, "band": band, "offsets": np.arange(-reach, reach + 1)}
    maps = layer_map(recording, layer, head, len(axis), axis, mean=mean)
    return {**arrays, "spans": np.array(axis.spans), "weights": maps.weights}
