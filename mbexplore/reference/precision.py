"""What half precision costs: answers of the same model beside those in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.model import load_model
from mbexplore.explorer import Explorer
from mbexplore.network.linear import HALF
from mbexplore.network.model import ModernBertForMaskedLM


@dataclass(frozen=True)
class PrecisionLoss:
    """How far predictions at every token of some texts are from those in float32.

    Attributes:
        tokens: predictions compared.
        same_answer: share whose likeliest token is the same.
        mean_kl: mean Kullback-Leibler divergence from the float32 distribution, in nats.
        largest_change: of any token's probability.
    """

    tokens: int
    same_answer: float
    mean_kl: float
    largest_change: float


def measure_loss(explorer: Explorer, batch: Sequence[Sequence[int]]) -> PrecisionLoss | None:
    """The loss of a model in half precision with an MLM head; None for any other.

    Args:
        explorer: the model.
        batch: token ids of each text.
    """
    narrow = explorer.model
    if narrow.dtype not in HALF or not isinstance(narrow, ModernBertForMaskedLM):
        return None
    folder = explorer.files.folder
    wide = load_model(folder, ModernBertForMaskedLM, dtype=torch.float32, device=narrow.device)
    found = [_log_probabilities(model, batch) for model in (wide, narrow)]
    return compare_predictions(*found)


@torch.inference_mode()
def _log_probabilities(model: ModernBertForMaskedLM, batch: Sequence[Sequence[int]]) -> Tensor:
    """Of every token at every place of every text, (token, vocab)."""
    logits = [model(torch.tensor([ids], device=model.device))[0] for ids in batch]
    return torch.cat(logits).float().log_softmax(dim=-1)


def compare_predictions(wide: Tensor, narrow: Tensor) -> PrecisionLoss:
    """The loss from one set of predictions to another.

    Args:
        wide: log probabilities in float32, (token, vocab).
        narrow: the same in half precision.
    """
    probabilities = wide.exp()
    return PrecisionLoss(
        len(wide),
        float((wide.argmax(-1) == narrow.argmax(-1)).float().mean()),
        float((probabilities * (wide - narrow)).sum(-1).mean()),
        float((probabilities - narrow.exp()).abs().max()),
    )
