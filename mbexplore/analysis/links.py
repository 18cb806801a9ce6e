"""Single weights of attention maps: the strongest, those of one token, and those that matter."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.maps import Link as Link
from mbexplore.analysis.maps import first_head, layer_title, links_at, map_rows, strongest_first
from mbexplore.errors import RangeError
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording, check_index

MASS = 0.7
"""The share of each row that its arcs carry together."""

MOST_ARCS = 1000
"""The most arcs of a head that a picture holds."""


@dataclass(frozen=True, eq=False)
class Arcs:
    """The fewest links that carry a share of the weight of every row, or of one.

    Of a part of the text, those among the links of the whole text whose ends both lie in it.

    Attributes:
        layer: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        half_window: reach on each side, None for a global layer.
        axis: what queries and keys are places of.
        heads: which heads, or all that the mean is over.
        is_mean: whether the weights are the mean of `heads`.
        query: the one entry whose row it is, or None for all.
        mass: share of each row that its links reach together.
        links: falling; where a head had more than `most`, its strongest.
        most: see there.
        total: how many there were in all heads.
        rows: the whole rows of `query`, (heads or 1, places); None without one.
    """

    layer: int
    kind: LayerKind
    theta: float
    half_window: int | None
    axis: Axis
    heads: tuple[int, ...]
    is_mean: bool
    query: int | None
    mass: float
    links: tuple[Link, ...]
    most: int
    total: int
    rows: NDArray[np.float32] | None

    @property
    def title(self) -> str:
        """What the layer is, in one line."""
        return layer_title(self.layer, self.kind, self.half_window, self.theta)

    @property
    def note(self) -> str:
        """Which links these are, in a sentence without its end."""
        unit = self.axis.unit.removesuffix("s")
        every = (
            f"{self.total:,} links that carry {self.mass:.0%} of what a {unit} gives in each head"
        )
        cut = len(self.links) < self.total
        return (
            f"The strongest {self.most:,} of each head among the {every}" if cut else f"The {every}"
        )


def strongest_links(
    recording: Recording,
    layer: int,
    head: int | None = None,
    count: int = 20,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    progress: Progress | None = None,
) -> tuple[Link, ...]:
    """The `count` largest weights of a layer's maps, falling; ties go to the earlier place.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        count: how many, 0 for none.
        axis: None for all tokens of the text.
        mean: whether to average over the heads.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    found: list[Link] = []
    blocks = map_rows(recording, layer, head, axis, mean=mean, progress=progress)
    for row, column, weights in blocks:
        best = weights.flatten().topk(min(count, weights.numel())).indices
        found += links_at(weights, best, first_head(head, mean), row, column)
        found = heapq.nsmallest(count, found, key=strongest_first)
    return tuple(found)


def links_of_query(
    recording: Recording,
    layer: int,
    query: int,
    head: int | None = None,
    count: int = 20,
    axis: Axis | None = None,
    *,
    mean: bool = False,
) -> tuple[Link, ...]:
    """The `count` largest weights of one row of a layer's maps, falling; see `strongest_links`.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        query: entry of the token or word on the axis.
        head: one head, or None for all.
        count: how many, 0 for none.
        axis: None for all tokens of the text.
        mean: whether to average over the heads.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    rows = rows_of(recording, layer, query, head, axis, mean=mean)
    best = rows.flatten().topk(min(count, int((rows > 0).sum()))).indices
    found = links_at(rows, best, first_head(head, mean), query, 0)
    return tuple(sorted(found, key=strongest_first))


def rows_of(
    recording: Recording,
    layer: int,
    query: int,
    head: int | None = None,
    axis: Axis | None = None,
    *,
    keys: Axis | None = None,
    mean: bool = False,
) -> Tensor:
    """Weights of one token or word: (heads or 1, 1, keys); see `links_of_query`.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        query: entry of `axis`.
        head: one head, or None for all.
        axis: None for all tokens of the text.
        keys: what the columns stand for, if it is not `axis`.
        mean: whether to average over the heads.
    """
    axis = axis or build_axis(recording.encoding)
    keys = keys or axis
    check_index(axis.unit.removesuffix("s"), query, len(axis))
    start, stop = axis.spans[query]
    weights = recording.attention(layer, head, slice(start, stop)).mean(1, keepdim=True)
    weights = weights.mean(0, keepdim=True) if mean else weights
    return keys.sum_spans(weights, 2, 0, 0, len(keys))


def arcs(
    recording: Recording,
    layer: int,
    head: int | None = None,
    query: int | None = None,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    mass: float = MASS,
    most: int = MOST_ARCS,
    progress: Progress | None = None,
) -> Arcs:
    """The fewest links that carry `mass` of every row of weights, or of one.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        query: the entry whose row it is, or None for all.
        axis: None for all tokens of the text.
        mean: whether to average over the heads.
        mass: over 0, at most 1.
        most: how many links of a head are kept.
        progress: called with the rows read and all there are.

    Raises:
        RangeError: the layer, head or query is outside, or `mass` is no share.
    """
    check_mass(mass)
    axis, config = axis or build_axis(recording.encoding), recording.config
    # Rows are weighed whole: a part shows the links that they have in the whole text.
    keys = build_axis(recording.encoding, words=axis.words, hide_special=axis.hide_special)
    left = int(keys.indices_of(axis.starts[:1])[0])
    rows, total = None, 0
    found: dict[int, list[Link]] = {}
    if query is None:
        blocks = map_rows(recording, layer, head, axis, keys=keys, mean=mean, progress=progress)
    else:
        of_query = rows_of(recording, layer, query, head, axis, keys=keys, mean=mean)
        rows = of_query[:, 0, left : left + len(axis)].cpu().numpy().astype(np.float32)
        blocks = iter([(query, 0, of_query)])
    for row, column, whole in blocks:
        low = max(0, left - column)
        high = max(low, left + len(axis) - column)
        for i in range(len(whole)):
            part, number = whole[i : i + 1, :, low:high], i + first_head(head, mean)
            chosen = _heaviest(whole[i : i + 1], mass)[:, :, low:high].flatten().nonzero()[:, 0]
            total += len(chosen)
            best = chosen[part.flatten()[chosen].topk(min(most, len(chosen))).indices]
            place = column + low - left
            links = found.get(number, []) + links_at(part, best, number, row, place)
            found[number] = heapq.nsmallest(most, links, key=strongest_first)
    heads = tuple(range(config.num_attention_heads)) if head is None else (head,)
    return Arcs(
        layer,
        config.layer_kinds[layer],
        config.theta(layer),
        config.half_window(layer),
        axis,
        heads,
        mean,
        query,
        mass,
        tuple(sorted((link for links in found.values() for link in links), key=strongest_first)),
        most,
        total,
        rows,
    )


def check_mass(mass: float) -> None:
    """Refuses a mass that is no share of a row.

    Raises:
        RangeError: it is not over 0, or over 1.
    """
    if not 0 < mass <= 1:
        raise RangeError(f"The mass is {mass:g}; choose more than 0, and 1 at most.")


def _heaviest(weights: Tensor, mass: float) -> Tensor:
    """Which of the weights (heads, query, key) are the fewest that hold `mass` of their row."""
    values, keys = weights.sort(dim=-1, descending=True, stable=True)
    before = values.cumsum(-1) - values
    # Special tokens that are hidden take no part: links reach the share of what is left.
    needed = (before < mass * values.sum(-1, keepdim=True)) & (values > 0)
    return torch.zeros_like(needed).scatter_(-1, keys, needed)
