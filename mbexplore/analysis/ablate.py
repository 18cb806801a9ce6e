"""Ablation: what becomes of an answer without a part of the model.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv:1905.10650), for heads;
Geva et al. 2023, "Dissecting Recall of Factual Associations" (arXiv:2304.14767), for tokens that
nobody may attend to. Every ablation is a hook that edits a tap of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.readout import build_readout
from mbexplore.analysis.target import OptionScore, Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, Prediction
from mbexplore.hooks import Progress, hooked
from mbexplore.network.attention import attend
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import PretrainedModel
from mbexplore.network.tap import Action
from mbexplore.network.visibility import Visibility
from mbexplore.recording import check_index

LIMITS = limits.ABLATE
BATCH_TOKENS = 2048
"""Tokens in one batch of `ablate_heads`, all its copies of the text together."""

Replacement = Literal["zero", "mean"]


@dataclass(frozen=True)
class Head:
    """One attention head: its context, before the heads are joined."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"head {self.layer}.{self.head}"


@dataclass(frozen=True)
class Block:
    """All that a layer's attention or MLP adds to the residual stream."""

    layer: int
    kind: Literal["attention", "mlp"]

    def __str__(self) -> str:
        name = "MLP" if self.kind == "mlp" else self.kind
        return f"{name} of layer {self.layer}"


@dataclass(frozen=True)
class BlockedTokens:
    """Tokens that no other token can attend to, in any layer."""

    positions: tuple[int, ...]

    def __str__(self) -> str:
        return f"attention to token {', '.join(map(str, self.positions))}"


@dataclass(frozen=True)
class BlockedDistance:
    """Attention to tokens more than `max_distance` away, in any layer."""

    max_distance: int

    def __str__(self) -> str:
        return f"attention beyond {self.max_distance} tokens"


Part = Head | Block | BlockedTokens | BlockedDistance


@dataclass(frozen=True)
class Effect:
    """What remains of the answer without some parts.

    Attributes:
        parts: what was ablated, in words.
        score: of the answer, without them.
        top1: the option that is first without them.
    """

    parts: tuple[str, ...]
    score: OptionScore
    top1: str


@dataclass(frozen=True)
class Ablation:
    """The answer with every part in place, and without some.

    Attributes:
        tokens: of the text.
        target: the answer.
        contrast: the answer whose logit is subtracted from all logits, or None.
        clean: the answer's score with every part in place.
        effects: without all of the parts, and without each alone.
    """

    tokens: tuple[str, ...]
    target: Target
    contrast: Target | None
    clean: OptionScore
    effects: tuple[Effect, ...]


@dataclass(frozen=True, eq=False)
class HeadAblation:
    """Every head ablated alone; arrays are (layers, heads).

    Attributes:
        tokens: of the text.
        target: the answer.
        contrast: the answer whose logit is subtracted from all logits, or None.
        clean: the answer's score with every head.
        logit: its logit without the head, less that with it.
        probability: likewise.
        rank: its rank without the head.
    """

    tokens: tuple[str, ...]
    target: Target
    contrast: Target | None
    clean: OptionScore
    logit: npt.NDArray[np.float32]
    probability: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int64]

    def strongest(self, count: int) -> list[tuple[int, int]]:
        """Layer and head of the `count` whose loss changes the logit most, falling."""
        order = np.argsort(-np.abs(self.logit), axis=None, kind="stable")[:count]
        layers, heads = np.unravel_index(order, self.logit.shape)
        return list(zip(layers.tolist(), heads.tolist(), strict=True))


