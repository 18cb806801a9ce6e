"""Activation patching: where in the model the difference between two texts becomes the answer.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv:2202.05262); Zhang and
Nanda 2024, "Towards Best Practices of Activation Patching" (arXiv:2309.16042). The corrupted text
runs with one value taken from the clean text's run; the more of the clean answer returns, the
more of it passes through that place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.network.tap import Action
from mbexplore.recording import Recording

LIMITS = (
    "Each place is patched alone: what two places carry only together, or twice, is not seen; and "
    "it is the difference between these two texts that is located, not all that the answer needs."
)
KEEP = ("hidden_states", "updates", "z")
BATCH_TOKENS = 2048
"""Tokens in one batch, all its copies of the text together."""


@dataclass(frozen=True, eq=False)
class Patching:
    """Share of the logit difference that each place restores: 0 as corrupted, 1 as clean.

    Attributes:
        clean_tokens: of the clean text.
        corrupted_tokens: of the corrupted text, of the same number.
        target: the clean answer.
        other: the corrupted text's answer, at the same position.
        clean_difference: logit of the answer less that of the other, on the clean text.
        corrupted_difference: likewise, on the corrupted text.
        residual: (layers + 1, seq); row 0 is the embeddings, row n the stream after layer n - 1.
        attention: (layers, seq), what attention adds at each position.
        mlp: (layers, seq), what the MLP adds.
        heads: (layers, heads), each head's context at all positions.
    """

    clean_tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    target: Target
    other: Target
    clean_difference: float
    corrupted_difference: float
    residual: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32]
    mlp: npt.NDArray[np.float32]
    heads: npt.NDArray[np.float32]


def patch(
    explorer: Explorer,
    clean: str | Encoding,
    corrupted: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    other: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Patching:
    """Patches every place of the corrupted run with the clean run's value, one at a time.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        clean: the text whose answer is to return.
        corrupted: a text of the same number of tokens that gets another answer.
        position: which token is asked about; see `readout.build_readout`.
        answer: the clean answer; None for the model's own.
        other: the corrupted text's answer; None for the model's own.
        progress: told how many runs are done, and of how many.

    Raises:
        ModelError: the model has no head that chooses.
        TextError: the texts differ in length, or there is no mask.
        RangeError: both answers are the same.
    """
    encodings = [explorer.encode(x) if isinstance(x, str) else x for x in (clean, corrupted)]
    readout = build_readout(explorer, encodings[0], position, answer)
    check_lengths(*encodings)
    ids = torch.tensor([encoding.ids for encoding in encodings], device=explorer.model.device)
    logits = torch.cat([readout.logits(row[None]) for row in ids])  # (2, option)
    target = readout.target(logits[0])
    tokens = target.token_id, int(logits[1].argmax()) if other is None else readout.find(other)
    targets = target, readout.option(tokens[1])
    if tokens[0] == tokens[1]:
        raise RangeError(
            f"Both texts are answered {targets[0].token!r}, so there is no difference to restore; "
            "choose another corrupted text, or name two different answers."
        )
    ends = (logits[:, tokens[0]] - logits[:, tokens[1]]).tolist()
    recording = explorer.record(encodings[0], keep=KEEP)
    maps = _patch_all(recording, encodings[1], readout, targets, progress)
    span = ends[0] - ends[1]
    if span == 0:
        raise RangeError(
            f"Both texts tell {targets[0].token!r} from {targets[1].token!r} alike, so there is "
            "no difference to restore; choose another corrupted text."
        )
    shares = [((each - ends[1]) / span).astype(np.float32) for each in maps]
    both = encodings[0].tokens, encodings[1].tokens
    return Patching(*both, targets[0], targets[1], ends[0], ends[1], *shares)


def patched_logits(
    readout: Readout,
    recording: Recording,
    corrupted: Encoding,
    tap: str,
    places: Sequence[Sequence[int]],
) -> Tensor:
    """Runs the corrupted text once for each of `places`, with the clean values there.

    Args:
        readout: whose logits are returned.
        recording: of the clean text, with the tap kept.
        corrupted: the text that runs.
        tap: name of the tap; the places are heads for a context, and positions for all else.
        places: what is patched in each run.

    Returns:
        Logits (runs, option).
    """
    ids = torch.tensor([corrupted.ids], device=readout.model.device)
    with hooked(readout.model, {tap: _replace(recording.tap(tap), places)}):
        return readout.logits(ids)


def _replace(clean: Tensor, places: Sequence[Sequence[int]]) -> Action:
    """Makes a row of each of `places` and puts the clean value there, on the axis after the batch.

    The one text becomes a batch only here, so what lies before runs once.
    """

    def action(value: Tensor) -> Tensor:
        rest = [1] * (value.dim() - 1)
        value = value.repeat(len(places), *rest)  # (batch, seq, hidden) or (batch, heads, seq, _)
        for row, each in enumerate(places):
            value[row, list(each)] = clean[list(each)]
        return value

    return action


def _patch_all(
    recording: Recording,
    corrupted: Encoding,
    readout: Readout,
    targets: tuple[Target, Target],
    progress: Callable[[int, int], None],
) -> list[npt.NDArray[np.float32]]:
    """Logit differences for residual, attention output, MLP output and heads."""
    config, seq = recording.config, len(recording)
    layers = range(config.num_hidden_layers)
    groups = [
        (["embed", *(f"layers.{i}.resid_post" for i in layers)], seq),
        ([f"layers.{i}.attn_out" for i in layers], seq),
        ([f"layers.{i}.mlp_out" for i in layers], seq),
        ([f"layers.{i}.z" for i in layers], config.num_attention_heads),
    ]
    total = sum(len(taps) * count for taps, count in groups)
    done, size = 0, max(1, BATCH_TOKENS // seq)
    maps = []
    for taps, count in groups:
        rows = np.zeros((len(taps), count), dtype=np.float32)
        for row, tap in enumerate(taps):
            for first in range(0, count, size):
                places = [[i] for i in range(first, min(first + size, count))]
                logits = patched_logits(readout, recording, corrupted, tap, places)
                difference = logits[:, targets[0].token_id] - logits[:, targets[1].token_id]
                rows[row, first : first + len(places)] = difference.cpu().numpy()
                done += len(places)
                progress(done, total)
        maps.append(rows)
    return maps


def check_lengths(clean: Encoding, corrupted: Encoding) -> None:
    """Makes sure that two texts can be laid over each other.

    Raises:
        TextError: they differ in length; the sentence shows where they part.
    """
    if len(clean) != len(corrupted):
        pairs = zip(clean.tokens, corrupted.tokens, strict=False)
        parts = next((i for i, (a, b) in enumerate(pairs) if a != b), 0)
        listed = [_listed(encoding, parts) for encoding in (clean, corrupted)]
        raise TextError(
            f"The texts differ in length, {len(clean):,} tokens ({listed[0]}) and "
            f"{len(corrupted):,} ({listed[1]}); choose words that are as many tokens."
        )


def _listed(encoding: Encoding, place: int, around: int = 6) -> str:
    """The tokens near a place."""
    low, high = max(0, place - around), place + around + 1
    names = [token.strip() for token in encoding.tokens[low:high]]
    more = "\N{HORIZONTAL ELLIPSIS}"
    return "|".join([*[more] * (low > 0), *names, *[more] * (high < len(encoding))])
