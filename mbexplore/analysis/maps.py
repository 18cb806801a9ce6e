"""Attention maps for looking at: a layer's picture at any length, and its strongest links."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.config import LayerKind, ModernBertConfig
from mbexplore.recording import Recording

PIXELS = 512
"""The most rows and columns a picture of a map has; a longer text is pooled to them."""


@dataclass(frozen=True, eq=False)
class LayerMap:
    """The attention maps of one layer, small enough to draw.

    Attributes:
        layer: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        half_window: reach on each side, None for a global layer.
        tokens: of the whole text.
        heads: which heads, in the order of `weights`.
        pool: tokens to a pixel; a pixel holds the largest weight of its pool x pool square.
        weights: (heads, rows, columns) float32; rows are queries.
    """

    layer: int
    kind: LayerKind
    theta: float
    half_window: int | None
    tokens: tuple[str, ...]
    heads: tuple[int, ...]
    pool: int
    weights: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Link:
    """One weight of a map: how much `query` looks at `key`, both as positions."""

    head: int
    query: int
    key: int
    weight: float


def layer_map(
    recording: Recording, layer: int, head: int | None = None, pixels: int = PIXELS
) -> LayerMap:
    """The maps of a layer (or of one head), max-pooled so that no spike is lost.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        pixels: the most rows and columns of the result.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    seq, config = len(recording), recording.config
    pool = -(-seq // pixels)
    size = -(-seq // pool)
    heads = tuple(range(config.num_attention_heads)) if head is None else (head,)
    weights = np.zeros((len(heads), size, size), dtype=np.float32)
    block = pool * max(1, 256 // pool)
    for start, low, rows in recording.attention_rows(layer, head, block):
        pooled = _max_pool(rows, pool, low % pool).cpu().numpy()  # (heads, pixels, pixels)
        top, left = start // pool, low // pool
        weights[:, top : top + pooled.shape[1], left : left + pooled.shape[2]] = pooled
    return LayerMap(
        layer,
        config.layer_kinds[layer],
        config.theta(layer),
        config.half_window(layer),
        recording.encoding.tokens,
        heads,
        pool,
        weights,
    )


def _max_pool(weights: Tensor, pool: int, shift: int) -> Tensor:
    """Largest weight of every pool x pool square; columns start `shift` into their first square."""
    if pool == 1:
        return weights
    heads, rows, columns = weights.shape
    bottom, right = -rows % pool, -(columns + shift) % pool
    padded = torch.nn.functional.pad(weights, (shift, right, 0, bottom))
    squares = padded.view(heads, (rows + bottom) // pool, pool, -1, pool)
    return squares.amax(dim=(2, 4))  # (heads, row pixels, column pixels)


def strongest_links(
    recording: Recording, layer: int, head: int | None = None, count: int = 20
) -> tuple[Link, ...]:
    """The `count` largest weights of a layer's maps, falling; ties go to the earlier place.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        count: how many, 0 for none.
    """
    first_head = head or 0
    found: list[Link] = []
    for start, low, weights in recording.attention_rows(layer, head):
        _, rows, columns = weights.shape
        best = weights.flatten().topk(min(count, weights.numel()))
        for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            of_head, rest = divmod(place, rows * columns)
            row, column = divmod(rest, columns)
            found.append(Link(first_head + of_head, start + row, low + column, weight))
        found = heapq.nsmallest(
            count, found, key=lambda link: (-link.weight, link.head, link.query, link.key)
        )
    return tuple(found)


def links_of_query(
    recording: Recording, layer: int, query: int, head: int | None = None, count: int = 20
) -> tuple[Link, ...]:
    """The `count` largest weights of one row of a layer's maps, falling; see `strongest_links`.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        query: position of the token that looks.
        head: one head, or None for all.
        count: how many, 0 for none.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    row = recording.attention(layer, head, query)[:, 0]  # (heads, key)
    first_head, best = head or 0, row.flatten().topk(min(count, row.numel()))
    found = [
        Link(first_head + place // row.shape[1], query, place % row.shape[1], weight)
        for weight, place in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        if weight > 0  # outside the window there is nothing
    ]
    return tuple(sorted(found, key=lambda link: (-link.weight, link.head, link.key)))


def nearest_other_kind(config: ModernBertConfig, layer: int) -> int | None:
    """The layer of the other kind that is nearest to `layer`; None if all are of one kind."""
    kinds = config.layer_kinds
    others = [i for i, kind in enumerate(kinds) if kind != kinds[layer]]
    return min(others, key=lambda i: (abs(i - layer), i), default=None)
