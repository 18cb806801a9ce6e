"""Single weights of attention maps: those of one token, and those that matter."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.maps import (
    LayerFacts,
    first_head,
    layer_facts,
    links_at,
    map_rows,
    strongest_first,
)
from mbexplore.analysis.maps import Link as Link
from mbexplore.errors import RangeError
from mbexplore.hooks import Progress
from mbexplore.recording import Recording, check_index

MASS = 0.7
"""The share of each row that its arcs carry together."""

MOST_ARCS = 1000
"""The most arcs of a head that a picture holds."""


@dataclass(frozen=True, eq=False)
class Arcs(LayerFacts):
    """The fewest links that carry a share of the weight of every row.

    Of a part of the text, those among the links of the whole text whose ends both lie in it.

    Attributes:
        mass: share of each row that its links reach together.
        links: falling; where a head had more than `most`, its strongest.
        most: `MOST_ARCS`.
        total: how many there were in all heads.
    """

    mass: float
    links: tuple[Link, ...]
    most: int
    total: int


def links_of_query(
    recording: Recording, layer: int, query: int, head: int, count: int
) -> tuple[Link, ...]:
    """The `count` largest weights of one token's row in a head, falling.

    Raises:
        RangeError: the layer, head or query is outside.
    """
    check_index("token", query, len(recording))
    rows = recording.attention(layer, head, slice(query, query + 1))  # (1, 1, keys)
    best = rows.flatten().topk(min(count, int((rows > 0).sum()))).indices
    return tuple(sorted(links_at(rows, best, head, query, 0), key=strongest_first))


def arcs(
    recording: Recording,
    layer: int,
    head: int | None = None,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    mass: float = MASS,
    progress: Progress | None = None,
) -> Arcs:
    """The fewest links that carry `mass` of every row of weights, at most `MOST_ARCS` a head.

    The mass is over 0 and at most 1; all else is what `maps.layer_map` takes.

    Raises:
        RangeError: the layer or head is outside, or `mass` is no share.
    """
    if not 0 < mass <= 1:
        raise RangeError(f"The mass is {mass:g}; choose more than 0, and 1 at most.")
    axis = axis or build_axis(recording.encoding)
    # Rows are weighed whole: a part shows the links that they have in the whole text.
    keys = build_axis(recording.encoding, words=axis.words, hide_special=axis.hide_special)
    left, total = int(keys.indices_of(axis.starts[:1])[0]), 0
    found: dict[int, list[Link]] = {}
    for row, column, whole in map_rows(
        recording, layer, head, axis, keys=keys, mean=mean, progress=progress
    ):
        low = max(0, left - column)
        high = max(low, left + len(axis) - column)
        for number, weights in enumerate(whole, start=first_head(head, mean)):
            part = weights[None, :, low:high]
            chosen = _heaviest(weights[None], mass)[:, :, low:high].flatten().nonzero()[:, 0]
            total += len(chosen)
            best = chosen[part.flatten()[chosen].topk(min(MOST_ARCS, len(chosen))).indices]
            links = found.get(number, []) + links_at(part, best, number, row, column + low - left)
            found[number] = heapq.nsmallest(MOST_ARCS, links, key=strongest_first)
    every = sorted((link for links in found.values() for link in links), key=strongest_first)
    return Arcs(
        *layer_facts(recording, layer, head, axis, mean), mass, tuple(every), MOST_ARCS, total
    )


def _heaviest(weights: Tensor, mass: float) -> Tensor:
    """Which of the weights (heads, query, key) are the fewest that hold `mass` of their row."""
    values, keys = weights.sort(dim=-1, descending=True, stable=True)
    before = values.cumsum(-1) - values
    # Special tokens that are hidden take no part: links reach the share of what is left.
    needed = (before < mass * values.sum(-1, keepdim=True)) & (values > 0)
    return torch.zeros_like(needed).scatter_(-1, keys, needed)
