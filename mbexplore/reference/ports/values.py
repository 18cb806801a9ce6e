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
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mbexplore.checkpoints.sentence_transformers import SentenceModel
from mbexplore.network.model import PretrainedModel
from mbexplore.network.tap import Action
from mbexplore.reference.forward import Forward, pad

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
        last = hidden_state(self.model.config.num_hidden_layers)
        wanted = {name: self._place(name) for name in names}
        forward = Forward(
            self.model,
            ids,
            mask,
            wanted={*wanted.values()},
            edits=self.edits,
            visible=None if self.visible is None else self.visible(mask),
            position_ids=torch.zeros_like(ids[:1]) if self.without_positions else None,
        )
        found = {
            name: [forward.text(place, row) for row in range(len(ids))]
            for name, place in (wanted | {last: "final_norm"}).items()
            if place in forward
        }
        if POOLED in names:
            found[POOLED] = [self._pooled(one) for one in found[last]]
        found = {name: values for name, values in found.items() if name in names}
        return found if self.finish is None else self.finish(found)

    def _rewritten(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        assert self.rewrite is not None
        rows = [
            self.rewrite(row[real].tolist()) for row, real in zip(ids, mask.bool(), strict=True)
        ]
        return pad(rows, self.model.config.pad_token_id or 0)

    def _place(self, name: str) -> str:
        """Where in the forward pass a name is; see `forward.places`."""
        kind, _, number = name.partition(".")
        if kind == "attention":
            return f"layers.{number}.attention"
        if kind != "hidden_states":
            return name
        if int(number) == self.model.config.num_hidden_layers:
            return "final_norm"
        return f"layers.{int(number) - 1}.resid_post" if int(number) else "embed"

    def _pooled(self, states: Tensor) -> Tensor:
        vector = self.sentence.vector(states)
        return torch.nn.functional.normalize(vector, dim=-1) if self.unit else vector
