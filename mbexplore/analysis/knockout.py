"""Knock-outs: what becomes of an answer when a part of the model is silenced.

Michel et al. 2019, "Are Sixteen Heads Really Better than One?" (arXiv:1905.10650), for heads;
Geva et al. 2023, "Dissecting Recall of Factual Associations" (arXiv:2304.14767), for tokens that
nobody may look at. Every knock-out is a hook that edits a tap of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from mbexplore.analysis.question import ask
from mbexplore.analysis.target import Standing, Target
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.explorer import DEFAULT_TOP_K, Explorer, Prediction
from mbexplore.hooks import hooked
from mbexplore.network.attention import attend
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.tap import Action
from mbexplore.network.visibility import Visibility, visible
from mbexplore.recording import check_index

NOT_SHOWN = (
    "Other parts may make up for a silenced one, so a small effect is no proof that the part is "
    "idle; and zero may be a value that the model never saw."
)
BATCH_TOKENS = 2048
"""Tokens in one batch of `knockout_heads`, all its copies of the text together."""

Fill = Literal["zero", "mean"]


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
class Tokens:
    """Tokens that no other token may look at, in any layer."""

    positions: tuple[int, ...]

    def __str__(self) -> str:
        return f"sight of token {', '.join(map(str, self.positions))}"


@dataclass(frozen=True)
class Far:
    """All attention to tokens more than `reach` away, in any layer."""

    reach: int

    def __str__(self) -> str:
        return f"sight beyond {self.reach} tokens"


Part = Head | Block | Tokens | Far


@dataclass(frozen=True)
class Effect:
    """What remains of the answer without some parts.

    Attributes:
        parts: what was silenced, in words.
        standing: of the answer, without them.
        now: the answer that is first now.
    """

    parts: tuple[str, ...]
    standing: Standing
    now: str


@dataclass(frozen=True)
class Knockout:
    """The answer with every part in place, and without some."""

    tokens: tuple[str, ...]
    target: Target
    clean: Standing
    effects: tuple[Effect, ...]


@dataclass(frozen=True, eq=False)
class HeadEffects:
    """Every head silenced alone; arrays are (layers, heads).

    Attributes:
        tokens: of the text.
        target: the answer.
        clean: its standing with every head.
        logit: its logit without the head, less that with it.
        probability: likewise.
        rank: its rank without the head.
    """

    tokens: tuple[str, ...]
    target: Target
    clean: Standing
    logit: npt.NDArray[np.float32]
    probability: npt.NDArray[np.float32]
    rank: npt.NDArray[np.int64]

    def strongest(self, count: int) -> list[tuple[int, int]]:
        """Layer and head of the `count` whose loss changes the logit most, falling."""
        order = np.argsort(-np.abs(self.logit), axis=None, kind="stable")[:count]
        layers, heads = np.unravel_index(order, self.logit.shape)
        return list(zip(layers.tolist(), heads.tolist(), strict=True))


def knockout(
    explorer: Explorer,
    text: str | Encoding,
    parts: Sequence[Part],
    position: int | None = None,
    *,
    answer: str | None = None,
    fill: Fill = "zero",
) -> Knockout:
    """The answer without the parts: without all of them, then without each alone.

    Args:
        explorer: with a head that chooses; see `question.ask`.
        text: the text.
        parts: what to silence; nothing leaves the answer as it is, bit for bit.
        position: which token is asked about; see `question.ask`.
        answer: the answer followed; None for the model's own.
        fill: what takes the place of a head or block: zero, or its mean over the text's tokens.

    Raises:
        ModelError: the model has no head that chooses.
        RangeError: a part lies outside the model or the text.
        TextError: no position is given and the text has no mask.
    """
    model = explorer.model
    encoding = explorer.encode(text) if isinstance(text, str) else text
    question = ask(explorer, encoding, position, answer)
    for part in parts:
        _check(part, model.config, len(encoding))
    ids = torch.tensor([encoding.ids], device=model.device)
    groups = [tuple(parts), *((part,) for part in parts if len(parts) > 1)]
    rows = [question.logits(ids)]
    for group in groups:
        with hooked(model, silencers(model.config, group, fill)):
            rows.append(question.logits(ids))
    target = question.target(rows[0][0])
    clean, *others = question.standings(torch.cat(rows), target.token_id)
    effects = tuple(
        Effect(tuple(map(str, group)), standing, question.name(int(logits.argmax())))
        for group, standing, logits in zip(groups, others, rows[1:], strict=True)
    )
    return Knockout(encoding.tokens, target, clean, effects)


def knockout_heads(
    explorer: Explorer,
    text: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    fill: Fill = "zero",
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> HeadEffects:
    """The answer without each head of the model, one at a time.

    Args:
        explorer: with a head that chooses; see `question.ask`.
        text: the text.
        position: which token is asked about; see `question.ask`.
        answer: the answer followed; None for the model's own.
        fill: see `knockout`.
        on_step: told after each batch how many heads are done, and of how many.

    Raises:
        ModelError: the model has no head that chooses.
        TextError: no position is given and the text has no mask.
    """
    model = explorer.model
    encoding = explorer.encode(text) if isinstance(text, str) else text
    question = ask(explorer, encoding, position, answer)
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    ids = torch.tensor([encoding.ids], device=model.device)
    size = max(1, min(heads, BATCH_TOKENS // len(encoding)))
    plain = question.logits(ids)
    target = question.target(plain[0])
    [clean] = question.standings(plain, target.token_id)
    found: list[Standing] = []
    for layer in range(layers):
        for first in range(0, heads, size):
            batch = range(first, min(first + size, heads))
            action = _one_head_a_row(batch, fill)
            with hooked(model, {f"layers.{layer}.z": action}):
                logits = question.logits(ids)
            found += question.standings(logits, target.token_id)
            on_step(len(found), layers * heads)
    shape = (layers, heads)
    logit = np.array([each.logit - clean.logit for each in found], dtype=np.float32)
    probability = np.array([e.probability - clean.probability for e in found], dtype=np.float32)
    rank = np.array([each.rank for each in found])
    return HeadEffects(
        encoding.tokens,
        target,
        clean,
        logit.reshape(shape),
        probability.reshape(shape),
        rank.reshape(shape),
    )


def predictions_without(
    explorer: Explorer,
    encoding: Encoding,
    parts: Sequence[Part],
    position: int | None = None,
    *,
    fill: Fill = "zero",
    top_k: int = DEFAULT_TOP_K,
) -> tuple[Prediction, ...]:
    """The likeliest answers at a position without the parts, all of them silenced together.

    Raises:
        ModelError: the model has no head that chooses.
        RangeError: a part or the position lies outside the model or the text.
        TextError: no position is given and the text has no mask.
    """
    model, question = explorer.model, ask(explorer, encoding, position)
    for part in parts:
        _check(part, model.config, len(encoding))
    ids = torch.tensor([encoding.ids], device=model.device)
    with hooked(model, silencers(model.config, parts, fill)):
        return question.likeliest(question.logits(ids)[0], top_k)


def silencers(
    config: ModernBertConfig, parts: Sequence[Part], fill: Fill = "zero"
) -> dict[str, Action]:
    """The actions on taps that silence all the parts at once; none for no parts."""
    actions: dict[str, Action] = {}
    hidden = tuple(i for part in parts if isinstance(part, Tokens) for i in part.positions)
    reach = min((part.reach for part in parts if isinstance(part, Far)), default=None)
    for layer in range(config.num_hidden_layers):
        heads = [p.head for p in parts if isinstance(p, Head) and p.layer == layer]
        steps = [_without_heads(heads, fill)] if heads else []
        if hidden or reach is not None:
            limit = _Limit(config.half_window(layer), reach, hidden)
            steps.insert(0, limit.context)
            for tap in ("rot_q", "rot_k", "v"):
                actions[f"layers.{layer}.{tap}"] = limit.keeper(tap)
        if steps:
            actions[f"layers.{layer}.z"] = _in_turn(steps)
    for part in parts:
        if isinstance(part, Block):
            tap = "attn_out" if part.kind == "attention" else "mlp_out"
            actions[f"layers.{part.layer}.{tap}"] = lambda value: _filled(value, 1, fill)
    return actions


class _Limit:
    """A layer's attention computed anew with fewer keys, in the place of its context."""

    def __init__(self, half_window: int | None, reach: int | None, hidden: Sequence[int]) -> None:
        self._half_window = half_window
        self._reach = reach
        self._hidden = list(hidden)
        self._kept: dict[str, Tensor] = {}

    def keeper(self, tap: str) -> Action:
        def keep(value: Tensor) -> None:
            self._kept[tap] = value

        return keep

    def context(self, value: Tensor) -> Tensor:
        """(batch, heads, seq, head_dim), as `attend` would give it under the limit."""
        q, k, v = (self._kept.pop(tap) for tap in ("rot_q", "rot_k", "v"))
        limits = [limit for limit in (self._half_window, self._reach) if limit is not None]
        half_window = min(limits, default=None)
        if not self._hidden:
            return attend(q, k, v, Visibility.build(q, half_window))
        positions = torch.arange(q.shape[2], device=q.device)
        allowed = positions[:, None] == positions  # a token always sees itself
        allowed = allowed | ~torch.isin(positions, positions[self._hidden])
        near = visible(positions, positions, half_window)
        mask = allowed if near is None else allowed & near
        return scaled_dot_product_attention(q, k, v, attn_mask=mask)


