"""Every value of one forward pass of ours, by the name that `Reference.trace` gives it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mbexplore.hooks import hooked
from mbexplore.network.attention import attention_weights
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import ClassifierModel
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.tap import Action
from mbexplore.recording import to_float64

ROTATED = ("rot_q", "rot_k")
EVERY_TAP = (*ROTATED, "v", "z", "attn_out", "mlp_post", "mlp_out", "resid_post")
FLOAT32_TAPS = (*ROTATED, "scores", "pattern")
"""Where transformers rounds to float32 in float64 too: its rotation and its softmax."""


class Forward:
    """What one forward pass over a padded batch computed. Maps are derived when they are read.

    Args:
        model: ours, in any dtype.
        ids: (batch, seq).
        mask: (batch, seq), 0 for padding on the right.
        rounded_to: rounds the value at every tap to this dtype.
        like_theirs: whether attention rounds to float32 as transformers' does in float64; for one
            text without padding.
    """

    def __init__(
        self,
        model: PretrainedModel,
        ids: Tensor,
        mask: Tensor,
        *,
        rounded_to: torch.dtype | None = None,
        like_theirs: bool = False,
    ) -> None:
        self._config = model.config
        self._lengths: list[int] = mask.sum(dim=1).tolist()
        self._values: dict[str, Tensor] = {}
        self._last_map: tuple[tuple[str, int], Tensor] | None = None
        with torch.no_grad(), hooked(model, self._actions(rounded_to, like_theirs)):
            hidden_states = model.encoder(ids, mask)
            self._values["final_norm"] = hidden_states
            if isinstance(model, ModernBertForMaskedLM):
                self._values["head"] = model.head(hidden_states)
                self._values["logits"] = model.decoder(self._values["head"])
            elif isinstance(model, ClassifierModel):
                self._values["head"] = model.head(model.read(hidden_states, mask))
                self._values["logits"] = model.classifier(self._values["head"])

    def __contains__(self, place: str) -> bool:
        return place.endswith(".attention") or place in self._values

    def tap(self, name: str, row: int = 0) -> Tensor:
        """The kept value of one text at a tap, (heads, seq, head_dim)."""
        return self._values[name][row, :, : self._lengths[row]]

    def text(self, place: str, row: int = 0) -> Tensor:
        """The value of one text at a place, without padding, in float64 on the CPU."""
        length = self._lengths[row]
        if self._last_map is not None and self._last_map[0] == (place, row):
            return self._last_map[1]
        if place.endswith(".attention"):
            layer = int(place.split(".")[1])
            q, k = (self.tap(f"layers.{layer}.{tap}", row) for tap in ROTATED)
            half_window = self._config.half_window(layer)
            weights = to_float64(attention_weights(q, k, half_window=half_window))
            self._last_map = (place, row), weights  # it is read several times in turn
            return weights
        return real_part(place, self._values[place][row], length)

    def _actions(self, rounded_to: torch.dtype | None, like_theirs: bool) -> dict[str, Action]:
        dtype = torch.float32 if like_theirs else rounded_to

        def action(name: str) -> Action:
            def keep(value: Tensor) -> Tensor | None:
                edited = value
                if dtype is not None and name in edited_taps:
                    edited = value.to(dtype).to(value.dtype)
                if name in kept:
                    self._values[name] = edited
                return None if edited is value else edited

            return keep

        def names(taps: Sequence[str]) -> list[str]:
            layers = range(self._config.num_hidden_layers)
            return [f"layers.{i}.{tap}" for i in layers for tap in taps]

        kept = {"embed", *names((*ROTATED, "resid_post"))}
        edited_taps = set(names(FLOAT32_TAPS if like_theirs else EVERY_TAP))
        if not like_theirs:
            edited_taps.add("embed")
        wanted = kept if dtype is None else kept | edited_taps
        return {name: action(name) for name in wanted}


def places(config: ModernBertConfig) -> Iterator[str]:
    """What is compared, in the order of the forward pass."""
    yield "embed"
    for layer in range(config.num_hidden_layers):
        yield f"layers.{layer}.attention"
        yield f"layers.{layer}.resid_post"
    yield from ("final_norm", "head", "logits")


def real_part(place: str, value: Tensor, length: int) -> Tensor:
    """What belongs to the real tokens of one text: pad rows and columns have no defined value.

    Args:
        place: one of `places`.
        value: of one text: a map (heads, seq, seq), of tokens (seq, ...), or of the whole text.
        length: its tokens.
    """
    if place.endswith(".attention"):
        value = value[:, :length, :length]
    elif value.dim() > 1:
        value = value[:length]
    return to_float64(value)


def pad(batch: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Ids and attention mask (batch, seq) of texts of unequal length, padded on the right."""
    longest = max(map(len, batch))
    ids = [[*row, *[pad_id] * (longest - len(row))] for row in batch]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in batch]
    return torch.tensor(ids), torch.tensor(mask)
