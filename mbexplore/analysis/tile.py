"""Any rectangle of a head's map: some queries by some keys, pooled only as far as asked."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import Link, links_at, strongest_first
from mbexplore.recording import Recording

ROWS = 256
"""Queries computed at a time."""


@dataclass(frozen=True, eq=False)
class Tile:
    """A part of one map, small enough to draw.

    Attributes:
        queries: what the rows stand for.
        keys: what the columns stand for.
        pool: places to a pixel, by row and by column; a pixel holds the largest of its weights.
        weights: (row pixels, column pixels) float32.
        half_window: reach of the layer on each side, None for a global one.
    """

    queries: Axis
    keys: Axis
    pool: tuple[int, int]
    weights: npt.NDArray[np.float32]
    half_window: int | None

    @property
    def pooled(self) -> str:
        """How much a pixel holds, behind a comma; nothing where it holds one place each way."""
        if self.pool == (1, 1):
            return ""
        rows, columns = self.pool
        return f", {rows} x {columns} {self.keys.unit} to a pixel, the largest weight shows"

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
        return None if set(edges) == {(0, self.weights.shape[1])} else edges


def tile(
    recording: Recording,
    layer: int,
    head: int | None,
    queries: Axis,
    keys: Axis,
    pixels: int,
) -> Tile:
    """A part of a head's map, or of the mean of all heads.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: None for the mean of all.
        queries: the rows wanted.
        keys: the columns wanted.
        pixels: the most rows and the most columns of the result.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    tall, wide = -(-len(queries) // pixels), -(-len(keys) // pixels)
    blocks = []
    for _, weights in _blocks(recording, layer, head, queries, keys, tall):
        whole = weights.float().cpu().numpy()
        pooled = np.maximum.reduceat(whole, range(0, len(whole), tall), axis=0)
        blocks.append(np.maximum.reduceat(pooled, range(0, len(keys), wide), axis=1))
    half_window = recording.config.half_window(layer)
    return Tile(queries, keys, (tall, wide), np.concatenate(blocks), half_window)


def tile_links(
    recording: Recording,
    layer: int,
    head: int | None,
    queries: Axis,
    keys: Axis,
    count: int,
    query: int | None = None,
) -> tuple[Link, ...]:
    """The strongest links of a part of a map, falling; see `tile`.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: None for the mean of all.
        queries: who looks; a link's query is a place of it.
        keys: at whom; a link's key is a place of it.
        count: how many, 0 for none.
        query: the one place that looks, None for all.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    found: list[Link] = []
    number = -1 if head is None else head
    low = query or 0
    if query is not None:
        span, name = queries.spans[query], queries.labels[query]
        queries = replace(queries, spans=(span,), labels=(name,))
    for first, weights in _blocks(recording, layer, head, queries, keys, 1):
        best = weights.flatten().topk(min(count, int((weights > 0).sum()))).indices
        found += links_at(weights[None], best, number, low + first, 0)
        found = heapq.nsmallest(count, found, key=strongest_first)
    return tuple(found)


def _blocks(
    recording: Recording, layer: int, head: int | None, queries: Axis, keys: Axis, multiple: int
) -> Iterator[tuple[int, Tensor]]:
    """The rows of a tile, (rows, keys) at a time, each block a multiple of so many of them."""
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
        weights = weights.mean(0, keepdim=True)  # (1, query, key)
        weights = keys.sum_spans(weights, 2, low, 0, len(keys))
        weights = queries.sum_spans(weights, 1, rows.start, first, last)
        sizes = torch.from_numpy(queries.stops[first:last] - queries.starts[first:last])
        yield first, weights[0] / sizes.to(weights.device)[:, None]
