"""Neurons of a layer, or features of a dictionary, over a pack of texts: both in the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from mbexplore.corpus.sketch import EDGES, EMPTY, PLACED, VALUE, Ints, Sketch, hashes, rounded
from mbexplore.corpus.tiles import Pack
from mbexplore.recording import to_float64

_PLACE = {"neuron": 2**32, "feature": 2**33}
"""Of a layer's units among all that samples are drawn for."""


class Units:
    """Takes activations of a pack of texts into a sketch."""

    def __init__(self, sketch: Sketch, unit: str, seed: int) -> None:
        """Makes it.

        Args:
            sketch: that grows.
            unit: "neuron" or "feature".
            seed: of the samples.
        """
        self.sketch, self.unit, self.seed = sketch, unit, seed
        self._spare: Tensor | None = None

    def see(
        self, pack: Pack, layer: int, threshold: float, values: Callable[[int, int], Tensor]
    ) -> None:
        """Takes in what the units of a layer do.

        Args:
            pack: the texts.
            layer: the row of the sketch.
            threshold: of |activation|, in which `EDGES` count.
            values: activations (seq, units) of the pack's tokens from one to another.
        """
        arrays, unit = self.sketch.arrays, self.unit
        found = [
            self._some(values(first, stop).float(), traits, lengths, threshold)
            for (first, stop, lengths), traits in zip(pack.runs, pack.traits, strict=True)
        ]
        fired, sums, ends, places, strongest = zip(*found, strict=True)
        arrays[f"{unit}_fired"][layer] += rounded(torch.stack(fired).double().sum(dim=0).T, 1)
        both = torch.stack([to_float64(one) for one in sums]).sum(dim=0)
        arrays[f"{unit}_sums"][layer] += rounded(both[:2].T, VALUE)
        arrays[f"{unit}_classes"][layer] += rounded(both[2:-1].T, VALUE)
        arrays[f"{unit}_positions"][layer] += rounded(both[-1], PLACED)
        most = arrays[f"{unit}_extremes"][layer]
        np.maximum(most, rounded(torch.stack(ends).amax(dim=0).T, VALUE), out=most)
        self._keep(pack, layer, threshold, torch.cat(places).T, torch.cat(strongest).T)

    def _some(
        self, values: Tensor, traits: Tensor, lengths: list[int], threshold: float
    ) -> tuple[Tensor, ...]:
        """Of a run of texts, small enough for a cache.

        Args:
            values: (seq, units).
            traits: ones, `CLASSES` and the position of each token, (CLASSES + 2, seq).
            lengths: of the texts.
            threshold: of the layer.

        Returns:
            How often each fires, (edges, units); sums of the activations, of their squares, and
            by class and position, (CLASSES + 3, units); the largest and, less than 0, the
            smallest, (2, units); the place of each text's strongest, and its activation, (texts,
            units).
        """
        squares, left = self._scratch(values)
        torch.square(values, out=squares)
        ones = traits[:1]  # sums down the columns are fastest as products
        edges = [(threshold * edge) ** 2 for edge in EDGES[self.unit]]
        fired = [ones @ torch.gt(squares, edge, out=left) for edge in edges]
        by_trait = traits @ values
        parts = torch.split(values, lengths)
        high = torch.stack([part.amax(dim=0) for part in parts])
        low = torch.stack([part.amin(dim=0) for part in parts])
        strongest = torch.where(high >= -low, high, low)  # (texts, units)
        places = _first(parts, strongest, torch.split(left, lengths))
        ends = torch.stack((high.amax(dim=0), -low.amin(dim=0)))
        sums = torch.cat((by_trait[:1], ones @ squares, by_trait[1:]))
        return torch.cat(fired), sums, ends, places, strongest

    def _scratch(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Two tensors to work in, in the same memory every time: new memory costs as much again."""
        if self._spare is None or self._spare.shape[1] < like.numel():
            self._spare = like.new_empty(2, like.numel())
        first, second = (one[: like.numel()].view(like.shape) for one in self._spare)
        return first, second

    def _keep(
        self, pack: Pack, layer: int, threshold: float, places: Tensor, strongest: Tensor
    ) -> None:
        """Examples out of the strongest activation of each text, (units, texts) both."""
        number: Ints = rounded(strongest.double(), VALUE)
        where, keep, keys = places.cpu().numpy(), self.sketch.keep, pack.keys
        fires = strongest.abs() > 0  # of a feature most are still: nothing is said of them
        order = np.where(fires.cpu().numpy(), -np.abs(number), EMPTY)
        keep(f"{self.unit}_top", layer, order, keys, where, number)
        edges = torch.tensor(EDGES[self.unit], device=strongest.device) * threshold
        inside = (strongest.abs()[..., None] > edges).sum(dim=-1).cpu().numpy()
        # A text has one hash for all units of a layer: each one's sample is as good, and it is
        # made once.
        chance = hashes(self.seed, layer + _PLACE[self.unit], keys, np.zeros_like(keys))
        for i in range(len(EDGES[self.unit])):
            keep(f"{self.unit}_sample", (layer, slice(None), i),
                 np.where(inside == i + 1, chance, EMPTY), keys, where, number)  # fmt: skip


def _first(parts: Sequence[Tensor], wanted: Tensor, scratch: Sequence[Tensor]) -> Tensor:
    """The first position of a value in each column of each text, (texts, columns).

    Args:
        parts: (seq, columns) of each text.
        wanted: the value, (texts, columns).
        scratch: of the shapes of `parts`; overwritten.
    """
    found = []
    for part, value, left in zip(parts, wanted, scratch, strict=True):
        torch.eq(part, value, out=left)  # twice as fast as argmax along the columns
        left *= torch.arange(len(part), 0, -1, device=part.device)[:, None]
        places = len(part) - left.amax(dim=0).long()
        found.append(places.clamp(max=len(part) - 1))  # NaN is equal to nothing
    return torch.stack(found)
