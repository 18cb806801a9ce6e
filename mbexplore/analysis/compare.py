"""Two runs side by side: two texts in one model, or one text in two models.

Predictions, the difference of an attention map, and the distance of the residual streams (cosine
distance, layer by layer, as in Kornblith et al. 2019's comparison of representations,
arXiv:1905.00414, but token by token).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mbexplore import limits
from mbexplore.analysis.alignment import Alignment, align
from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Source, as_recording, expected
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, ModelInfo, Prediction
from mbexplore.hooks import Progress
from mbexplore.recording import Recording, to_float64

LIMITS = limits.COMPARE
KEEP = ("attention", "hidden_states")
MOST_MAP_TOKENS = 4096
"""Tokens up to which the difference of two maps is held: 64 MiB."""

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ComparedRun:
    """One of the two runs: what ran, and its likeliest answers at its position, if it has one."""

    model: ModelInfo
    tokens: tuple[str, ...]
    position: int | None
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, eq=False)
class RunComparison:
    """Two runs and their differences, as far as both have the same shapes.

    Texts of unequal length are compared at the tokens of their common beginning and end.

    Attributes:
        first: one run.
        second: the other.
        kl: KL(first || second) of the two answers in nats; None where the choices differ.
        alignment: the tokens that are compared.
        layer: whose map is compared.
        head: which head; None for the mean of all.
        attention: weights of the second less the first, (query, key) of the aligned tokens, or
            None.
        residual_distance: cosine distance of the residual streams, (states, aligned tokens), state
            0 the embeddings; or None.
        unavailable_reason: why there is no `attention` or `residual_distance`, or which tokens
            alone are compared, or "".
    """

    first: ComparedRun
    second: ComparedRun
    kl: float | None
    alignment: Alignment
    layer: int
    head: int | None
    attention: Matrix | None
    residual_distance: Matrix | None
    unavailable_reason: str

    @property
    def aligned_tokens(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The tokens compared, of both runs."""
        pairs = ((self.first, self.alignment.first), (self.second, self.alignment.second))
        first, second = (tuple(run.tokens[i] for i in positions) for run, positions in pairs)
        return first, second

    @property
    def nbytes(self) -> int:
        """Memory that the maps take."""
        maps = (self.attention, self.residual_distance)
        return sum(values.nbytes for values in maps if values is not None)


def compare(
    first: tuple[Explorer, Source],
    second: tuple[Explorer, Source],
    *,
    layer: int | None = None,
    head: int | None = None,
    position: int | None = None,
    top_k: int = DEFAULT_TOP_K,
    progress: Progress | None = None,
) -> RunComparison:
    """Runs both and compares them.

    Args:
        first: a model and its text, or a recording of it with `KEEP` kept.
        second: likewise; the same model or the same text.
        layer: whose attention is compared, in both; None for the last.
        head: one head; None for the mean of all.
        position: which token is predicted, in the first text, and its counterpart in the second;
            see `readout.build_readout`.
        top_k: tokens named.
        progress: called with the runs done and all there are; what it raises ends the work.

    Raises:
        ModelError: a model has no head that chooses.
        RangeError: a layer, head or position is outside one of the two, or the position has no
            counterpart.
        TextError: no position is given and a text has no mask.
    """
    if layer is None:
        layer = min(one.model.config.num_hidden_layers for one, _ in (first, second)) - 1
    for explorer, _ in (first, second):
        explorer.check_layer_and_head(layer, head)
        explorer.check_top_k(top_k)
    sources = [
        (explorer, explorer.encode(source) if isinstance(source, str) else source)
        for explorer, source in (first, second)
    ]
    encodings = [x.encoding if isinstance(x, Recording) else x for _, x in sources]
    alignment = align(*encodings)
    # Both readouts are built before either model runs: what can't be read costs nothing.
    readouts = [
        build_readout(explorer, encoding, place)
        for (explorer, _), encoding, place in zip(
            sources, encodings, _positions(alignment, position), strict=True
        )
    ]
    recordings = []
    for done, (explorer, source) in enumerate(sources, start=1):
        recordings.append(as_recording(explorer, source, KEEP))
        if progress is not None:
            progress(done, len(sources))
    sides, kl = _answers([explorer for explorer, _ in sources], readouts, recordings, top_k)
    maps = _maps(recordings, layer, head, alignment)
    return RunComparison(sides[0], sides[1], kl, alignment, layer, head, *maps)


