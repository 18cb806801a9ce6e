"""What is compared of two implementations, by name, and our own side of it.

- `hidden_states.N`: (batch, seq, hidden); 0 the embeddings, N the output of layer N - 1, the last
  one after the final norm, as in transformers.
- `attention.N`: (batch, heads, query, key) of layer N.
- `logits`: (batch, seq, vocab), or what a classifier gives.
- `pooled`: (batch, hidden), one vector a text.

Only real tokens are compared: padding has no defined value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mbexplore.checkpoints.sentence_transformers import SentenceModel
from mbexplore.hooks import hooked
from mbexplore.network.attention import attention_weights
from mbexplore.network.heads import ClassifierModel
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.tap import Action
from mbexplore.recording import to_float64

Values = Mapping[str, list[Tensor]]
"""By name, one tensor a text: its real tokens alone, float64 on the CPU."""

LOGITS, POOLED = "logits", "pooled"


def hidden_state(index: int) -> str:
    """Name of the embeddings (0), or of the output of layer `index - 1`."""
    return f"hidden_states.{index}"


def attention(layer: int) -> str:
    """Name of the attention maps of a layer."""
    return f"attention.{layer}"


def names_of(model: PretrainedModel) -> list[str]:
    """Everything that can be compared, in the order of the forward pass."""
    layers = range(model.config.num_hidden_layers)
    inner = [name for i in layers for name in (attention(i), hidden_state(i + 1))]
    return [hidden_state(0), *inner, POOLED, LOGITS]


@dataclass(frozen=True)
class Ours:
    """Our implementation, or it with a fault.

    Attributes:
        model: the weights and how they are used.
        sentence: how hidden states become a text's vector.
        unit: whether that vector is scaled to length 1 for the comparison.
        edits: what happens to values at taps.
        visible: the attention mask that is used in place of the right one.
        without_positions: whether every token stands at position 0.
        rewrite: what is done to a text's ids before they are padded.
        finish: what is done to the values at last.
    """

    model: PretrainedModel
    sentence: SentenceModel = field(default_factory=lambda: SentenceModel(("mean",)))
    unit: bool = False
    edits: Mapping[str, Action] = field(default_factory=dict)
    visible: Callable[[Tensor], Tensor] | None = None
    without_positions: bool = False
    rewrite: Callable[[list[int]], list[int]] | None = None
    finish: Callable[[dict[str, list[Tensor]]], dict[str, list[Tensor]]] | None = None

    def run(self, ids: Tensor, mask: Tensor, names: Collection[str]) -> Values:
        """The values named of a padded batch.

        Args:
            ids: (batch, seq).
            mask: (batch, seq), 0 for padding, on either side.
            names: see the module.
        """
        if self.rewrite is not None:
            ids, mask = self._rewritten(ids, mask)
        real = mask.bool()
        kept: dict[str, Tensor] = {}
        with torch.no_grad(), hooked(self.model, dict(self.edits)), _keeping(self, names, kept):
            states = self.model.encoder(
                ids,
                mask if self.visible is None else self.visible(mask),
                position_ids=torch.zeros_like(ids[:1]) if self.without_positions else None,
            )
            last = self.model.config.num_hidden_layers
            found = {name: _texts(value, real) for name, value in kept.items() if name in names}
            found |= self._maps(kept, real, names)
            found[hidden_state(last)] = _texts(states, real)
            if LOGITS in names:
                found[LOGITS] = self._logits(states, mask, real)
        if POOLED in names:
            found[POOLED] = [self._pooled(one) for one in found[hidden_state(last)]]
        found = {name: values for name, values in found.items() if name in names}
        return found if self.finish is None else self.finish(found)

    def _rewritten(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        assert self.rewrite is not None
        rows = [
            self.rewrite(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)
        ]
        longest = max(map(len, rows))
        pad = self.model.config.pad_token_id or 0
        return (
            torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows]),
            torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        )

    def _maps(
        self, kept: Mapping[str, Tensor], real: Tensor, names: Collection[str]
    ) -> dict[str, list[Tensor]]:
        config = self.model.config
        return {
            attention(layer): [
                to_float64(
                    attention_weights(
                        *(
                            kept[f"layers.{layer}.{tap}"][row][:, seen]
                            for tap in ("rot_q", "rot_k")
                        ),
                        half_window=config.half_window(layer),
                    )
                )
                for row, seen in enumerate(real)
            ]
            for layer in range(config.num_hidden_layers)
            if attention(layer) in names
        }

    def _logits(self, states: Tensor, mask: Tensor, real: Tensor) -> list[Tensor]:
        model = self.model
        if isinstance(model, ModernBertForMaskedLM):
            return _texts(model.logits(states), real)
        if isinstance(model, ClassifierModel):
            logits = model.answer(states, mask)
            return _texts(logits, real) if logits.dim() == 3 else list(to_float64(logits))
        return []

    def _pooled(self, states: Tensor) -> Tensor:
        vector = self.sentence.vector(states)
        return torch.nn.functional.normalize(vector, dim=-1) if self.unit else vector


def _keeping(
    ours: Ours, names: Collection[str], kept: dict[str, Tensor]
) -> AbstractContextManager[None]:
    """Keeps what `names` need of the passes in the `with` block."""

    def keep(name: str) -> Action:
        def action(value: Tensor) -> None:
            kept[name] = value

        return action

    wanted = {"embed": hidden_state(0)}
    for layer in range(ours.model.config.num_hidden_layers - 1):
        wanted[f"layers.{layer}.resid_post"] = hidden_state(layer + 1)
    actions = {tap: keep(name) for tap, name in wanted.items() if name in names}
    for layer in range(ours.model.config.num_hidden_layers):
        if attention(layer) in names:
            for tap in ("rot_q", "rot_k"):
                actions[f"layers.{layer}.{tap}"] = keep(f"layers.{layer}.{tap}")
    return hooked(ours.model, actions)


def _texts(value: Tensor, real: Tensor) -> list[Tensor]:
    """The real tokens of each text, (seq, ...)."""
    return [to_float64(row[seen]) for row, seen in zip(value, real, strict=True)]
