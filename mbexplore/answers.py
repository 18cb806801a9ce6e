"""What a model says at the masks of a text, and what Hugging Face says there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding, Tokenizer
from mbexplore.text import shortened

ROWS = 64
"""Masks whose probabilities are computed together."""


@dataclass(frozen=True)
class ModelInfo:
    """What every answer says of the model it came from."""

    name: str
    source: str
    parameters: int
    dtype: str
    device: str


@dataclass(frozen=True)
class Prediction:
    """One token that may stand at a mask."""

    token: str
    token_id: int
    probability: float
    logit: float


@dataclass(frozen=True)
class MaskPredictions:
    """The likeliest tokens at one mask, by falling probability."""

    position: int
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model says at every mask of a text.

    Attributes:
        model: which model.
        encoding: the text and its tokens.
        masks: one entry a mask, in the text's order.
        logits: (mask, vocab).
    """

    model: ModelInfo
    encoding: Encoding
    masks: tuple[MaskPredictions, ...]
    logits: Tensor

    def __repr__(self) -> str:
        best = [mask.predictions[0] for mask in self.masks]
        likeliest = ", ".join(f"{one.token!r} {one.probability:.1%}" for one in best[:3])
        more = f", {len(best) - 3} more" if len(best) > 3 else ""
        return f"Answer({shortened(self.encoding.text, 60)!r}: {likeliest}{more})"


@dataclass(frozen=True)
class Comparison:
    """Hugging Face's answer to the same text, and how far ours is from it.

    Attributes:
        version: of transformers.
        masks: its predictions, one entry a mask.
        max_abs_logit_difference: over every token of the vocabulary at every mask.
        same_top_k: whether both name the same tokens in the same order.
    """

    version: str
    masks: tuple[MaskPredictions, ...]
    max_abs_logit_difference: float
    same_top_k: bool


def read_masks(
    tokenizer: Tokenizer, encodings: Sequence[Encoding], logits: Tensor, top_k: int
) -> list[tuple[MaskPredictions, ...]]:
    """The `top_k` likeliest tokens at each mask of each text, of logits (mask of all, vocab)."""
    ranked = _ranked(tokenizer, logits, top_k)
    return [
        tuple(MaskPredictions(position, next(ranked)) for position in encoding.mask_positions)
        for encoding in encodings
    ]


def _ranked(tokenizer: Tokenizer, logits: Tensor, top_k: int) -> Iterator[tuple[Prediction, ...]]:
    """The likeliest tokens of each row of logits (row, vocab)."""
    for some in torch.split(logits, ROWS):
        wide = some.to(torch.promote_types(some.dtype, torch.float32))
        ids = wide.topk(top_k, dim=-1).indices  # (row, top_k)
        found = (ids, wide.softmax(dim=-1).gather(-1, ids), wide.gather(-1, ids))
        for row in zip(*(one.tolist() for one in found), strict=True):
            yield tuple(
                Prediction(tokenizer.token(i), i, probability, logit)
                for i, probability, logit in zip(*row, strict=True)
            )
