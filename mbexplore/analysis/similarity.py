"""How alike the states of the residual stream are: cosine by token, linear CKA over tokens.

Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited"
(arXiv:1905.00414): CKA compares how two states arrange the tokens, whatever rotation or scale
lies between them; the cosine compares the vectors themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.target import upcast
from mbexplore.errors import TextError
from mbexplore.hooks import Progress
from mbexplore.recording import Recording, check_index, to_float64

KEEP = ("hidden_states",)
MOST_TOKENS = 2048
"""CKA costs the square of the tokens; of a longer text so many, evenly spaced, stand for all."""

BLOCK = 256
"""Tokens compared at a time."""

LIMITS = limits.SIMILARITY


@dataclass(frozen=True, eq=False)
class Similarity:
    """The states of the stream against each other: 0 after the embeddings, n after layer n - 1.

    Attributes:
        steps: (layers, seq) cosine of each token's state after a layer with that before it.
        cosine: (states, states) cosine of two states of a token, averaged over tokens.
        cka: (states, states) linear CKA over `cka_tokens` tokens; 0 for a state that is the same
            at every token.
        cka_tokens: all of the text's, or `MOST_TOKENS`.
    """

    steps: npt.NDArray[np.float32]
    cosine: npt.NDArray[np.float64]
    cka: npt.NDArray[np.float64]
    cka_tokens: int


def similarity(recording: Recording, progress: Progress | None = None) -> Similarity:
    """Compares every two states of the stream.

    Args:
        recording: with `KEEP` kept.
        progress: called with the blocks of tokens compared and all there are.

    Raises:
        TextError: the text is a single token, and there is nothing to arrange.
    """
    seq = len(recording)
    if seq < 2:
        raise TextError("The text is 1 token and CKA compares at least 2; give a longer text.")
    states = [recording.hidden_states(n) for n in range(recording.config.num_hidden_layers + 1)]
    count = min(seq, MOST_TOKENS)
    picked = [i * (seq - 1) // (count - 1) for i in range(count)]
    blocks = -(-seq // BLOCK) + -(-count // BLOCK)
    numbers = itertools.count(1)

    def tell() -> None:
        if progress is not None:
            progress(next(numbers), blocks)

    steps, cosine = _cosines(states, tell)
    cka = linear_cka([state[picked] for state in states], tell)
    return Similarity(steps, cosine, cka, count)


@dataclass(frozen=True, eq=False)
class TokenSimilarity:
    """The tokens against each other after one layer.

    Attributes:
        tokens: of the text.
        layer: from 0.
        cosine: (seq, seq) cosine of the residual streams of two tokens after the layer.
        mean: (states,) mean cosine of all pairs of different tokens; state 0 is the embeddings.
    """

    tokens: tuple[str, ...]
    layer: int
    cosine: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float64]


def token_similarity(recording: Recording, layer: int) -> TokenSimilarity:
    """Compares every two tokens after a layer.

    Args:
        recording: with `KEEP` kept.
        layer: from 0.

    Raises:
        RangeError: there is no such layer.
        TextError: the text is a single token.
    """
    seq, layers = len(recording), recording.config.num_hidden_layers
    check_index("layer", layer, layers)
    if seq < 2:
        raise TextError("The text is 1 token and there is no pair to compare; give a longer text.")
    mean = []
    for state in range(layers + 1):
        unit = torch.nn.functional.normalize(upcast(recording.hidden_states(state)), dim=-1)
        # The sum of all cosines is the squared length of the sum of all unit vectors.
        exact = to_float64(unit)
        total = exact.sum(dim=0).square().sum()
        mean.append(float((total - exact.square().sum()) / (seq * (seq - 1))))
        if state == layer + 1:
            cosine = (unit @ unit.T).clamp(-1, 1).float().cpu().numpy()
    return TokenSimilarity(recording.encoding.tokens, layer, cosine, np.array(mean))


def _cosines(
    states: Sequence[Tensor], tell: Callable[[], None]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Cosines of following states (layers, seq), and the mean of any two (states, states)."""
    seq = len(states[0])
    total = torch.zeros(len(states), len(states), dtype=torch.float64)
    steps = []
    for start in range(0, seq, BLOCK):
        block = torch.stack([upcast(state[start : start + BLOCK]) for state in states])
        block = torch.nn.functional.normalize(block, dim=-1)  # (states, block, hidden)
        total += to_float64(torch.einsum("ith,jth->tij", block, block)).sum(dim=0)
        steps.append((block[1:] * block[:-1]).sum(dim=-1))
        tell()
    return torch.cat(steps, dim=1).float().cpu().numpy(), (total / seq).numpy()


def linear_cka(
    states: Sequence[Tensor], tell: Callable[[], None] = lambda: None
) -> npt.NDArray[np.float64]:
    """Linear CKA of every two of them: `<K, L> / (|K| |L|)`, K and L their centred Gram matrices.

    The rows of the Gram matrices come in blocks, so that none is ever whole.

    Args:
        states: (tokens, features) each, of the same tokens.
        tell: called after each block of tokens.

    Returns:
        (states, states), from 0 to 1.
    """
    centred = [upcast(state) - upcast(state).mean(dim=0) for state in states]
    # Only the shape of a state counts, so each is brought to one length first: float32 holds it.
    centred = [x / x.norm().clamp(min=torch.finfo(x.dtype).tiny) for x in centred]
    products = torch.zeros(len(states), len(states), dtype=torch.float64)
    for start in range(0, len(centred[0]), BLOCK):
        rows = [to_float64(x[start : start + BLOCK] @ x.T).flatten() for x in centred]
        grams = torch.stack(rows)
        products += grams @ grams.T
        tell()
    lengths = products.diagonal().sqrt()
    scale = torch.outer(lengths, lengths)
    return torch.where(scale > 0, products / scale.clamp(min=1e-300), 0.0).numpy()
