"""One pass over a pack of texts, into a sketch: maps, neurons and residual stream, layer by layer.

Values are read where they pass and never kept, so memory doesn't grow with layers or texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mbexplore.checks import check_finite
from mbexplore.corpus.sketch import (
    EMPTY,
    FIRING_EDGES,
    HEAD_SUMS,
    PLACED,
    SCALE,
    SCALES,
    VALUE,
    WEIGHT,
    WEIGHT_EDGES,
    Ints,
    Sketch,
    hashes,
)
from mbexplore.corpus.tiles import OF_OFFSETS, Offsets, Pack, Part, sum_by_offset
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
        thresholds: of each layer, the |activation| from which a neuron fires.
        sketch: that grows.
        seed: of the samples.
    """

    model: PretrainedModel
    thresholds: Sequence[float]
    sketch: Sketch
    seed: int = 0

    def __post_init__(self) -> None:
        self._spare: Tensor | None = None
        self._offsets: dict[int | None, Offsets] = {}

    def see(self, texts: Pack) -> None:
        """Runs the model over a pack of texts.

        Raises:
            ModelError: the model's numbers are not finite.
        """
        self._pack = texts
        self._queries: dict[int, Tensor] = {}
        self._keys = np.asarray(texts.texts, dtype=np.int64)
        classes, positions = texts.classes(), texts.positions.float()
        traits = torch.cat((torch.ones(1, len(positions)), classes.T, positions[None]))
        self._traits = [
            traits[:, first:stop].contiguous().to(self.model.device)
            for first, stop, _ in texts.runs
        ]
        actions: dict[str, Action] = {"embed": lambda x: self._state(0, x[0])}
        for layer in range(self.sketch.shape.layers):
            actions |= self._of_layer(layer)
        inputs = pack([one.ids for one in texts.encodings], self.model.device)
        if len(texts.encodings) == 1:
            inputs = {"input_ids": inputs["input_ids"]}
        with no_gradients(), hooked(self.model, actions):
            self.model.encoder(**inputs)
        self.sketch.arrays["counts"][:2] += [len(texts.encodings), len(texts.ids)]
        np.add.at(self.sketch.arrays["token_counts"], texts.ids.numpy(), 1)
        self.sketch.arrays["class_counts"] += _whole(classes.double().sum(dim=0), 1)
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
            f"layers.{layer}.mlp_post": lambda value: self._neurons(layer, value[0]),
            f"layers.{layer}.resid_post": lambda value: self._state(layer + 1, value[0]),
        }

    # Heads.

    def _heads(self, layer: int, q: Tensor, k: Tensor) -> None:
        """The maps of one layer: q and k (heads, seq, head_dim) of the whole pack."""
        arrays, shape, texts = self.sketch.arrays, self.sketch.shape, self._pack
        window = self.model.config.half_window(layer)
        far, heads = self.model.config.local_attention // 2, shape.heads
        bins = shape.distance_bins
        if window not in self._offsets:
            self._offsets[window] = Offsets(shape.positions, window, far, bins)
        seen, which = torch.unique(texts.ids, return_inverse=True)
        sums = torch.zeros(heads, len(HEAD_SUMS), dtype=torch.float64)
        by_bin = torch.zeros(heads, len(bins), dtype=torch.float64)
        received = torch.zeros(heads, len(texts.ids), dtype=torch.float64)
        largest = torch.zeros(heads, len(texts.ids))
        keys = torch.full((heads, len(texts.ids)), -1)
        for part in texts.parts(window, heads):
            weights, nats = _weights(part, q, k)
            (start, stop), (low, high) = part.rows, part.keys
            group, count = part.group, stop - start + high - low + 1
            columns = self._offsets[window].of(low - stop, count)
            offsets = sum_by_offset(weights.sum(dim=1)).cpu() @ columns
            by_bin += offsets[:, len(OF_OFFSETS) :]
            sums[:, _PLACES[: len(OF_OFFSETS)]] += offsets[:, : len(OF_OFFSETS)]
            sums[:, _PLACES[len(OF_OFFSETS) :]] += _other_sums(part, weights, nats)
            columns_in = to_float64(weights.sum(dim=2))  # (heads, texts, key)
            real = group.real[:, low:high]
            received.index_add_(1, group.places[:, low:high][real], columns_in[:, real])
            best, place = _strongest(part, weights)
            rows = group.real[:, start:stop]
            at = group.places[:, start:stop][rows]
            largest[:, at], keys[:, at] = best[:, rows], place[:, rows]
        kinds = torch.cat(texts.kinds).double()  # (seq, KINDS)
        sums[:, _KIND_PLACES] = received @ kinds
        arrays["head_sums"][layer] += _whole(sums, _HEAD_SCALES)
        arrays["head_rows"][layer] += texts.rows(window, far).numpy()
        arrays["distances"][layer] += _whole(by_bin, SCALE)
        for name, values in (("key_tokens", received), ("query_tokens", largest.double())):
            by_token = torch.zeros(heads, len(seen), dtype=torch.float64)
            by_token.index_add_(1, which, values)
            arrays[name][layer][:, seen.numpy()] += _whole(by_token, SCALE)
        self._keep_uses(layer, _whole(largest.double(), WEIGHT), keys.numpy())

    def _keep_uses(self, layer: int, weights: Ints, keys: Ints) -> None:
        """Examples of each head out of the largest weight of each query, (heads, seq) both."""
        numbers, positions = self._pack.numbers.numpy(), self._pack.positions.numpy()
        texts, real, keep = self._keys[numbers], keys[0] >= 0, self.sketch.keep
        by_text = np.split(np.where(real, weights, -1), self._pack.starts[1:], axis=1)
        most = np.stack([part.argmax(axis=1) for part in by_text], axis=1) + self._pack.starts
        strongest, key = (np.take_along_axis(one, most, axis=1) for one in (weights, keys))
        keep("head_top", layer, np.where(real[most], -strongest, EMPTY),
             self._keys, positions[most], key, strongest)  # fmt: skip
        edges = np.round(np.array(WEIGHT_EDGES) * WEIGHT).astype(np.int64)
        interval = np.where(real, np.searchsorted(edges, weights, side="right"), -1)
        place = np.arange(len(weights))[:, None] + layer * len(weights)
        order = hashes(self.seed, place, texts[None], positions[None])
        for i in range(len(edges) + 1):
            inside = interval == i
            self.sketch.arrays["largest"][layer, :, i] += inside.sum(axis=1)
            keep("head_sample", (layer, slice(None), i), np.where(inside, order, EMPTY),
                 texts, positions, keys, weights)  # fmt: skip

    # Neurons.

    def _neurons(self, layer: int, activations: Tensor) -> None:
        """Activations (seq, neurons) of the whole pack."""
        arrays, threshold = self.sketch.arrays, self.thresholds[layer]
        found = [
            self._some_neurons(activations[first:stop].float(), traits, lengths, threshold)
            for (first, stop, lengths), traits in zip(self._pack.runs, self._traits, strict=True)
        ]
        fired, sums, ends, places, strongest = zip(*found, strict=True)
        arrays["fired"][layer] += _whole(torch.stack(fired).double().sum(dim=0).T, 1)
        both = torch.stack([to_float64(one) for one in sums]).sum(dim=0)
        arrays["neuron_sums"][layer] += _whole(both[:2].T, VALUE)
        arrays["neuron_classes"][layer] += _whole(both[2:-1].T, VALUE)
        arrays["neuron_positions"][layer] += _whole(both[-1], PLACED)
        np.maximum(arrays["neuron_extremes"][layer], _whole(torch.stack(ends).amax(dim=0).T, VALUE),
                   out=arrays["neuron_extremes"][layer])  # fmt: skip
        self._keep_neurons(layer, torch.cat(places).T, torch.cat(strongest).T)

    def _some_neurons(
        self, values: Tensor, traits: Tensor, lengths: list[int], threshold: float
    ) -> tuple[Tensor, ...]:
        """Of a run of texts, small enough for a cache.

        Args:
            values: (seq, neurons).
            traits: ones, `CLASSES` and the position of each token, (CLASSES + 2, seq).
            lengths: of the texts.
            threshold: of the layer.

        Returns:
            How often each fires, (edges, neurons); sums of the activations, of their squares, and
            by class and position, (CLASSES + 3, neurons); the largest and, less than 0, the
            smallest, (2, neurons); the place of each text's strongest, and its activation, (texts,
            neurons).
        """
        sizes, left = self._scratch(values)
        torch.abs(values, out=sizes)
        ones = traits[:1]  # sums down the columns are fastest as products
        fired = [ones @ torch.gt(sizes, threshold * edge, out=left) for edge in FIRING_EDGES]
        squares = ones @ torch.square(values, out=left)
        by_trait = traits @ values
        ends = torch.stack((values.amax(dim=0), -values.amin(dim=0)))
        places = _first_largest(sizes, lengths, left)
        starts = torch.tensor(lengths, device=values.device).cumsum(0)[:, None]
        strongest = values.gather(0, places + starts - starts.diff(dim=0, prepend=0 * starts[:1]))
        sums = torch.cat((by_trait[:1], squares, by_trait[1:]))
        return torch.cat(fired), sums, ends, places, strongest

    def _scratch(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors to work in, in the same memory every time: new memory costs as much again."""
        if self._spare is None or self._spare.shape[1] < like.numel():
            self._spare = like.new_empty(2, like.numel())
        sizes, left = (one[: like.numel()].view(like.shape) for one in self._spare)
        return sizes, left

    def _keep_neurons(self, layer: int, places: Tensor, strongest: Tensor) -> None:
        """Examples out of the strongest activation of each text, (neurons, texts) both."""
        number, where = _whole(strongest.double(), VALUE), places.cpu().numpy()
        self.sketch.keep("neuron_top", layer, -np.abs(number), self._keys, where, number)
        edges = torch.tensor(FIRING_EDGES, device=strongest.device) * self.thresholds[layer]
        inside = (strongest.abs()[..., None] > edges).sum(dim=-1).cpu().numpy()
        # A text has one hash for all neurons of a layer: each neuron's sample is as good, and it
        # is made once.
        order = hashes(self.seed, layer + 2**32, self._keys, np.zeros_like(self._keys))
        for i in range(len(FIRING_EDGES)):
            self.sketch.keep("neuron_sample", (layer, slice(None), i),
                             np.where(inside == i + 1, order, EMPTY),
                             self._keys, where, number)  # fmt: skip

    # The residual stream.

    def _state(self, state: int, x: Tensor) -> None:
        """A state of the residual stream, (seq, hidden)."""
        arrays, values = self.sketch.arrays, x.float()
        norms = to_float64(values.norm(dim=-1))
        if not bool(norms.isfinite().all()):
            check_finite(self.model, values)
        arrays["norm_sums"][state] += int(_whole(norms.sum(), VALUE))
        arrays["norm_most"][state] = max(arrays["norm_most"][state], _whole(norms.max(), VALUE))
        sizes = values.abs()
        most = _whole(sizes.amax(dim=0), VALUE)
        np.maximum(arrays["channel_most"][state], most, out=arrays["channel_most"][state])
        lengths = [len(one) for one in self._pack.encodings]
        parts = torch.split(sizes.amax(dim=-1), lengths)
        where = torch.stack([part.argmax() for part in parts]).cpu()
        strongest = sizes[where + torch.tensor(self._pack.starts)]  # (texts, hidden)
        channel = strongest.argmax(dim=-1, keepdim=True)
        at = values[where + torch.tensor(self._pack.starts)].gather(1, channel)
        value = _whole(at.double().T, VALUE)
        self.sketch.keep("channel_top", slice(state, state + 1), -np.abs(value), self._keys,
                         where.numpy(), channel.T.cpu().numpy(), value)  # fmt: skip


_KINDS = ("cls", "sep", "punctuation", "mask", "separator")
_KIND_PLACES = [HEAD_SUMS.index(name) for name in _KINDS]
_PLACES = [HEAD_SUMS.index(n) for n in (*OF_OFFSETS, "duplicate", "induction", "entropy", "nats")]
_HEAD_SCALES = [SCALES.get(name, SCALE) for name in HEAD_SUMS]


def _weights(part: Part, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of a tile, (heads, texts, query, key), zero in rows that are no tokens.

    And the entropy of each row in nats, (heads, texts, query): with the scores at hand it takes no
    logarithm of every weight. Sums and products are used for what masks do several times slower.
    """
    (start, stop), (low, high) = part.rows, part.keys
    wide = torch.promote_types(q.dtype, torch.float32)
    queries = _rows(q, part.group.places[:, start:stop]).to(wide) * q.shape[-1] ** -0.5
    scores = queries @ _rows(k, part.group.places[:, low:high]).to(wide).mT
    if part.bias is not None:
        scores += part.bias.to(scores)
    scores -= scores.amax(dim=-1, keepdim=True)
    weights = torch.softmax(scores, dim=-1)
    nats = -weights.amax(dim=-1).log() - torch.linalg.vecdot(weights, scores)
    if part.group.is_padded:
        real = part.group.real[:, start:stop].to(weights)
        weights *= real[..., None]
        nats *= real
    return weights, nats


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Rows (heads, texts, rows, head_dim) of (heads, seq, head_dim); of one text without a copy."""
    if len(places) == 1:
        first = int(places[0, 0])
        return values[:, None, first : first + places.shape[1]]
    return values[:, places.to(values.device)]


def _other_sums(part: Part, weights: Tensor, nats: Tensor) -> Tensor:
    """Weight on equal tokens and on those after them, and entropies, (heads, 4) in float64."""
    found = []
    for pairs in (part.pairs, part.after):
        text, query, key = pairs.to(weights.device).T
        at = weights[:, text, query, key]
        found.append(to_float64(at).sum(dim=1))
    wide, choices = to_float64(nats), part.visible.double()
    relative = wide / choices.log().where(choices > 1, 1.0)
    return torch.stack((*found, relative.sum(dim=(1, 2)), wide.sum(dim=(1, 2))), dim=1)


def _strongest(part: Part, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The largest weight of each query on a token of the text, and its key; -1 where there is none.

    Overwrites the weights on special tokens.
    """
    (start, stop), (low, high) = part.rows, part.keys
    hidden = part.group.hidden.to(weights.device)
    weights *= (~hidden[:, None, low:high]).to(weights)
    best, place = weights.max(dim=-1)  # (heads, texts, query)
    none = hidden[:, start:stop]
    return best.masked_fill(none, 0.0).float().cpu(), (place + low).masked_fill(none, -1).cpu()


def _first_largest(sizes: Tensor, lengths: list[int], scratch: Tensor) -> Tensor:
    """The first position of each text's largest value, (texts, columns).

    Args:
        sizes: (seq, columns) of texts one after the other.
        lengths: of the texts.
        scratch: of the same shape; overwritten.
    """
    found = []
    parts = zip(torch.split(sizes, lengths), torch.split(scratch, lengths), strict=True)
    for part, left in parts:  # twice as fast as argmax along the columns
        torch.eq(part, part.amax(dim=0), out=left)
        left *= torch.arange(len(part), 0, -1, device=part.device)[:, None]
        places = len(part) - left.amax(dim=0).long()
        found.append(places.clamp(max=len(part) - 1))  # NaN is equal to nothing
    return torch.stack(found)


def _whole(values: Tensor, scale: float | Sequence[int]) -> Ints:
    """Numbers in whole units."""
    units = torch.as_tensor(scale, dtype=torch.float64)
    found: Ints = (to_float64(values) * units).round().long().numpy()
    return found
