"""One pass over a pack of texts, into a sketch: maps, neurons and residual stream, layer by layer.

Values are read where they pass and never kept, so memory doesn't grow with layers or texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mbexplore.checks import check_finite
from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.maps import sum_maps
from mbexplore.corpus.sketch import (
    EMPTY,
    HEAD_SUMS,
    SCALE,
    SCALES,
    VALUE,
    WEIGHT,
    WEIGHT_EDGES,
    Ints,
    Sketch,
    hashes,
    rounded,
)
from mbexplore.corpus.tiles import OF_OFFSETS, Offsets, Pack
from mbexplore.corpus.units import Units
from mbexplore.hooks import hooked
from mbexplore.network.model import PretrainedModel
from mbexplore.network.packing import no_gradients, pack
from mbexplore.network.tap import Action
from mbexplore.recording import to_float64


@dataclass
class Observer:
    """Takes what passes in a model into a sketch.

    Attributes:
        model: that runs.
        thresholds: the |activation| that `EDGES` count in: of neurons by layer, and of features.
        sketch: that grows.
        seed: of the samples.
        dictionary: whose features are looked at too.
    """

    model: PretrainedModel
    thresholds: Mapping[str, Sequence[float]]
    sketch: Sketch
    seed: int = 0
    dictionary: Dictionary | None = None

    def __post_init__(self) -> None:
        self._offsets: dict[int | None, Offsets] = {}
        self._neurons = Units(self.sketch, "neuron", self.seed)
        if self.dictionary is not None:
            self._features = Units(self.sketch, "feature", self.seed)
            self.dictionary = self.dictionary.to(self.model.device)

    def see(self, texts: Pack) -> None:
        """Runs the model over a pack of texts.

        Raises:
            ModelError: the model's numbers are not finite.
        """
        self._pack = texts
        self._queries: dict[int, Tensor] = {}
        texts.place(self.model.device)
        actions: dict[str, Action] = {"embed": lambda x: self._state(0, x[0])}
        for layer in range(self.sketch.shape.layers):
            actions |= self._of_layer(layer)
        if self.dictionary is not None:
            tap = self.dictionary.tap
            actions[tap] = _both(actions.get(tap), self._see_features)
        ids = [one.ids for one in texts.encodings]
        filler = [[0] * more] if (more := _filler(len(texts.ids))) else []
        inputs = pack([*ids, *filler], self.model.device)
        with no_gradients(), hooked(self.model, actions):
            self.model.encoder(**inputs)
        self.sketch.arrays["counts"][:2] += [len(texts.encodings), len(texts.ids)]
        np.add.at(self.sketch.arrays["token_counts"], texts.ids.numpy(), 1)
        self.sketch.arrays["class_counts"] += rounded(texts.classes.double().sum(dim=0), 1)
        far = texts.positions
        self.sketch.arrays["position_sums"] += [int(far.sum()), int((far**2).sum())]

    def _of_layer(self, layer: int) -> dict[str, Action]:
        def keep_queries(value: Tensor) -> None:
            self._queries[layer] = value[0]

        def see_heads(value: Tensor) -> None:
            self._heads(layer, self._queries.pop(layer), value[0])

        return {
            f"layers.{layer}.rot_q": keep_queries,
            f"layers.{layer}.rot_k": see_heads,
            f"layers.{layer}.mlp_post": lambda value: self._neurons.see(
                self._pack,
                layer,
                self.thresholds["neuron"][layer],
                lambda first, stop: value[0, first:stop],
            ),
            f"layers.{layer}.resid_post": lambda value: self._state(layer + 1, value[0]),
        }

    def _see_features(self, value: Tensor) -> None:
        dictionary, [threshold] = self.dictionary, self.thresholds["feature"]
        assert dictionary is not None
        self._features.see(
            self._pack, 0, threshold, lambda first, stop: dictionary.encode(value[0, first:stop])
        )

    # Heads.

    def _heads(self, layer: int, q: Tensor, k: Tensor) -> None:
        """The maps of one layer: q and k (heads, seq, head_dim) of the whole pack."""
        arrays, shape, texts = self.sketch.arrays, self.sketch.shape, self._pack
        window = self.model.config.half_window(layer)
        far, bins = self.model.config.local_attention // 2, shape.distance_bins
        if window not in self._offsets:
            self._offsets[window] = Offsets(shape.positions, window, far, bins)
        maps = sum_maps(texts, window, q, k)
        offsets = maps.by_offset @ self._offsets[window].of(texts.longest)
        sums = torch.zeros(shape.heads, len(HEAD_SUMS), dtype=torch.float64)
        sums[:, _PLACES] = torch.cat((offsets[:, : len(OF_OFFSETS)], maps.others), dim=1)
        sums[:, _KIND_PLACES] = maps.received @ torch.cat(texts.kinds).double()
        arrays["head_sums"][layer] += rounded(sums, _HEAD_SCALES)
        arrays["head_rows"][layer] += texts.rows(window, far).numpy()
        arrays["distances"][layer] += rounded(offsets[:, len(OF_OFFSETS) :], SCALE)
        seen, which = texts.seen
        largest = maps.largest.double()
        for name, values in (("key_tokens", maps.received), ("query_tokens", largest)):
            by_token = torch.zeros(shape.heads, len(seen), dtype=torch.float64)
            by_token.index_add_(1, which, values)
            arrays[name][seen.numpy(), layer] += rounded(by_token, SCALE).T
        self._keep_uses(layer, rounded(largest, WEIGHT), maps.keys.numpy())

    def _keep_uses(self, layer: int, weights: Ints, keys: Ints) -> None:
        """Examples of each head out of the largest weight of each query, (heads, seq) both."""
        numbers, positions = self._pack.numbers.numpy(), self._pack.positions.numpy()
        texts, real, keep = self._pack.keys[numbers], keys[0] >= 0, self.sketch.keep
        by_text = np.split(np.where(real, weights, -1), self._pack.starts[1:], axis=1)
        most = np.stack([part.argmax(axis=1) for part in by_text], axis=1) + self._pack.starts
        strongest, key = (np.take_along_axis(one, most, axis=1) for one in (weights, keys))
        keep("head_top", layer, np.where(real[most], -strongest, EMPTY),
             self._pack.keys, positions[most], key, strongest)  # fmt: skip
        edges = np.round(np.array(WEIGHT_EDGES) * WEIGHT).astype(np.int64)
        interval = np.where(real, np.searchsorted(edges, weights, side="right"), -1)
        place = np.arange(len(weights))[:, None] + layer * len(weights)
        order = hashes(self.seed, place, texts[None], positions[None])
        for i in range(len(edges) + 1):
            inside = interval == i
            self.sketch.arrays["largest"][layer, :, i] += inside.sum(axis=1)
            keep("head_sample", (layer, slice(None), i), np.where(inside, order, EMPTY),
                 texts, positions, keys, weights)  # fmt: skip

    # The residual stream.

    def _state(self, state: int, x: Tensor) -> None:
        """A state of the residual stream, (seq, hidden), with or without the filler's."""
        arrays, values = self.sketch.arrays, x[: len(self._pack.ids)].float()
        norms = to_float64(values.norm(dim=-1))
        if not bool(norms.isfinite().all()):
            check_finite(self.model, values)
        arrays["norm_sums"][state] += int(rounded(norms.sum(), VALUE))
        arrays["norm_most"][state] = max(arrays["norm_most"][state], rounded(norms.max(), VALUE))
        sizes = values.abs()
        most = rounded(sizes.amax(dim=0), VALUE)
        np.maximum(arrays["channel_most"][state], most, out=arrays["channel_most"][state])
        lengths = [len(one) for one in self._pack.encodings]
        parts = torch.split(sizes.amax(dim=-1), lengths)
        where = torch.stack([part.argmax() for part in parts]).cpu()
        strongest = sizes[where + torch.tensor(self._pack.starts)]  # (texts, hidden)
        channel = strongest.argmax(dim=-1, keepdim=True)
        at = values[where + torch.tensor(self._pack.starts)].gather(1, channel)
        value = rounded(at.double().T, VALUE)
        self.sketch.keep("channel_top", slice(state, state + 1), -np.abs(value), self._pack.keys,
                         where.numpy(), channel.T.cpu().numpy(), value)  # fmt: skip


def _filler(seq: int) -> int:
    """Tokens of a text that fills a row, a sixteenth of it at most.

    oneDNN keeps kernels, over 1 MB, of each number of rows that it ever saw: so there are few.
    """
    return -seq % (1 << max(0, seq.bit_length() - 5))


def _both(first: Action | None, second: Action) -> Action:
    """What two look at that pass by the same tap."""

    def action(value: Tensor) -> None:
        if first is not None:
            first(value)
        second(value)

    return action


_KINDS = ("cls", "sep", "punctuation", "mask", "separator")
_KIND_PLACES = [HEAD_SUMS.index(name) for name in _KINDS]
_PLACES = [HEAD_SUMS.index(n) for n in (*OF_OFFSETS, "duplicate", "induction", "entropy", "nats")]
_HEAD_SCALES = [SCALES.get(name, SCALE) for name in HEAD_SUMS]
