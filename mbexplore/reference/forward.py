"""Every value of one forward pass of ours, by the name that `Reference.trace` gives it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from mbexplore.hooks import hooked
from mbexplore.network.attention import attention_weights
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import ClassifierModel
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.packing import pad as pad
from mbexplore.network.tap import Action
from mbexplore.recording import to_float64

ROTATED = ("rot_q", "rot_k")
EVERY_TAP = ("embed", *ROTATED, "v", "z", "attn_out", "mlp_post", "mlp_out", "resid_post")
FLOAT32_TAPS = (*ROTATED, "scores", "pattern")
"""Where transformers rounds to float32 in float64 too: its rotation and its softmax."""


class Forward:
    """What one forward pass over a padded batch computed. Maps are derived when they are read.

    Args:
        model: ours, in any dtype.
        ids: (batch, seq).
        mask: (batch, seq), 0 for padding, on either side.
        wanted: which of `places` are kept; all of them by default.
        edits: what happens to values at taps, before they are kept.
        visible: the attention mask that the encoder gets in place of `mask`.
        position_ids: in place of the right ones.
    """

    def __init__(
        self,
        model: PretrainedModel,
        ids: Tensor,
        mask: Tensor,
        *,
        wanted: Collection[str] | None = None,
        edits: Mapping[str, Action] | None = None,
        visible: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> None:
        self._config = model.config
        self._real = mask.bool()
        self._values: dict[str, Tensor] = {}
        self._last_map: tuple[tuple[str, int], Tensor] | None = None
        wanted = set(places(model.config) if wanted is None else wanted)
        taps = {name: self._keep(name) for place in wanted for name in _taps_of(place)}
        with torch.no_grad(), hooked(model, edits or {}), hooked(model, taps):
            hidden_states = model.encoder(
                ids, mask if visible is None else visible, position_ids=position_ids
            )
            self._values["final_norm"] = hidden_states
            if not wanted.isdisjoint(("head", "logits")):
                self._read_head(model, hidden_states, mask)

    def _read_head(self, model: PretrainedModel, hidden_states: Tensor, mask: Tensor) -> None:
        if isinstance(model, ModernBertForMaskedLM):
            self._values["head"] = model.head(hidden_states)
            self._values["logits"] = model.decoder(self._values["head"])
        elif isinstance(model, ClassifierModel):
            self._values["head"] = model.head(model.read(hidden_states, mask))
            self._values["logits"] = model.classifier(self._values["head"])

    def _keep(self, name: str) -> Action:
        def keep(value: Tensor) -> None:
            self._values[name] = value

        return keep

    def __contains__(self, place: str) -> bool:
        return place.endswith(".attention") or place in self._values

    def tap(self, name: str, row: int = 0) -> Tensor:
        """The kept value of one text at a tap, (heads, seq, head_dim)."""
        return self._values[name][row][:, self._real[row]]

    def text(self, place: str, row: int = 0) -> Tensor:
        """The value of one text at a place, without padding, in float64 on the CPU."""
        if self._last_map is not None and self._last_map[0] == (place, row):
            return self._last_map[1]
        if place.endswith(".attention"):
            q, k = (self.tap(name, row) for name in _taps_of(place))
            half_window = self._config.half_window(int(place.split(".")[1]))
            weights = to_float64(attention_weights(q, k, half_window=half_window))
            self._last_map = (place, row), weights  # it is read several times in turn
            return weights
        value = self._values[place][row]
        return to_float64(value[self._real[row]] if value.dim() > 1 else value)


def _taps_of(place: str) -> Iterator[str]:
    """The taps whose values a place needs."""
    if place.endswith(".attention"):
        yield from (place.replace("attention", tap) for tap in ROTATED)
    elif place == "embed" or place.endswith(".resid_post"):
        yield place


def roundings(
    config: ModernBertConfig, taps: Sequence[str], dtype: torch.dtype
) -> dict[str, Action]:
    """Edits that round the values at some taps of every layer to a dtype.

    Args:
        config: of the model.
        taps: `EVERY_TAP`; or `FLOAT32_TAPS` for one text without padding, where attention rounds
            as that of transformers does.
        dtype: what is rounded to.
    """

    def rounded(value: Tensor) -> Tensor:
        return value.to(dtype).to(value.dtype)

    layers = range(config.num_hidden_layers)
    inside = [f"layers.{i}.{tap}" for i in layers for tap in taps if tap != "embed"]
    return dict.fromkeys([*inside, *(tap for tap in taps if tap == "embed")], rounded)


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


def rms(*values: Tensor) -> float:
    """Root mean square of several tensors together."""
    return float(torch.cat([x.flatten() for x in values]).square().mean().sqrt())
