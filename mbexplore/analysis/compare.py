"""Two runs side by side: two texts in one model, or one text in two models.

Predictions, the difference of an attention map, and where the residual streams part (cosine
distance, layer by layer, as in Kornblith et al. 2019's comparison of representations,
arXiv:1905.00414, but token by token).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Source, as_recording, expected
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, ModelInfo, Prediction
from mbexplore.recording import Recording, to_float64

LIMITS = (
    "A distance between residuals tells that two runs part, not whether the answer uses it; and "
    "two models trained apart have no common axes, so their residuals differ even where they agree."
)
KEEP = ("attention", "hidden_states")

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

    Attributes:
        first: one run.
        second: the other.
        kl: KL(first || second) of the two answers in nats; None where the choices differ.
        layer: whose map is compared.
        head: which head; None for the mean of all.
        attention: weights of the second less the first, (query, key), or None.
        residual_distance: cosine distance of the residual streams, (states, seq), state 0 the
            embeddings; or None.
        unavailable_reason: why there is no `attention` or `residual_distance`, or "".
    """

    first: ComparedRun
    second: ComparedRun
    kl: float | None
    layer: int
    head: int | None
    attention: Matrix | None
    residual_distance: Matrix | None
    unavailable_reason: str


def compare(
    first: tuple[Explorer, Source],
    second: tuple[Explorer, Source],
    *,
    layer: int = 0,
    head: int | None = None,
    position: int | None = None,
    top_k: int = DEFAULT_TOP_K,
) -> RunComparison:
    """Runs both and tells them apart.

    Args:
        first: a model and its text, or a recording of it with `KEEP` kept.
        second: likewise; the same model or the same text.
        layer: whose attention is compared, in both.
        head: one head; None for the mean of all.
        position: which token is answered, in both; see `readout.build_readout`.
        top_k: tokens named.

    Raises:
        ModelError: a model has no head that chooses.
        RangeError: a layer, head or position is outside one of the two.
        TextError: no position is given and a text has no mask.
    """
    for explorer, _ in (first, second):
        explorer.check_layer_and_head(layer, head)
        explorer.check_top_k(top_k)
    sources = [
        (explorer, explorer.encode(source) if isinstance(source, str) else source)
        for explorer, source in (first, second)
    ]
    # Both are asked before either model runs: a question that can't be asked costs nothing.
    asked = [
        build_readout(
            explorer, source.encoding if isinstance(source, Recording) else source, position
        )
        for explorer, source in sources
    ]
    recordings = [as_recording(explorer, source, KEEP) for explorer, source in sources]
    logits = [_logits(*pair) for pair in zip(asked, recordings, strict=True)]
    count = min(top_k, *map(len, logits))
    sides = [
        ComparedRun(
            explorer.info,
            recording.encoding.tokens,
            readout.target(row).position,
            readout.top_predictions(row, count),
        )
        for (explorer, _), recording, readout, row in zip(
            (first, second), recordings, asked, logits, strict=True
        )
    ]
    kl = None
    if len(logits[0]) == len(logits[1]) and asked[0].has_same_options(asked[1]):
        log_p, log_q = (each.log_probs(row) for each, row in zip(asked, logits, strict=True))
        kl = float(expected(log_p, log_p - log_q.to(log_p.device)).sum())
    unavailable_reason = _unavailable_reason(*recordings)
    attention = residual_distance = None
    if len(recordings[0]) == len(recordings[1]):
        maps = [recording.attention(layer, head).mean(dim=0) for recording in recordings]
        attention = (maps[1] - maps[0]).float().cpu().numpy()
        residual_distance = None if unavailable_reason else _residual_distance(*recordings)
    return RunComparison(
        sides[0], sides[1], kl, layer, head, attention, residual_distance, unavailable_reason
    )


def _logits(readout: Readout, recording: Recording) -> torch.Tensor:
    """What a model answers, (option,)."""
    last = recording.hidden_states(recording.config.num_hidden_layers)
    with torch.no_grad():
        return readout.read(readout.model.encoder.final_norm(last)[None])[0]


def _unavailable_reason(first: Recording, second: Recording) -> str:
    """Why the two can't be laid over each other, or ""."""
    if len(first) != len(second):
        return (
            f"The texts are {len(first):,} and {len(second):,} tokens, so their maps and residuals "
            "can't be laid over each other."
        )
    shapes = [(r.config.num_hidden_layers, r.config.hidden_size) for r in (first, second)]
    if shapes[0] != shapes[1]:
        return (
            f"The models are {shapes[0][0]} layers of {shapes[0][1]} and {shapes[1][0]} of "
            f"{shapes[1][1]}, so their residuals can't be compared."
        )
    return ""


def _residual_distance(first: Recording, second: Recording) -> Matrix:
    rows = []
    for state in range(first.config.num_hidden_layers + 1):
        ours, theirs = (to_float64(r.hidden_states(state)) for r in (first, second))
        distance = 1 - torch.cosine_similarity(ours, theirs, dim=-1)
        same = (ours == theirs).all(dim=-1)  # exactly 0, without rounding
        rows.append(distance.masked_fill(same, 0.0))
    return torch.stack(rows).float().cpu().numpy()
