"""Many texts at once: side by side in one row, never padded.

Linear layers take all tokens of a row together; attention keeps each text to itself and counts its
positions from its own start, so a text gets what it gets alone. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mbexplore.network.model import PretrainedModel

PACK = 4096
"""Tokens of a row: enough to keep the matrix products busy, few enough to need little memory."""


def packs(lengths: Sequence[int], most: int = PACK) -> Iterator[range]:
    """Which texts share a row: neighbours, as many as fit; a longer one has a row to itself.

    Args:
        lengths: tokens of each text.
        most: tokens of a row.
    """
    first = filled = 0
    for place, length in enumerate(lengths):
        if place > first and filled + length > most:
            yield range(first, place)
            first, filled = place, 0
        filled += length
    if lengths:
        yield range(first, len(lengths))


def run_packed(
    model: PretrainedModel,
    texts: Sequence[Sequence[int]],
    rows: Sequence[Sequence[int]] | None = None,
    most: int = PACK,
) -> Iterator[Tensor]:
    """What a model says of each text, in their order: logits, or an encoder's hidden states.

    Args:
        model: an encoder, or one with a head that speaks of every token.
        texts: token ids of each.
        rows: positions wanted in each text, rising; None for all.
        most: tokens that are run together.

    Yields:
        (query, vocab or hidden) of one text.
    """
    for group in packs([len(text) for text in texts], most):
        ids = [token for place in group for token in texts[place]]
        numbers = [place for place in group for _ in texts[place]]
        counts = [len(texts[place] if rows is None else rows[place]) for place in group]
        wanted = None
        if rows is not None:
            starts = [0]
            for place in group:
                starts.append(starts[-1] + len(texts[place]))
            places = [
                start + row for start, i in zip(starts, group, strict=False) for row in rows[i]
            ]
            wanted = torch.tensor(places, dtype=torch.long, device=model.device)
        with torch.inference_mode():
            packed, segments = torch.tensor([[ids], [numbers]], device=model.device)
            output: Tensor = model(packed, segments, rows=wanted)[0]
        yield from torch.split(output, counts)