def _without_heads(heads: list[int], fill: Fill) -> Callable[[Tensor], Tensor]:
    def action(value: Tensor) -> Tensor:
        value = value.clone()  # (batch, heads, seq, head_dim)
        value[:, heads] = _filled(value[:, heads], 2, fill)
        return value

    return action


def _one_head_a_row(heads: range, fill: Fill) -> Action:
    """Makes a row of each head and silences that head in it.

    The one text becomes a batch only here, so what lies before runs once and not once a head.
    """

    def action(value: Tensor) -> Tensor:
        value = value.repeat(len(heads), 1, 1, 1)  # (batch, heads, seq, head_dim)
        rows = torch.arange(len(heads), device=value.device)
        columns = torch.tensor(heads, device=value.device)
        value[rows, columns] = _filled(value[rows, columns], 1, fill)
        return value

    return action


def _filled(value: Tensor, seq_axis: int, fill: Fill) -> Tensor:
    """Zeros, or the mean over the tokens, in the shape of `value`."""
    if fill == "zero":
        return torch.zeros_like(value)
    return value.mean(dim=seq_axis, keepdim=True).expand_as(value)


def _in_turn(steps: list[Callable[[Tensor], Tensor]]) -> Action:
    def action(value: Tensor) -> Tensor:
        for step in steps:
            value = step(value)
        return value

    return action


def _check(part: Part, config: ModernBertConfig, seq: int) -> None:
    if isinstance(part, Head | Block):
        check_index("layer", part.layer, config.num_hidden_layers)
    if isinstance(part, Head):
        check_index("head", part.head, config.num_attention_heads)
    elif isinstance(part, Tokens):
        for position in part.positions:
            check_index("token", position, seq)
    elif isinstance(part, Far) and part.reach < 0:
        raise RangeError(f"The reach is {part.reach}; give 0 or more tokens.")
