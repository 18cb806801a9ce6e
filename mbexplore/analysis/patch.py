"""Activation patching: where in the model the difference between two texts becomes the answer.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv:2202.05262); Zhang and
Nanda 2024, "Towards Best Practices of Activation Patching" (arXiv:2309.16042). The corrupted text
runs with one value taken from the clean text's run; the more of the clean answer returns, the
more of it passes through that place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.alignment import Alignment, align
from mbexplore.analysis.readout import Readout, build_readout
from mbexplore.analysis.target import Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress, hooked
from mbexplore.network.tap import Action
from mbexplore.recording import Recording

LIMITS = limits.PATCH
KEEP = ("hidden_states", "updates", "z")
BATCH_TOKENS = 2048
"""Tokens in one batch, all its copies of the text together."""


@dataclass(frozen=True)
class PatchCell:
    """One patched place.

    Attributes:
        what: "residual", "attention", "mlp" or "heads".
        restored: share of the logit difference.
        state: of the residual stream, 0 the embeddings; None for the other maps.
        layer: from 0; None for the residual stream.
        position: in the clean text; None for a head.
        head: None for all but heads.
    """

    what: str
    restored: float
    state: int | None = None
    layer: int | None = None
    position: int | None = None
    head: int | None = None


@dataclass(frozen=True, eq=False)
class Patching:
    """Share of the logit difference that each place restores: 0 as corrupted, 1 as clean.

    Attributes:
        clean_tokens: of the clean text.
        corrupted_tokens: of the corrupted text.
        alignment: the tokens patched: all, or, where the texts differ in length, those of their
            common beginning and end.
        target: the clean answer.
        contrast: the corrupted text's answer, at the same position.
        clean_difference: logit of the answer less that of the other, on the clean text.
        corrupted_difference: likewise, on the corrupted text.
        residual: (states, aligned tokens): state 0 is the embeddings, n the stream after layer
            n - 1.
        attention: (layers, aligned tokens), what attention adds at each position.
        mlp: (layers, aligned tokens), what the MLP adds.
        heads: (layers, heads), each head's output at all aligned tokens.
    """

    clean_tokens: tuple[str, ...]
    corrupted_tokens: tuple[str, ...]
    alignment: Alignment
    target: Target
    contrast: Target
    clean_difference: float
    corrupted_difference: float
    residual: npt.NDArray[np.float32]
    attention: npt.NDArray[np.float32]
    mlp: npt.NDArray[np.float32]
    heads: npt.NDArray[np.float32]

    @property
    def aligned_tokens(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The tokens patched, of the clean and the corrupted text."""
        clean = tuple(self.clean_tokens[i] for i in self.alignment.first)
        return clean, tuple(self.corrupted_tokens[i] for i in self.alignment.second)

    def cells(self) -> Iterator[PatchCell]:
        """Every patched place of all maps, each with its own indices."""
        positions = self.alignment.first
        for (state, i), value in np.ndenumerate(self.residual):
            yield PatchCell("residual", float(value), state=state, position=positions[i])
        for name, values in (("attention", self.attention), ("mlp", self.mlp)):
            for (layer, i), value in np.ndenumerate(values):
                yield PatchCell(name, float(value), layer=layer, position=positions[i])
        for (layer, head), value in np.ndenumerate(self.heads):
            yield PatchCell("heads", float(value), layer=layer, head=head)


def patch(
    explorer: Explorer,
    clean: str | Encoding,
    corrupted: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    contrast: str | None = None,
    progress: Progress | None = None,
) -> Patching:
    """Patches every place of the corrupted run with the clean run's value, one at a time.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        clean: the text whose answer is to return.
        corrupted: a text that gets another answer. Where it is longer or shorter, only the tokens
            of the common beginning and end are patched.
        position: which token of the clean text is predicted; see `readout.build_readout`.
        answer: the clean answer; None for the model's own.
        contrast: the corrupted text's answer; None for the model's own.
        progress: called with the runs done and all there are; what it raises ends the work.

    Raises:
        ModelError: the model has no head that chooses.
        TextError: there is no mask.
        RangeError: both answers are the same, or the position has no counterpart.
    """
    encodings = [explorer.encode(x) if isinstance(x, str) else x for x in (clean, corrupted)]
    alignment = align(*encodings)
    readout = build_readout(explorer, encodings[0], position, answer)
    other = _counterpart(explorer, readout, encodings[1], alignment, position)
    pairs = zip((readout, other), encodings, strict=True)
    device = explorer.model.device
    logits = torch.cat([x.logits(torch.tensor([y.ids], device=device)) for x, y in pairs])
    target = readout.target(logits[0])  # of (2, option)
    tokens = (
        target.token_id,
        int(logits[1].argmax()) if contrast is None else readout.find(contrast),
    )
    targets = target, readout.option(tokens[1])
    if tokens[0] == tokens[1]:
        raise RangeError(
            f"Both texts are answered {targets[0].token!r}, so there is no difference to restore; "
            "choose another corrupted text, or name two different answers."
        )
    ends = (logits[:, tokens[0]] - logits[:, tokens[1]]).tolist()
    recording = explorer.record(encodings[0], keep=KEEP)
    maps = _patch_all(recording, encodings[1], other, targets, alignment, progress)
    span = ends[0] - ends[1]
    if span == 0:
        raise RangeError(
            f"Both texts tell {targets[0].token!r} from {targets[1].token!r} alike, so there is "
            "no difference to restore; choose another corrupted text."
        )
    shares = [((each - ends[1]) / span).astype(np.float32) for each in maps]
    both = encodings[0].tokens, encodings[1].tokens
    return Patching(*both, alignment, targets[0], targets[1], ends[0], ends[1], *shares)


