"""Heads whose attention rows are like those of one head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.hooks import Progress
from mbexplore.recording import Recording, check_index, to_float64

LIMITS = (
    "Rows are compared on this text alone: heads that attend alike here may differ on another, and "
    "what they write may differ everywhere."
)


@dataclass(frozen=True)
class HeadSimilarity:
    """Another head, and the distance of its rows from those of the head compared with.

    Attributes:
        layer: from 0.
        head: from 0.
        distance: Jensen-Shannon distance (the root of the divergence in bits, 0 to 1), averaged
            over queries.
    """

    layer: int
    head: int
    distance: float


def similar_heads(
    recording: Recording,
    layer: int,
    head: int,
    queries: int = 64,
    *,
    progress: Progress | None = None,
) -> tuple[HeadSimilarity, ...]:
    """All other heads by the distance of their rows from this one's, the nearest first.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: from 0.
        queries: at most so many rows are compared, evenly spaced over the text.
        progress: called with the layers done and all there are.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    config, seq = recording.config, len(recording)
    check_index("head", head, config.num_attention_heads)
    count = min(queries, seq)
    rows = [i * (seq - 1) // max(1, count - 1) for i in range(count)]
    own = recording.attention(layer, head, rows)  # (1, query, key)
    found = []
    for other in range(config.num_hidden_layers):
        for place in range(config.num_attention_heads):
            if (other, place) != (layer, head):
                theirs = recording.attention(other, place, rows)
                distance = float(jensen_shannon(own[0], theirs[0]).mean())
                found.append(HeadSimilarity(other, place, distance))
        if progress is not None:
            progress(other + 1, config.num_hidden_layers)
    return tuple(sorted(found, key=lambda each: (each.distance, each.layer, each.head)))


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon distance of distributions (..., key), (...,), from 0 to 1 (base 2)."""
    p, q = to_float64(p), to_float64(q)
    middle = torch.special.entr((p + q) / 2).sum(dim=-1)
    sides = (torch.special.entr(p) + torch.special.entr(q)).sum(dim=-1) / 2
    divergence = (middle - sides) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    distance: Tensor = divergence.clamp(0.0, 1.0).sqrt()
    return distance
