"""Any rectangle of a layer's maps: some queries by some keys, pooled only as far as asked.

One pass over the rows gives the pooled maps and their strongest links together, so that whoever
shows both computes the weights once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import (
    Link,
    first_head,
    head_names,
    links_at,
    max_pool,
    strongest_first,
)
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording

ROWS = 256
"""Queries computed at a time."""
RUN = 64
"""Weights next to each other of which the largest are compared first."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of the maps of a layer, small enough to draw.

    Attributes:
        layer: from 0.
        kind: of the layer.
        half_window: its reach on each side, None for a global one.
        heads: which heads, in the order of `weights`, or all that `weights` is the mean of.
        is_mean: whether `weights` is one map, the mean of `heads`.
        queries: what the rows stand for.
        keys: what the columns stand for.
        pool: places to a pixel, by row and by column; a pixel holds the largest of its weights.
        weights: (heads or 1, row pixels, column pixels) float32.
        links: the strongest links of all maps, falling, as many as were asked for.
    """

    layer: int
    kind: LayerKind
    half_window: int | None
    heads: tuple[int, ...]
    is_mean: bool
    queries: Axis
    keys: Axis
    pool: tuple[int, int]
    weights: npt.NDArray[np.float32]
    links: tuple[Link, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What each map of `weights` is called."""
        return head_names(self.heads, self.is_mean)

    @property
    def pooled(self) -> str:
        """How much a pixel holds; nothing where it holds one place each way."""
        if self.pool == (1, 1):
            return ""
        rows, columns = self.pool
        size = f"{rows} \N{MULTIPLICATION SIGN} {columns} {self.keys.unit}"
        return f"{size} to a pixel, the largest weight shows"

    def shrink(self, pixels: int, columns: int | None = None) -> Tile:
        """The same part with at most so many rows, and as many columns, of pixels."""
        _, tall, wide = self.weights.shape
        tall, wide = -(-tall // pixels), -(-wide // (columns or pixels))
        if (tall, wide) == (1, 1):
            return self
        pooled = max_pool(self.weights, (tall, wide))
        return replace(self, pool=(self.pool[0] * tall, self.pool[1] * wide), weights=pooled)

    def window(self) -> list[tuple[int, int]] | None:
        """The column pixels `[start, stop)` that each row of pixels can see; None if all see all.

        A row sees nothing of a tile outside its window: start and stop are then the same.
        """
        if self.half_window is None:
            return None
        rows, columns = self.pool
        first = self.queries.starts[::rows]
        last = self.queries.stops[np.r_[rows - 1 : len(self.queries) : rows][: len(first)]]
        last = np.r_[last, self.queries.stops[-1:]][: len(first)]
        start = np.searchsorted(self.keys.stops, first - self.half_window, side="right")
        stop = np.searchsorted(self.keys.starts, last + self.half_window, side="left")
        pixels = zip(start // columns, -(-stop // columns), strict=True)
        edges = [(int(low), max(int(low), int(high))) for low, high in pixels]
        return None if set(edges) == {(0, self.weights.shape[-1])} else edges

    def outside(self) -> npt.NDArray[np.bool_]:
        """The pixels (rows, columns) that the window leaves out."""
        _, rows, columns = self.weights.shape
        low, high = np.array(self.window() or [(0, columns)] * rows).T[:, :, None]
        places = np.arange(columns)
        outside: npt.NDArray[np.bool_] = (places < low) | (places >= high)
        return outside

    def links_of(self, query: int, count: int) -> tuple[Link, ...] | None:
        """The strongest links of one query, falling; None where pixels hold several places."""
        if self.pool != (1, 1):
            return None
        rows = torch.from_numpy(self.weights[:, query : query + 1])
        return _strongest(rows, count, first_head(self.heads[0], self.is_mean), query)


def tile(
    recording: Recording,
    layer: int,
    head: int | None,
    queries: Axis,
    keys: Axis,
    pixels: int,
    *,
    mean: bool = False,
    links: int = 0,
    progress: Progress | None = None,
) -> Tile:
    """A part of a layer's maps, and its strongest links, in one pass.

    It takes what `maps.layer_map` takes; rows are `queries` and columns `keys`, at most `pixels` of
    each, and so many of the strongest `links` are found.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    tall, wide = -(-len(queries) // pixels), -(-len(keys) // pixels)
    blocks, found = [], list[Link]()
    for first, weights in _blocks(recording, layer, head, queries, keys, tall, mean):
        blocks.append(max_pool(weights.float().cpu().numpy(), (tall, wide)))
        found += _strongest(weights, links, first_head(head, mean), first)
        found = heapq.nsmallest(links, found, key=strongest_first)
        if progress is not None:
            progress(first + weights.shape[1], len(queries))
    config = recording.config
    return Tile(
        layer,
        config.layer_kinds[layer],
        config.half_window(layer),
        tuple(range(config.num_attention_heads)) if head is None else (head,),
        mean,
        queries,
        keys,
        (tall, wide),
        np.concatenate(blocks, axis=1),
        tuple(found),
    )


def links_of_row(
    recording: Recording,
    layer: int,
    head: int | None,
    queries: Axis,
    keys: Axis,
    query: int,
    count: int,
    *,
    mean: bool = False,
) -> tuple[Link, ...]:
    """The strongest links of one place among `queries`, falling; see `tile`."""
    span, name = queries.spans[query], queries.labels[query]
    one = replace(queries, spans=(span,), labels=(name,))
    found = tile(recording, layer, head, one, keys, len(keys), mean=mean, links=count).links
    return tuple(replace(link, query=query) for link in found)


def _strongest(weights: Tensor, count: int, head: int, row: int) -> tuple[Link, ...]:
    """The largest weights of (heads, rows, columns), the first head and row as given.

    They are looked for in those runs of `RUN` weights whose largest are the largest: one pass over
    all, where a sort of all takes many times as long.
    """
    flat = weights.flatten()
    whole = len(flat) // RUN * RUN if count else 0
    runs = flat[:whole].view(-1, RUN).amax(1).topk(min(count, whole // RUN)).indices
    inside = runs[:, None] * RUN + torch.arange(RUN, device=flat.device)
    places = torch.cat((inside.flatten(), torch.arange(whole, len(flat), device=flat.device)))
    best = places[flat[places].topk(min(count, len(places))).indices]
    best = best[flat[best] > 0]
    return tuple(sorted(links_at(weights, best, head, row, 0), key=strongest_first))


def _blocks(
    recording: Recording,
    layer: int,
    head: int | None,
    queries: Axis,
    keys: Axis,
    multiple: int,
    mean: bool,
) -> Iterator[tuple[int, Tensor]]:
    """The rows of a tile, (heads, rows, keys), each block a multiple of so many rows."""
    half_window = recording.config.half_window(layer)
    left, right = int(keys.starts[0]), int(keys.stops[-1])
    step = multiple * max(1, ROWS // multiple)
    for first in range(0, len(queries), step):
        last = min(first + step, len(queries))
        rows = slice(int(queries.starts[first]), int(queries.stops[last - 1]))
        low, high = left, right
        if half_window is not None:  # what lies outside the window is not computed
            low = min(max(left, rows.start - half_window), right)
            high = max(min(right, rows.stop + half_window), low)
        weights = recording.attention(layer, head, rows, slice(low, high))
        weights = weights.mean(0, keepdim=True) if mean else weights
        weights = keys.sum_spans(weights, 2, low, 0, len(keys))
        weights = queries.sum_spans(weights, 1, rows.start, first, last)
        sizes = torch.from_numpy(queries.stops[first:last] - queries.starts[first:last])
        yield first, weights / sizes.to(weights.device)[:, None]