def _counterpart(
    explorer: Explorer,
    readout: Readout,
    corrupted: Encoding,
    alignment: Alignment,
    position: int | None,
) -> Readout:
    """What is read of the corrupted text: the same thing at the counterpart of its token."""
    if alignment.is_whole:
        return readout
    place = readout.position(0) if position is None else position
    if place is None:  # the head reads the whole text
        return build_readout(explorer, corrupted)
    return build_readout(explorer, corrupted, alignment.partner(place))


def patched_logits(
    readout: Readout,
    recording: Recording,
    corrupted: Encoding,
    tap: str,
    places: Sequence[Sequence[int]],
    alignment: Alignment | None = None,
) -> Tensor:
    """Runs the corrupted text once for each of `places`, with the clean values there.

    Args:
        readout: whose logits are returned.
        recording: of the clean text, with the tap kept.
        corrupted: the text that runs.
        tap: name of the tap; the places are heads for z, and aligned tokens for all else.
        places: what is patched in each run.
        alignment: of both texts; None where they are of one length.

    Returns:
        Logits (runs, option).
    """
    ids = torch.tensor([corrupted.ids], device=readout.model.device)
    alignment = alignment or align(recording.encoding, corrupted)
    with hooked(readout.model, {tap: _replace(recording.tap(tap), places, alignment)}):
        return readout.logits(ids)


def _replace(clean: Tensor, places: Sequence[Sequence[int]], alignment: Alignment) -> Action:
    """Makes a row of each of `places` and puts the clean value there, on the axis after the batch.

    The one text becomes a batch only here, so what lies before runs once.
    """

    def action(value: Tensor) -> Tensor:
        rest = [1] * (value.dim() - 1)
        value = value.repeat(len(places), *rest)  # (batch, seq, hidden) or (batch, heads, seq, _)
        sources, targets = map(list, (alignment.first, alignment.second))
        for row, each in enumerate(places):
            if value.dim() == 4:
                for head in each:
                    value[row, head, targets] = clean[head, sources]
            else:
                value[row, [targets[i] for i in each]] = clean[[sources[i] for i in each]]
        return value

    return action


def _patch_all(
    recording: Recording,
    corrupted: Encoding,
    readout: Readout,
    targets: tuple[Target, Target],
    alignment: Alignment,
    progress: Progress | None,
) -> list[npt.NDArray[np.float32]]:
    """Logit differences for residual, attention output, MLP output and heads."""
    config, seq = recording.config, len(alignment)
    layers = range(config.num_hidden_layers)
    groups = [
        (["embed", *(f"layers.{i}.resid_post" for i in layers)], seq),
        ([f"layers.{i}.attn_out" for i in layers], seq),
        ([f"layers.{i}.mlp_out" for i in layers], seq),
        ([f"layers.{i}.z" for i in layers], config.num_attention_heads),
    ]
    total = sum(len(taps) * count for taps, count in groups)
    done, size = 0, max(1, BATCH_TOKENS // len(corrupted))
    maps = []
    for taps, count in groups:
        rows = np.zeros((len(taps), count), dtype=np.float32)
        for row, tap in enumerate(taps):
            for first in range(0, count, size):
                places = [[i] for i in range(first, min(first + size, count))]
                logits = patched_logits(readout, recording, corrupted, tap, places, alignment)
                difference = logits[:, targets[0].token_id] - logits[:, targets[1].token_id]
                rows[row, first : first + len(places)] = difference.cpu().numpy()
                done += len(places)
                if progress is not None:
                    progress(done, total)
        maps.append(rows)
    return maps
