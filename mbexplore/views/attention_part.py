"""A rectangle of a layer's attention maps, some queries by some keys, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import Link, head_names, layer_title, strongest_first
from mbexplore.analysis.tile import Tile, tile, tile_links
from mbexplore.display.palette import head_hues
from mbexplore.explorer import Explorer
from mbexplore.recording import Recording
from mbexplore.views.attention_checks import check_part
from mbexplore.views.attention_facts import LINK_COLUMNS, layer_facts
from mbexplore.views.attention_page import part_page
from mbexplore.views.names import attention_name
from mbexplore.views.old import View, build_command

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
    part = _Part(explorer, recording, layer, heads, mean, queries, keys)
    place = None if query is None else queries.index_of(query)
    found = part.links(links, place)
    command = build_command(
        "attention", explorer.info, recording.encoding, layer=layer, head=head, mean=mean,
        queries=_bounds(queries), keys=_bounds(keys), words=queries.words,
        hide_special=queries.hide_special, query=query, top=links,
    )  # fmt: skip
    return View(
        attention_name("part", layer, head),
        command,
        lambda: part.payload(found),
        part.draw,
        part.arrays,
        lambda: part.rows(found),
        lambda: part.page(command),
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """What of a recording's attention is looked at; see `view_part`."""

    explorer: Explorer
    recording: Recording
    layer: int
    heads: tuple[int, ...]
    mean: bool
    queries: Axis
    keys: Axis

    @property
    def each(self) -> tuple[int | None, ...]:
        """The maps there are: one a head, or one of the mean."""
        return (None,) if self.mean else self.heads

    @property
    def title(self) -> str:
        config = self.recording.config
        kind, half_window = config.layer_kinds[self.layer], config.half_window(self.layer)
        return layer_title(self.layer, kind, half_window, config.theta(self.layer))

    def links(self, count: int, place: int | None) -> list[Link]:
        """The strongest of all maps, of one place among the queries or of all."""
        of_each = (
            tile_links(self.recording, self.layer, one, self.queries, self.keys, count, place)
            for one in self.each
        )
        return sorted((link for links in of_each for link in links), key=strongest_first)[:count]

    def tiles(self, pixels: int) -> list[Tile]:
        sides = self.queries, self.keys
        return [tile(self.recording, self.layer, one, *sides, pixels) for one in self.each]

    def payload(self, found: list[Link]) -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(self.explorer.info),
            "view": "part",
            "unit": self.queries.unit,
            "queries": _side(self.queries),
            "keys": _side(self.keys),
            "heads": list(self.heads),
            "mean": self.mean,
            **layer_facts(self.recording.config, self.layer),
            "links": [dataclasses.asdict(link) for link in found],
        }

    def draw(self) -> Figure:
        from mbexplore.plots.attention_part import plot_part

        names, hues = head_names(self.heads, self.mean), head_hues(self.heads, self.mean)
        kind, model = self.recording.config.layer_kinds[self.layer], self.explorer.info.name
        return plot_part(self.tiles(PIXELS), names, hues, kind, self.title, model)

    def arrays(self) -> dict[str, NDArray[Any]]:
        import numpy as np

        check_part(len(self.each), self.queries, self.keys)
        whole = self.tiles(max(len(self.queries), len(self.keys)))
        return {
            "queries": np.array(self.queries.labels),
            "query_spans": np.array(self.queries.spans),
            "keys": np.array(self.keys.labels),
            "key_spans": np.array(self.keys.spans),
            "weights": np.stack([one.weights for one in whole]),
        }

    def rows(self, found: list[Link]) -> Iterator[list[object]]:
        yield list(LINK_COLUMNS)
        for link in found:
            sides = ((self.queries, link.query), (self.keys, link.key))
            places = [value for side, i in sides for value in (side.spans[i][0], side.labels[i])]
            yield [self.layer, link.head, *places, link.weight]

    def page(self, command: list[str]) -> str:
        model = self.explorer.info.name
        tiles = self.tiles(PIXELS)
        return part_page(tiles, self.heads, self.mean, self.layer, self.title, model, command)


def _side(axis: Axis) -> dict[str, Any]:
    return {"tokens": list(axis.labels), "spans": [list(span) for span in axis.spans]}


def _bounds(axis: Axis) -> str:
    start, stop = axis.bounds or (0, axis.seq)
    return f"{start}:{stop}"
