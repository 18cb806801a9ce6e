"""The logit lens: the top-k if the model stopped after each layer.

nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, "Eliciting Latent
Predictions from Transformers with the Tuned Lens" (arXiv:2303.08112). Each state of the residual
stream goes through the model's own final norm, head and decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.readout import Readout, build_readout, token_reader
from mbexplore.analysis.target import Source, Target, as_recording, expected
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, Prediction
from mbexplore.hooks import Progress
from mbexplore.recording import Recording

LIMITS = limits.LENS
KEEP = ("hidden_states",)
BLOCK = 256
"""Positions decoded together: base has 52 MB of logits for so many."""


@dataclass(frozen=True)
class LensRow:
    """What one state of the residual stream says.

    Attributes:
        state: 0 after the embeddings, n after layer n - 1.
        predictions: its likeliest tokens, falling.
        rank: of the answer; 1 is first.
        probability: of the answer.
        kl_final_to_layer: KL(final || this state), in nats.
        entropy: of this distribution, in nats.
    """

    state: int
    predictions: tuple[Prediction, ...]
    rank: int
    probability: float
    kl_final_to_layer: float
    entropy: float


@dataclass(frozen=True)
class Lens:
    """The logit lens at one position.

    Attributes:
        tokens: of the text.
        target: where, and which token's rank is followed.
        rows: one entry a state, from the embeddings to the last layer.
        top1_from: first state from which on the answer is top-1; None if it is not at the end.
    """

    tokens: tuple[str, ...]
    target: Target
    rows: tuple[LensRow, ...]
    top1_from: int | None


@dataclass(frozen=True, eq=False)
class LensMap:
    """The logit lens at every position. All arrays are (states, seq).

    Attributes:
        tokens: of the text.
        top: likeliest token of each cell.
        rank: of each position's final answer; 1 is first.
        entropy: nats.
        kl_final_to_layer: KL(final || cell), nats.
    """

    tokens: tuple[str, ...]
    top: tuple[tuple[str, ...], ...]
    rank: npt.NDArray[np.int64]
    entropy: npt.NDArray[np.float32]
    kl_final_to_layer: npt.NDArray[np.float32]

    def values(self, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """The array of that name; "kl" is short for `kl_final_to_layer`."""
        arrays: dict[str, npt.NDArray[np.int64] | npt.NDArray[np.float32]] = {
            "rank": self.rank,
            "entropy": self.entropy,
            "kl": self.kl_final_to_layer,
        }
        return arrays[name]


def lens(
    explorer: Explorer,
    source: Source,
    position: int | None = None,
    *,
    answer: str | None = None,
    top_k: int = DEFAULT_TOP_K,
    progress: Progress | None = None,
) -> Lens:
    """The model's own head on the residual stream after each layer, at one position.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        source: the text, or a recording of it with `KEEP` kept.
        position: which token; see `readout.build_readout`.
        answer: whose rank to follow; None for the model's own answer.
        top_k: tokens named after each layer.
        progress: called with the states decoded and all there are; what it raises ends the work.

    Raises:
        MbexploreError: see `readout.build_readout`.
        RangeError: the position or `top_k` is outside, or the answer is no single token.
    """
    explorer.check_top_k(top_k)
    if isinstance(source, str):
        source = explorer.encode(source)
    encoding = source.encoding if isinstance(source, Recording) else source
    readout = build_readout(explorer, encoding, position, answer)
    recording = as_recording(explorer, source, KEEP)
    decoded = []
    for n in _states(recording):
        with torch.no_grad():
            decoded.append(readout.read(normed_state(explorer, recording, n)[None]))
        if progress is not None:
            progress(n + 1, len(_states(recording)))
    logits = torch.cat(decoded)  # (states, option)
    target = readout.target(logits[-1])
    rows = _rows(readout, logits, target, top_k)
    return Lens(encoding.tokens, target, rows, top1_from([row.rank for row in rows]))


def lens_map(explorer: Explorer, source: Source, *, progress: Progress | None = None) -> LensMap:
    """The model's own head on the residual stream after each layer, at every position.

    Args:
        explorer: with a head that answers at every token.
        source: as in `lens`.
        progress: called with the states decoded and all there are, over all blocks of positions.

    Raises:
        ModelError: the model has no head that answers at every token.
    """
    _, name, _ = token_reader(explorer)
    recording = as_recording(explorer, source, KEEP)
    seq, states = len(recording), _states(recording)
    top = np.zeros((len(states), seq), dtype=np.int64)
    rank, entropy, kl = np.zeros_like(top), *np.zeros((2, len(states), seq), dtype=np.float32)
    starts = range(0, seq, BLOCK)
    for block, start in enumerate(starts):
        places = list(range(start, min(start + BLOCK, seq)))
        final = state_logits(explorer, recording, states[-1], places)
        for n in states:
            logits = state_logits(explorer, recording, n, places)  # (block, vocab)
            cells = (n, slice(start, start + len(places)))
            top[cells] = logits.argmax(dim=-1).cpu()
            rank[cells] = _ranks(logits, final.argmax(dim=-1)).cpu()
            log_p, log_final = (x.log_softmax(dim=-1)[:, None] for x in (logits, final))
            entropy[cells], kl[cells] = _entropy(log_p).cpu(), _divergence(log_final, log_p).cpu()
            if progress is not None:
                progress(block * len(states) + n + 1, len(starts) * len(states))
    names = tuple(tuple(name(int(i)) for i in row) for row in top)
    return LensMap(recording.encoding.tokens, names, rank, entropy, kl)


def top1_from_states(lens: LensMap) -> list[int]:
    """For each position, the first state from which on its final answer stays first."""
    found = [top1_from(column.tolist()) for column in lens.rank.T]
    return [len(lens.rank) - 1 if state is None else state for state in found]


def state_logits(
    explorer: Explorer, recording: Recording, state: int, positions: Sequence[int]
) -> Tensor:
    """One state of the residual stream through the final norm and a head that reads tokens.

    For the last state, this is the computation of the model itself, value for value.

    Args:
        explorer: whose model made the recording.
        recording: with "hidden_states" kept.
        state: 0 after the embeddings, n after layer n - 1.
        positions: which tokens.

    Returns:
        Logits (positions, option), float32 or wider.
    """
    read, _, _ = token_reader(explorer)
    with torch.no_grad():
        return read(normed_state(explorer, recording, state, list(positions)))


def normed_state(
    explorer: Explorer,
    recording: Recording,
    state: int,
    positions: list[int] | slice = slice(None),
) -> Tensor:
    """What the head reads at these positions if the model stops here, (positions, hidden)."""
    hidden_states = recording.hidden_states(state)[positions]  # the norm is of each token alone
    normed: Tensor = explorer.model.encoder.final_norm(hidden_states)
    return normed


def _states(recording: Recording) -> range:
    return range(recording.config.num_hidden_layers + 1)


def _rows(readout: Readout, logits: Tensor, target: Target, top_k: int) -> tuple[LensRow, ...]:
    standings, outcomes = readout.scores_of(logits, target), readout.log_probs(logits)
    kl, entropy = _divergence(outcomes[-1:], outcomes), _entropy(outcomes)
    columns = zip(logits, standings, kl.tolist(), entropy.tolist(), strict=True)
    return tuple(
        LensRow(
            state,
            readout.top_predictions(row, top_k),
            standing.rank,
            standing.probability,
            divergence,
            spread,
        )
        for state, (row, standing, divergence, spread) in enumerate(columns)
    )


def _ranks(logits: Tensor, tokens: Tensor) -> Tensor:
    """Rank of one token in each row of logits (rows, vocab); 1 is first."""
    return 1 + (logits > logits.gather(1, tokens[:, None])).sum(dim=-1)


def _entropy(log_p: Tensor) -> Tensor:
    """Of log-probabilities (rows, choice, outcome), all choices of a row together, in nats."""
    return -expected(log_p, log_p).sum(dim=-1)


def _divergence(log_final: Tensor, log_p: Tensor) -> Tensor:
    """KL(final || each row) in nats; exactly zero where both are the same."""
    return expected(log_final, log_final - log_p).sum(dim=-1)


def top1_from(ranks: list[int]) -> int | None:
    """The first state from which on the rank is 1; None where it isn't 1 in the end."""
    later = [n for n, rank in enumerate(ranks) if rank != 1]
    first = later[-1] + 1 if later else 0
    return first if first < len(ranks) else None
