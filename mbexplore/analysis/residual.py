"""The residual stream by its lengths: how long it is, and how much each block adds to it.

Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", calls it that: every
attention and every MLP reads the stream and adds to it, and nothing else changes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.similarity import Similarity
from mbexplore.analysis.target import upcast
from mbexplore.recording import Recording

LIMITS = (
    "A norm says how much is added, not whether it matters: the next norm rescales the stream, and "
    "a few dimensions may hold most of the norm."
)
KEEP = ("hidden_states", "updates")


@dataclass(frozen=True, eq=False)
class ResidualNorms:
    """Euclidean lengths at every token.

    Attributes:
        tokens: of the text.
        residual: (states, seq) of the stream: 0 after the embeddings, n after layer n - 1.
        attention: (layers, seq) of what each layer's attention adds.
        mlp: (layers, seq) of what each layer's MLP adds.
    """

    tokens: tuple[str, ...]
    residual: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32]
    mlp: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Residual(Similarity, ResidualNorms):
    """Lengths of the stream and of its updates, and how alike its states are."""


def residual_norms(recording: Recording) -> ResidualNorms:
    """Lengths of the stream and of its updates.

    Args:
        recording: with `KEEP` kept.
    """
    layers = range(recording.config.num_hidden_layers)
    return ResidualNorms(
        recording.encoding.tokens,
        _lengths([recording.hidden_states(n) for n in range(len(layers) + 1)]),
        _lengths([recording.tap(f"layers.{i}.attn_out") for i in layers]),
        _lengths([recording.tap(f"layers.{i}.mlp_out") for i in layers]),
    )


def _lengths(values: list[Tensor]) -> npt.NDArray[np.float32]:
    """Norms of (seq, hidden) each, (values, seq); summed in float32 or wider."""
    rows = [upcast(value).norm(dim=-1) for value in values]
    lengths: npt.NDArray[np.float32] = torch.stack(rows).float().cpu().numpy()
    return lengths