def _answers(
    explorers: Sequence[Explorer],
    readouts: Sequence[Readout],
    recordings: Sequence[Recording],
    top_k: int,
) -> tuple[list[ComparedRun], float | None]:
    """What both answer, and KL of the two where they choose among the same."""
    logits = [_logits(*pair) for pair in zip(readouts, recordings, strict=True)]
    count = min(top_k, *map(len, logits))
    sides = [
        ComparedRun(
            explorer.info,
            recording.encoding.tokens,
            readout.target(row).position,
            readout.top_predictions(row, count),
        )
        for explorer, recording, readout, row in zip(
            explorers, recordings, readouts, logits, strict=True
        )
    ]
    if len(logits[0]) != len(logits[1]) or not readouts[0].has_same_options(readouts[1]):
        return sides, None
    log_p, log_q = (each.log_probs(row) for each, row in zip(readouts, logits, strict=True))
    return sides, float(expected(log_p, log_p - log_q.to(log_p.device)).sum())


def _maps(
    recordings: Sequence[Recording], layer: int, head: int | None, alignment: Alignment
) -> tuple[Matrix | None, Matrix | None, str]:
    """Differences of attention and of residual streams, and why one is missing."""
    attention = residual_distance = None
    reason = _incomparable_shapes(*recordings)
    if not reason:
        residual_distance = _residual_distance(recordings[0], recordings[1], alignment)
    if not alignment.is_whole:
        lengths = f"{len(recordings[0]):,} and {len(recordings[1]):,}"
        reason = (
            f"The texts are {lengths} tokens; the {len(alignment):,} of their common beginning "
            f"and end are compared. {reason}"
        ).strip()
    if len(alignment) <= MOST_MAP_TOKENS:
        attention = _attention_difference(recordings, layer, head, alignment)
    else:
        reason = (
            f"{reason} A map of {len(alignment):,} tokens is not compared whole; cut the texts to "
            f"{MOST_MAP_TOKENS:,}."
        ).strip()
    return attention, residual_distance, reason


def _positions(alignment: Alignment, position: int | None) -> tuple[int | None, int | None]:
    """The position that is read in each text; a bad one is left for the readout to refuse."""
    if position is None or alignment.is_whole:
        return position, position
    return position, alignment.partner(position)


def _logits(readout: Readout, recording: Recording) -> torch.Tensor:
    """What a model answers, (option,)."""
    last = recording.hidden_states(recording.config.num_hidden_layers)
    with torch.no_grad():
        return readout.read(readout.model.encoder.final_norm(last)[None])[0]


def _incomparable_shapes(first: Recording, second: Recording) -> str:
    """Why the residual streams can't be compared, or ""."""
    shapes = [(r.config.num_hidden_layers, r.config.hidden_size) for r in (first, second)]
    if shapes[0] != shapes[1]:
        return (
            f"The models are {shapes[0][0]} layers of {shapes[0][1]} and {shapes[1][0]} of "
            f"{shapes[1][1]}, so their residuals can't be compared."
        )
    return ""


def _attention_difference(
    recordings: Sequence[Recording], layer: int, head: int | None, alignment: Alignment
) -> Matrix:
    """Weights of the second less those of the first, (query, key), from blocks of rows."""
    size = len(alignment)
    difference = np.zeros((size, size), dtype=np.float32)
    for recording, positions, sign in zip(recordings, alignment.indices, (-1, 1), strict=True):
        for start, low, weights in recording.attention_rows(layer, head):
            stop, high = start + weights.shape[1], low + weights.shape[2]
            rows = np.flatnonzero((positions >= start) & (positions < stop))
            columns = np.flatnonzero((positions >= low) & (positions < high))
            block = weights.mean(dim=0).float().cpu().numpy()
            picked = block[np.ix_(positions[rows] - start, positions[columns] - low)]
            difference[np.ix_(rows, columns)] += sign * picked
    return difference


def _residual_distance(first: Recording, second: Recording, alignment: Alignment) -> Matrix:
    rows = []
    positions = [list(each) for each in (alignment.first, alignment.second)]
    for state in range(first.config.num_hidden_layers + 1):
        ours, theirs = (
            to_float64(recording.hidden_states(state)[each])
            for recording, each in zip((first, second), positions, strict=True)
        )
        distance = 1 - torch.cosine_similarity(ours, theirs, dim=-1)
        same = (ours == theirs).all(dim=-1)  # exactly 0, without rounding
        rows.append(distance.masked_fill(same, 0.0))
    return torch.stack(rows).float().numpy()
