"""Many texts at once: side by side in one row, without padding; or as a rectangle, for others.

Linear layers take all tokens of a row together; attention keeps each text to itself, and positions
count from each text's own start, so a text gets what it gets alone. Knows nothing of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from mbexplore.network.model import PretrainedModel

PACK, ROW = 4096, 8192
"""Tokens of a row of which something is kept, and of one of which only the answers are: enough to
keep the matrix products busy, few enough to need little memory."""


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


class Pack(NamedTuple):
    """What a model says of the texts of one row.

    Attributes:
        places: of the texts among all, in the order in which they lie in the row.
        counts: rows of `output` that belong to each.
        output: (query of all texts, vocab or hidden).
    """

    places: list[int]
    counts: list[int]
    output: Tensor


def run_packs(
    model: PretrainedModel,
    texts: Sequence[Sequence[int]],
    query_positions: Sequence[Sequence[int]] | None = None,
    most: int = ROW,
) -> Iterator[Pack]:
    """What a model says of many texts, row by row; see `run_packed`."""
    for group in packs([len(text) for text in texts], most):
        # Those of one length lie side by side: attention takes them as a batch.
        places = sorted(group, key=lambda place: len(texts[place]))
        some = [texts[place] for place in places]
        wanted, counts = None, [len(text) for text in some]
        if query_positions is not None:
            starts = accumulate(counts, initial=0)
            chosen = [query_positions[place] for place in places]
            rows = [start + i for start, each in zip(starts, chosen, strict=False) for i in each]
            wanted = torch.tensor(rows, dtype=torch.long, device=model.device)
            counts = [len(each) for each in chosen]
        with no_gradients():
            output: Tensor = model(**pack(some, model.device), query_positions=wanted)[0]
        yield Pack(places, counts, output)


def run_packed(
    model: PretrainedModel,
    texts: Sequence[Sequence[int]],
    query_positions: Sequence[Sequence[int]] | None = None,
    most: int = ROW,
) -> Iterator[Tensor]:
    """What a model says of each text, in their order: logits, or an encoder's hidden states.

    Args:
        model: an encoder, or one with a head that speaks of every token.
        texts: token ids of each.
        query_positions: positions wanted in each text, rising; None for all.
        most: tokens that are run together.

    Yields:
        (query, vocab or hidden) of one text.
    """
    for places, counts, output in run_packs(model, texts, query_positions, most):
        found = dict(zip(places, torch.split(output, counts), strict=True))
        yield from (found[place] for place in sorted(places))


def pack(texts: Sequence[Sequence[int]], device: torch.device) -> dict[str, Tensor]:
    """The arguments of a forward pass over texts laid side by side, each (1, seq)."""
    ids = [token for text in texts for token in text]
    numbers = [number for number, text in enumerate(texts) for _ in text]
    positions = [position for text in texts for position in range(len(text))]
    names = ("input_ids", "segment_ids", "position_ids")
    rows = torch.tensor([ids, numbers, positions], device=device)
    return {name: row[None] for name, row in zip(names, rows, strict=True)}


@contextmanager
def no_gradients() -> Iterator[None]:
    """Nothing inside is differentiated, and what is made can be used by autograd afterwards.

    That is what tensors of PyTorch's inference mode can't, even where a caller is in it.
    """
    with torch.inference_mode(False), torch.no_grad():
        yield


def pad(batch: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask (batch, seq) of texts of unequal length, padded on the right."""
    longest = max(map(len, batch))
    ids = [[*row, *[pad_id] * (longest - len(row))] for row in batch]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in batch]
    return torch.tensor(ids), torch.tensor(mask)