def ablate(
    explorer: Explorer,
    text: str | Encoding,
    parts: Sequence[Part],
    position: int | None = None,
    *,
    answer: str | None = None,
    contrast: str | None = None,
    replacement: Replacement = "zero",
    progress: Progress | None = None,
) -> Ablation:
    """The answer without the parts: without all of them, then without each alone.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        text: the text.
        parts: what to ablate; nothing leaves the answer as it is, bit for bit.
        position: which token is asked about; see `readout.build_readout`.
        answer: the answer followed; None for the model's own.
        contrast: another answer, whose logit is subtracted from the answer's in all logits.
        replacement: for the output of a head or block: zero, or its mean over the tokens.
        progress: called with the passes done and all there are; what it raises ends the work.

    Raises:
        MbexploreError: see `readout.build_readout`; or a part lies outside the model or the text.
    """
    model = explorer.model
    encoding = explorer.encode(text) if isinstance(text, str) else text
    readout = build_readout(explorer, encoding, position, answer)
    for part in parts:
        check_part(part, model, len(encoding))
    ids = torch.tensor([encoding.ids], device=model.device)
    groups = [tuple(parts), *((part,) for part in parts if len(parts) > 1)]
    rows = [readout.logits(ids)]
    for done, group in enumerate(groups, start=1):
        with hooked(model, ablation_hooks(model.config, group, replacement)):
            rows.append(readout.logits(ids))
        if progress is not None:
            progress(done, len(groups))
    target = readout.target(rows[0][0])
    against = None if contrast is None else readout.find_contrast(contrast, target)
    clean, *others = readout.scores_of(torch.cat(rows), target, against)
    effects = tuple(
        Effect(tuple(map(str, group)), score, readout.name(int(logits.argmax())))
        for group, score, logits in zip(groups, others, rows[1:], strict=True)
    )
    return Ablation(encoding.tokens, target, against, clean, effects)


