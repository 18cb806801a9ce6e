"""Context mixing: how much each token contributes to each other, by four methods.

Attention weights; norm-based terms, Kobayashi et al. 2020, "Attention is Not Only a Weight"
(arXiv:2004.10102), which for pre-norm are ||sum_h a_ij W_O W_V LN(x_j)|| (layer 0 has no norm);
rollout, Abnar and Zuidema 2020, "Quantifying Attention Flow in Transformers" (arXiv:2005.00928);
value zeroing, Mohebbi et al. 2023, "Quantifying Context Mixing in Transformers" (arXiv:2301.12971).
All matrices are (query, key): row i holds the contributions of every token j to token i.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.target import Source, as_recording
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.network.model import EncoderLayer
from mbexplore.recording import Recording, check_index, to_float64

LIMITS = limits.CONTEXT_MIXING
KEEP = ("attention", "values", "hidden_states", "updates")
MOST_TOKENS = 512
"""The cost grows with the square of the text: all pairs of tokens pass through the layer's MLP."""
Method = Literal["attention", "norms", "rollout", "value_zeroing"]
METHODS: tuple[Method, ...] = ("attention", "norms", "rollout", "value_zeroing")
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ContextMixing:
    """Four matrices (query, key) of one layer, each row scaled to sum 1.

    Attributes:
        tokens: of the text.
        layer: from 0.
        half_window: of the layer; None if it is global.
        attention: mean over the heads.
        norms: norm-based terms.
        rollout: of all layers up to this one.
        value_zeroing: change of the layer's output.
    """

    tokens: tuple[str, ...]
    layer: int
    half_window: int | None
    attention: Matrix
    norms: Matrix
    rollout: Matrix
    value_zeroing: Matrix


def context_mixing(
    explorer: Explorer, source: Source, layer: int, *, progress: Progress | None = None
) -> ContextMixing:
    """How much each token contributes to each other one in a layer, by four methods.

    Args:
        explorer: of any model, with or without a head.
        source: a text of at most `MOST_TOKENS` tokens, or a recording of it with `KEEP` kept.
        layer: from 0.
        progress: called with the tokens whose value is zeroed and all there are; what it raises
            ends the work.

    Raises:
        RangeError: there is no such layer, or the text is too long.
    """
    recording = _as_recording(explorer, source, layer)
    return ContextMixing(
        recording.encoding.tokens,
        layer,
        recording.config.half_window(layer),
        *(mixing_matrix(explorer, recording, layer, method, progress) for method in METHODS),
    )


def mixing_matrix(
    explorer: Explorer,
    source: Source,
    layer: int,
    method: Method,
    progress: Progress | None = None,
) -> Matrix:
    """One matrix of `context_mixing` alone; all but "value_zeroing" cost little.

    Raises:
        RangeError: as `context_mixing`.
    """
    recording = _as_recording(explorer, source, layer)
    module = explorer.model.encoder.layers[layer]
    assert isinstance(module, EncoderLayer)
    if method == "attention":
        return _plain(recording.attention(layer).mean(dim=0))
    if method == "norms":
        return _shares(norms(recording, module, layer))
    if method == "rollout":
        return _plain(rollout(recording, layer)[layer])
    return _shares(value_zeroing(recording, module, layer, progress))


def _as_recording(explorer: Explorer, source: Source, layer: int) -> Recording:
    """The recording of a text that is short enough, in a model that has the layer."""
    check_index("layer", layer, explorer.model.config.num_hidden_layers)
    if isinstance(source, str):
        source = explorer.encode(source)
    check_length(source)
    return as_recording(explorer, source, KEEP)


def check_length(source: Encoding | Recording) -> None:
    """Makes sure that a text isn't too long.

    Raises:
        RangeError: it is.
    """
    if len(source) > MOST_TOKENS:
        raise RangeError(
            f"The text has {len(source):,} tokens and mixing compares every pair; give at most "
            f"{MOST_TOKENS}."
        )


