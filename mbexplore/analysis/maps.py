"""Attention maps for looking at: any layer's picture at any length.

A map is read as a stream of blocks of rows, so that of a long text it is never whole in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording

PIXELS = 512
"""The most rows and columns a picture of a map has; a longer text is pooled to them."""

THUMBNAIL = 128
"""The most rows and columns of a map among those of all layers and heads."""

ROWS = 256
"""About how many rows of a map are in memory at a time."""


@dataclass(frozen=True)
class Link:
    """One weight of a map: how much `query` attends to `key`, both as places on its axis.

    On the plain axis a place is a token's position. `head` is -1 in a mean over heads.
    """

    head: int
    query: int
    key: int
    weight: float


@dataclass(frozen=True, eq=False)
class LayerFacts:
    """What maps are of: a layer, its heads, and the text or a part of it.

    Attributes:
        layer: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        half_window: reach on each side, None for a global layer.
        axis: what rows stand for, and columns where they are keys.
        heads: which heads; in the order of the maps, or all that the one map is the mean of.
        is_mean: whether it is their mean.
    """

    layer: int
    kind: LayerKind
    theta: float
    half_window: int | None
    axis: Axis
    heads: tuple[int, ...]
    is_mean: bool

    @property
    def title(self) -> str:
        """What the layer is, in one line."""
        return layer_title(self.layer, self.kind, self.half_window, self.theta)

    @property
    def names(self) -> tuple[str, ...]:
        """What each map is called."""
        return head_names(self.heads, self.is_mean)


def layer_facts(
    recording: Recording, layer: int, head: int | None, axis: Axis, mean: bool
) -> tuple[int, LayerKind, float, int | None, Axis, tuple[int, ...], bool]:
    """The fields of `LayerFacts`; None for all heads."""
    config = recording.config
    heads = tuple(range(config.num_attention_heads)) if head is None else (head,)
    kind, reach = config.layer_kinds[layer], config.half_window(layer)
    return layer, kind, config.theta(layer), reach, axis, heads, mean


@dataclass(frozen=True, eq=False)
class LayerMap(LayerFacts):
    """The attention maps of one layer, small enough to draw.

    Attributes:
        pool: places to a pixel; a pixel holds the largest weight of its pool x pool square.
        weights: (heads or 1, rows, columns) float32; rows are queries.
        strongest: the largest weight of each of them.
    """

    pool: int
    weights: npt.NDArray[np.float32]
    strongest: tuple[Link, ...]

    @property
    def pooled(self) -> str:
        """How much a pixel holds; nothing where it holds one place."""
        return pooled_note(self.pool, self.axis.unit)

    @property
    def scale(self) -> float:
        """The largest weight, where colours end; above 0."""
        return max(float(self.weights.max()), 1e-9)

    def window(self) -> npt.NDArray[np.intp] | None:
        """The columns that each row of pixels can see, (rows, 2) as `[start, stop)`.

        None for a layer that is global, or whose window holds the whole axis.
        """
        last, size = len(self.axis) - 1, self.weights.shape[-1]
        seen = np.array(
            [
                self.axis.visible_range(
                    int(self.axis.starts[row * self.pool]),
                    int(self.axis.stops[min((row + 1) * self.pool - 1, last)]) - 1,
                    self.half_window,
                )
                for row in range(size)
            ]
        )
        edges = np.stack((seen[:, 0] // self.pool, -(-seen[:, 1] // self.pool)), axis=1)
        return None if (edges == (0, size)).all() else edges


def layer_title(layer: int, kind: LayerKind, half_window: int | None, theta: float) -> str:
    """What a layer is, in one line."""
    dot = " \N{MIDDLE DOT} "
    reach = "full attention" if half_window is None else f"window of {half_window} each side"
    base = f"\N{GREEK SMALL LETTER THETA} = {theta:,.0f}"
    return dot.join((f"Layer {layer}", kind, reach, base))


def pooled_note(pool: int, unit: str) -> str:
    """How many tokens or words a pixel of a picture holds; nothing if it is one."""
    return "" if pool == 1 else f"{pool} {unit} to a pixel, the largest weight shows"


def head_names(heads: tuple[int, ...], is_mean: bool) -> tuple[str, ...]:
    """What maps are called: one for each head, or one for the mean of all."""
    if is_mean:
        return (f"mean of {len(heads)} heads",)
    return tuple(f"head {head}" for head in heads)


Floats = TypeVar("Floats", np.float32, np.float64)


def max_pool(values: npt.NDArray[Floats], pool: tuple[int, int]) -> npt.NDArray[Floats]:
    """Largest value of every `pool` of rows and columns, the last two axes; the last may be cut."""
    for axis, size in zip((-2, -1), pool, strict=True):
        moved = np.moveaxis(values, axis, 0)
        largest = moved[::size].copy() if size > 1 else moved
        for start in range(1, size):
            others = moved[start::size]
            np.maximum(largest[: len(others)], others, out=largest[: len(others)])
        values = np.moveaxis(largest, 0, axis)
    return values


def map_rows(
    recording: Recording,
    layer: int,
    head: int | None = None,
    axis: Axis | None = None,
    *,
    keys: Axis | None = None,
    mean: bool = False,
    multiple: int = 1,
    progress: Progress | None = None,
) -> Iterator[tuple[int, int, Tensor]]:
    """A layer's map along an axis, in blocks of rows; the weights are those of the whole text.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        axis: of the queries, and of the keys where they have none; None for all tokens.
        keys: what the columns stand for, if it is not `axis`.
        mean: whether to average over the heads.
        multiple: every block but the last has a multiple of so many rows.
        progress: called with the rows read and all there are, when a block has been used.

    Yields:
        `(first_row, first_column, weights)`, weights (heads or 1, rows, columns) over all columns
        that some row of the block can see. A word's weight is the sum over its keys, and the mean
        over its queries.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    block, axis = multiple * max(1, ROWS // multiple), axis or build_axis(recording.encoding)
    if axis.is_plain and (keys is None or keys.is_plain):
        blocks = recording.attention_rows(layer, head, block)
    else:
        blocks = _merged_rows(recording, layer, head, axis, keys or axis, block)
    for first, low, weights in blocks:
        yield first, low, weights.mean(0, keepdim=True) if mean else weights
        if progress is not None:
            progress(first + weights.shape[1], len(axis))


def _merged_rows(
    recording: Recording, layer: int, head: int | None, axis: Axis, keys: Axis, block: int
) -> Iterator[tuple[int, int, Tensor]]:
    """`Recording.attention_rows` along axes that merge tokens or leave some out."""
    half_window = recording.config.half_window(layer)
    for first in range(0, len(axis), block):
        last = min(first + block, len(axis)) - 1
        rows = slice(int(axis.starts[first]), int(axis.stops[last]))
        low, high = keys.visible_range(rows.start, rows.stop - 1, half_window)
        columns = slice(int(keys.starts[low]), int(keys.stops[high - 1]))
        weights = recording.attention(layer, head, rows, columns)
        merged = keys.sum_spans(weights, 2, columns.start, low, high)
        merged = axis.sum_spans(merged, 1, rows.start, first, last + 1)
        sizes = torch.from_numpy(axis.stops[first : last + 1] - axis.starts[first : last + 1])
        yield first, low, merged / sizes.to(merged.device)[:, None]


def layer_map(
    recording: Recording,
    layer: int,
    head: int | None = None,
    pixels: int = PIXELS,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    progress: Progress | None = None,
) -> LayerMap:
    """The maps of a layer (or of one head), max-pooled so that no spike is lost.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        pixels: the most rows and columns of the result.
        axis: None for all tokens of the text.
        mean: whether to average over the heads, before pooling.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    axis = axis or build_axis(recording.encoding)
    pool = -(-len(axis) // pixels)
    size = -(-len(axis) // pool)
    maps = 1 if mean or head is not None else recording.config.num_attention_heads
    weights = np.zeros((maps, size, size), dtype=np.float32)
    best: dict[int, Link] = {}
    blocks = map_rows(recording, layer, head, axis, mean=mean, multiple=pool, progress=progress)
    for first, low, rows in blocks:
        pooled = _max_pool(rows, pool, low % pool).cpu().numpy()  # (heads, pixels, pixels)
        top, left = first // pool, low // pool
        weights[:, top : top + pooled.shape[1], left : left + pooled.shape[2]] = pooled
        for link in _best_of_heads(rows, first_head(head, mean), first, low):
            best[link.head] = min(link, best.get(link.head, link), key=strongest_first)
    facts = layer_facts(recording, layer, head, axis, mean)
    return LayerMap(*facts, pool, weights, tuple(best.values()))


def model_maps(
    recording: Recording,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    progress: Progress | None = None,
) -> tuple[LayerMap, ...]:
    """The maps of every layer, all pooled alike: the model view; see `layer_map`."""
    axis = axis or build_axis(recording.encoding)
    layers, maps = recording.config.num_hidden_layers, []
    for layer in range(layers):
        maps.append(layer_map(recording, layer, None, THUMBNAIL, axis, mean=mean))
        if progress is not None:
            progress(layer + 1, layers)
    return tuple(maps)


def _max_pool(weights: Tensor, pool: int, shift: int) -> Tensor:
    """Largest weight of every pool x pool square; columns start `shift` into their first square."""
    if pool == 1:
        return weights
    heads, rows, columns = weights.shape
    bottom, right = -rows % pool, -(columns + shift) % pool
    padded = torch.nn.functional.pad(weights, (shift, right, 0, bottom))
    squares = padded.view(heads, (rows + bottom) // pool, pool, -1, pool)
    return squares.amax(dim=(2, 4))  # (heads, row pixels, column pixels)


def _best_of_heads(weights: Tensor, first: int, row: int, column: int) -> list[Link]:
    """The largest weight of each head in a block that starts at this row and column."""
    heads, size = len(weights), weights[0].numel()
    places = weights.flatten(1).argmax(1) + torch.arange(heads, device=weights.device) * size
    return links_at(weights, places, first, row, column)


def links_at(
    weights: Tensor, places: Tensor, first: int, first_row: int, first_column: int
) -> list[Link]:
    """The links at places of the flattened (heads, query, key) weights of a block."""
    _, rows, columns = weights.shape
    values = weights.flatten()[places].tolist()
    found = []
    for place, weight in zip(places.tolist(), values, strict=True):
        of_head, rest = divmod(place, rows * columns)
        row, column = divmod(rest, columns)
        found.append(Link(first + of_head, first_row + row, first_column + column, weight))
    return found


def first_head(head: int | None, mean: bool) -> int:
    """The number of the first map of a stream: -1 for a mean over heads."""
    return -1 if mean else head or 0


def strongest_first(link: Link) -> tuple[float, int, int, int]:
    """The order of links: by falling weight, ties by place."""
    return -link.weight, link.head, link.query, link.key