def ablate_heads(
    explorer: Explorer,
    text: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    contrast: str | None = None,
    replacement: Replacement = "zero",
    progress: Progress | None = None,
) -> HeadAblation:
    """The answer without each head of the model, one at a time.

    It takes what `ablate` takes, but for the parts.

    Raises:
        MbexploreError: see `readout.build_readout`.
    """
    model = explorer.model
    encoding = explorer.encode(text) if isinstance(text, str) else text
    readout = build_readout(explorer, encoding, position, answer)
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    ids = torch.tensor([encoding.ids], device=model.device)
    size = max(1, min(heads, BATCH_TOKENS // len(encoding)))
    plain = readout.logits(ids)
    target = readout.target(plain[0])
    against = None if contrast is None else readout.find_contrast(contrast, target)
    [clean] = readout.scores_of(plain, target, against)
    found: list[OptionScore] = []
    for layer in range(layers):
        for first in range(0, heads, size):
            batch = range(first, min(first + size, heads))
            action = _replace_one_head_per_row(batch, replacement)
            with hooked(model, {f"layers.{layer}.z": action}):
                logits = readout.logits(ids)
            found += readout.scores_of(logits, target, against)
            if progress is not None:
                progress(len(found), layers * heads)
    shape = (layers, heads)
    logit = np.array([each.logit - clean.logit for each in found], dtype=np.float32)
    probability = np.array([e.probability - clean.probability for e in found], dtype=np.float32)
    rank = np.array([each.rank for each in found])
    return HeadAblation(
        encoding.tokens,
        target,
        against,
        clean,
        logit.reshape(shape),
        probability.reshape(shape),
        rank.reshape(shape),
    )


def ablated_predictions(
    explorer: Explorer,
    encoding: Encoding,
    parts: Sequence[Part],
    position: int | None = None,
    *,
    replacement: Replacement = "zero",
    top_k: int = DEFAULT_TOP_K,
) -> tuple[Prediction, ...]:
    """The likeliest answers at a position without the parts, all of them ablated together.

    Raises:
        ModelError: the model has no head that chooses.
        RangeError: a part or the position lies outside the model or the text.
        TextError: no position is given and the text has no mask.
    """
    model, readout = explorer.model, build_readout(explorer, encoding, position)
    for part in parts:
        check_part(part, model, len(encoding))
    ids = torch.tensor([encoding.ids], device=model.device)
    with hooked(model, ablation_hooks(model.config, parts, replacement)):
        return readout.top_predictions(readout.logits(ids)[0], top_k)


def ablation_hooks(
    config: ModernBertConfig, parts: Sequence[Part], replacement: Replacement = "zero"
) -> dict[str, Action]:
    """The actions on taps that ablate all the parts at once; none for no parts."""
    actions: dict[str, Action] = {}
    blocked = tuple(i for part in parts if isinstance(part, BlockedTokens) for i in part.positions)
    max_distance = min(
        (part.max_distance for part in parts if isinstance(part, BlockedDistance)), default=None
    )
    for layer in range(config.num_hidden_layers):
        heads = [p.head for p in parts if isinstance(p, Head) and p.layer == layer]
        steps = [_replace_heads(heads, replacement)] if heads else []
        if blocked or max_distance is not None:
            limit = _LimitedAttention(config.half_window(layer), max_distance, blocked)
            steps.insert(0, limit.context)
            for tap in ("rot_q", "rot_k", "v"):
                actions[f"layers.{layer}.{tap}"] = limit.keeper(tap)
        if steps:
            actions[f"layers.{layer}.z"] = _chain(steps)
    for part in parts:
        if isinstance(part, Block):
            tap = "attn_out" if part.kind == "attention" else "mlp_out"
            actions[f"layers.{part.layer}.{tap}"] = lambda x: _replacement(x, 1, replacement)
    return actions


class _LimitedAttention:
    """A layer's attention computed anew with fewer keys, in the place of its context."""

    def __init__(
        self, half_window: int | None, max_distance: int | None, blocked: Sequence[int]
    ) -> None:
        limits = [limit for limit in (half_window, max_distance) if limit is not None]
        self._half_window = min(limits, default=None)
        self._blocked = list(blocked)
        self._kept: dict[str, Tensor] = {}

    def keeper(self, tap: str) -> Action:
        def keep(value: Tensor) -> None:
            self._kept[tap] = value

        return keep

    def context(self, value: Tensor) -> Tensor:
        """(batch, heads, seq, head_dim), as `attend` gives it under the limit."""
        q, k, v = (self._kept.pop(tap) for tap in ("rot_q", "rot_k", "v"))
        if not self._blocked:
            return attend(q, k, v, Visibility.build(q, self._half_window))
        positions = torch.arange(q.shape[2], device=q.device)
        own = positions[:, None] == positions  # a token always sees itself
        seen = own | ~torch.isin(positions, positions[self._blocked])
        near = Visibility(len(positions), self._half_window).of_queries(positions)
        mask = seen[None, None] if near is None else seen & near
        return attend(q, k, v, Visibility(len(positions), mask=mask))


def _replace_heads(heads: list[int], replacement: Replacement) -> Callable[[Tensor], Tensor]:
    def action(value: Tensor) -> Tensor:
        value = value.clone()  # (batch, heads, seq, head_dim)
        value[:, heads] = _replacement(value[:, heads], 2, replacement)
        return value

    return action


def _replace_one_head_per_row(heads: range, replacement: Replacement) -> Action:
    """Makes a row for each head and ablates that head in it.

    The one text becomes a batch only here, so what lies before runs once and not once a head.
    """

    def action(value: Tensor) -> Tensor:
        value = value.repeat(len(heads), 1, 1, 1)  # (batch, heads, seq, head_dim)
        rows = torch.arange(len(heads), device=value.device)
        columns = torch.tensor(heads, device=value.device)
        value[rows, columns] = _replacement(value[rows, columns], 1, replacement)
        return value

    return action


def _replacement(value: Tensor, seq_axis: int, replacement: Replacement) -> Tensor:
    """Zeros, or the mean over the tokens, in the shape of `value`."""
    if replacement == "zero":
        return torch.zeros_like(value)
    return value.mean(dim=seq_axis, keepdim=True).expand_as(value)


def _chain(steps: list[Callable[[Tensor], Tensor]]) -> Action:
    def action(value: Tensor) -> Tensor:
        for step in steps:
            value = step(value)
        return value

    return action


def check_part(part: Part, model: PretrainedModel, seq: int) -> None:
    """Refuses a part that is not there.

    Raises:
        RangeError: it lies outside the model or a text of `seq` tokens.
    """
    if isinstance(part, Head | Block):
        check_index("layer", part.layer, model.config.num_hidden_layers)
    if isinstance(part, Head):
        check_index("head", part.head, model.config.num_attention_heads)
    elif isinstance(part, BlockedTokens):
        for position in part.positions:
            check_index("token", position, seq)
    elif isinstance(part, BlockedDistance) and part.max_distance < 0:
        raise RangeError(f"The distance is {part.max_distance}; give 0 or more tokens.")
    if isinstance(part, BlockedTokens | BlockedDistance):
        maps = (".scores", ".pattern")
        edited = [name for name, tap in model.taps.items() if tap.is_hooked and name.endswith(maps)]
        if edited:
            raise RangeError(
                f"{edited[0]} is edited, and {part} is computed anew without it; block attention "
                "in the edit itself, or leave one of them out."
            )
