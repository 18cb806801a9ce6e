"""The attention maps of one layer over a pack of texts: sums of them, tile by tile, and no map.

A tile is small enough that what is made of it finds it in a processor's cache: from main memory
each of the dozen sums would take twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.corpus.tiles import Pack, Part
from mbexplore.recording import to_float64

LEAST = 1e-30
"""Down to this a float32 has all its digits; its logarithm too."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What is kept of a layer's maps; of some heads, or all.

    Attributes:
        by_offset: weight at each offset, key less query, from -longest to longest, (heads, 2 *
            longest + 1).
        received: weight that each token gets, (heads, seq).
        others: weight on equal tokens and on those after them, entropies over the log of the
            visible keys, and in nats, (heads, 4).
        largest: of each query, its largest weight on a token of the text, (heads, seq).
        keys: and the position of that token in the text; -1 where there is none, (heads, seq).
    """

    by_offset: Tensor
    received: Tensor
    others: Tensor
    largest: Tensor
    keys: Tensor

    def of(self, some: slice) -> Maps:
        """A view of some heads."""
        return Maps(self.by_offset[some], self.received[some], self.others[some],
                    self.largest[some], self.keys[some])  # fmt: skip


def sum_maps(pack: Pack, half_window: int | None, q: Tensor, k: Tensor) -> Maps:
    """Goes over the maps of a layer.

    Args:
        pack: the texts.
        half_window: of the layer; None for a global one.
        q: rotated queries (heads, seq, head_dim).
        k: rotated keys, likewise.
    """
    heads, seq = len(q), len(pack.ids)
    whole = Maps(
        torch.zeros(heads, 2 * pack.longest + 1, dtype=torch.float64),
        torch.zeros(heads, seq, dtype=torch.float64),
        torch.zeros(heads, 4, dtype=torch.float64),
        torch.zeros(heads, seq),
        torch.full((heads, seq), -1),
    )
    for part in pack.parts(half_window):
        for first in range(0, heads, part.heads):
            some = slice(first, first + part.heads)
            _add_tile(whole.of(some), part, q[some], k[some])
    return whole


def _add_tile(into: Maps, part: Part, q: Tensor, k: Tensor) -> None:
    weights, products = _weights(part, q, k)
    (start, stop), (low, high) = part.rows, part.keys
    middle = into.by_offset.shape[1] // 2
    into.by_offset[:, middle + low - stop : middle + high - start] += sum_by_offset(weights)
    received = to_float64(weights.sum(dim=2).flatten(1))
    into.received.index_add_(1, part.key_places, received.index_select(1, part.key_cells))
    into.others[:, :2] += _pair_sums(part, weights)
    best, place = _strongest(part, weights)
    into.others[:, 2:] += _entropies(part, q, k, products, best, place)
    best, place = (one.flatten(1).cpu().index_select(1, part.query_cells) for one in (best, place))
    into.largest.index_copy_(1, part.query_places, best.float())
    into.keys.index_copy_(1, part.query_places, place + low)


def _weights(part: Part, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of a tile, and these times the scores, (heads, texts, query, key) both.

    Zero where a query is no token. Sums and products are used for what masks do several times
    slower.
    """
    (start, stop), (low, high) = part.rows, part.keys
    wide = torch.promote_types(q.dtype, torch.float32)
    queries = _rows(q, part.group.places[:, start:stop]).to(wide) * q.shape[-1] ** -0.5
    scores = queries @ _rows(k, part.group.places[:, low:high]).to(wide).mT
    if part.bias is not None:
        scores += part.bias.to(scores)
    weights = torch.softmax(scores, dim=-1)  # MKL's exp is slow where a key is hidden, this isn't
    if part.group.is_padded:
        weights *= part.real.to(weights)[..., None]
    return weights, scores.mul_(weights)


def _rows(values: Tensor, places: Tensor) -> Tensor:
    """Rows (heads, texts, rows, head_dim) of (heads, seq, head_dim); of one text without a copy."""
    if len(places) == 1:
        first = int(places[0, 0])
        return values[:, None, first : first + places.shape[1]]
    found = values.index_select(1, places.flatten().to(values.device))
    return found.view(len(found), *places.shape, -1)


def sum_by_offset(weights: Tensor) -> Tensor:
    """Weights at each offset, (heads, query + key) in float64.

    Args:
        weights: (heads, texts, query, key).

    Returns:
        Column `c` has the weights whose key's index less the query's is `c - query`.
    """
    heads, texts, rows, keys = weights.shape
    of_all = weights[:, 0] if texts == 1 else weights.sum(dim=1)
    # Zeros before each row, and each row read from one step further: an offset is a column then.
    width = rows + keys
    wide = weights.new_zeros(heads, rows * width + rows)
    wide[:, : rows * width].view(heads, rows, width)[:, :, rows:] = of_all
    slanted = wide.as_strided((heads, rows, width), (wide.stride(0), width + 1, 1))
    return to_float64(slanted.sum(dim=1))


def _pair_sums(part: Part, weights: Tensor) -> Tensor:
    """Weight on equal tokens and on those after them, (heads, 2) in float64."""
    rows = weights.flatten(1)
    found = [rows.index_select(1, one.to(rows.device)) for one in (part.pairs, part.after)]
    return torch.stack([to_float64(one).sum(dim=1) for one in found], dim=1)


def _strongest(part: Part, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The largest weight of each query on a token of the text, and its key in the tile.

    (heads, texts, query) both. Overwrites the weights on special tokens.
    """
    hidden = part.group.hidden[:, None, slice(*part.keys)].to(weights.device)
    weights *= (~hidden).to(weights)
    best, place = weights.max(dim=-1)
    return best, place


def _entropies(
    part: Part, q: Tensor, k: Tensor, products: Tensor, best: Tensor, place: Tensor
) -> Tensor:
    """Sums of entropies over the log of the visible keys, and in nats, (heads, 2) in float64.

    The log of the sum of exp of the scores follows from one score and its weight, if that isn't
    too small.
    """
    real = part.real.to(best.device)
    score = products.gather(-1, place[..., None])[..., 0] / best
    nats = (score - best.log() - products.sum(dim=-1)).where(real, 0.0)
    if bool(((best < LEAST) & real).any()):
        nats = torch.special.entr(_weights(part, q, k)[0]).sum(dim=-1)
    wide = to_float64(nats).flatten(1)
    return torch.stack((wide @ part.per_choice.flatten(), wide.sum(dim=1)), dim=1)