def terms(recording: Recording, module: EncoderLayer, layer: int, query: int) -> Tensor:
    """What each token adds to the attention output of one query, as vectors.

    They sum to the attention output exactly, less the bias of Wo where there is one.

    Args:
        recording: with "attention" and "values" kept.
        module: the layer itself.
        layer: its number.
        query: whose terms.

    Returns:
        (key, hidden).
    """
    weights = recording.attention(layer, queries=query)[:, 0]  # (heads, key)
    values = recording.v(layer)  # (heads, key, head_dim)
    mixed = (weights[..., None] * values).to(values.dtype)  # (heads, key, head_dim)
    joined = mixed.transpose(0, 1).flatten(1)  # (key, hidden)
    return joined @ module.attn.Wo.weight.T


@torch.no_grad()
def norms(recording: Recording, module: EncoderLayer, layer: int) -> Tensor:
    """Length of each term of every query, (query, key); see `terms`.

    The squared length of sum_h a_h t_h is a' G a, where G are the products of the heads' own terms
    t_h with each other: so nothing of (query, key, hidden) is ever made.
    """
    weights, values = to_float64(recording.attention(layer)), recording.v(layer)  # (heads, key, _)
    heads, _, size = values.shape
    out = module.attn.Wo.weight.view(-1, heads, size)  # (hidden, heads, head_dim)
    each = to_float64(torch.einsum("hjd,ohd->jho", values, out))  # (key, heads, hidden)
    products = each @ each.mT  # (key, heads, heads)
    squares = torch.einsum("hij,jhg->gij", weights, products) * weights  # (heads, query, key)
    return squares.sum(dim=0).clamp(min=0).sqrt()


def rollout(recording: Recording, last: int | None = None) -> list[Tensor]:
    """Attention rolled out through the layers: entry n is the mix after layer n, (query, key).

    Each layer is half its residual stream and half the mean of its heads. A token that no chain of
    windows reaches has exactly zero.

    Args:
        recording: with "attention" kept.
        last: the layer to stop after; None for the model's last.
    """
    rolled: list[Tensor] = []
    layers = range(recording.config.num_hidden_layers)
    for layer in layers[: None if last is None else last + 1]:
        weights = recording.attention(layer).mean(dim=0)
        step = (weights + torch.eye(len(weights)).to(weights)) / 2
        rolled.append(step @ rolled[-1] if rolled else step)
    return rolled


@torch.no_grad()
def value_zeroing(
    recording: Recording, module: EncoderLayer, layer: int, progress: Progress | None = None
) -> Tensor:
    """Cosine distance of the layer's output with and without the value of each token.

    Zeroing the value of token j leaves the weights as they are and takes exactly the term of j
    from each query's attention output; so all j of a query pass through the MLP as one batch.

    Args:
        recording: with everything of `KEEP`.
        module: the layer itself.
        layer: its number.
        progress: called with the tokens done and all there are.

    Returns:
        (query, key); exactly 0 for a key outside the query's window.
    """
    before, after = recording.hidden_states(layer), recording.hidden_states(layer + 1)
    added = recording.tap(f"layers.{layer}.attn_out")
    weights = recording.attention(layer)
    rows = []
    for i in range(len(recording)):
        x = before[i] + added[i] - terms(recording, module, layer, i)  # (key, hidden)
        x = x + module.mlp(module.mlp_norm(x))
        distance = 1 - torch.cosine_similarity(to_float64(x), to_float64(after[i]), dim=-1)
        rows.append(distance.clamp(min=0) * (weights[:, i] > 0).any(dim=0).cpu())
        if progress is not None:
            progress(i + 1, len(recording))
    return torch.stack(rows)


def _shares(values: Tensor) -> Matrix:
    """Rows scaled to sum 1; a row of zeros stays."""
    return _plain(values / values.sum(dim=-1, keepdim=True).clamp(min=1e-30))


def _plain(values: Tensor) -> Matrix:
    return values.float().cpu().numpy()
