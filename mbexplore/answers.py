"""What a model says at the masks of a text, and what Hugging Face says there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding, Tokenizer
from mbexplore.text import shortened


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
    tokenizer: Tokenizer, encoding: Encoding, logits: Tensor, top_k: int
) -> tuple[MaskPredictions, ...]:
    """The `top_k` likeliest tokens at each mask, of logits (mask, vocab)."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    probabilities = wide.softmax(dim=-1)
    ids = wide.topk(top_k, dim=-1).indices  # (mask, top_k)
    return tuple(
        MaskPredictions(
            position,
            tuple(
                Prediction(tokenizer.token(i), i, float(p[i]), float(row[i])) for i in best.tolist()
            ),
        )
        for position, row, p, best in zip(
            encoding.mask_positions, wide, probabilities, ids, strict=True
        )
    )
