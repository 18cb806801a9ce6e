"""Maps of many texts at once, in tiles: texts of like length beside each other, rows in blocks.

What all layers of a kind share of a pack of texts is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mbexplore.analysis.head_masses import COUNTED, eligible_rows, token_kinds
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.corpus.sketch import HEAD_SUMS, Ints
from mbexplore.corpus.token_classes import classes_of
from mbexplore.network.visibility import key_span
from mbexplore.recording import to_float64

WEIGHTS = 2**20
"""Weights of a tile, 4 MiB in float32: what is made of them finds them in a cache."""
FILL = 0.75
"""Texts beside each other have at least this share of the longest one's tokens."""
RUN = 128
"""Tokens whose neurons are looked at together: half a MiB in float32, which a cache holds."""
HIDDEN = -1e30
"""Bias of a key that isn't seen: no weight, and no infinity times zero in the entropy."""
KEPT_PAIRS = 512
"""Longest text whose pairs of equal tokens are kept for the next layer."""


@dataclass(frozen=True, eq=False)
class Group:
    """Texts beside each other.

    Attributes:
        places: of their tokens in the pack, (texts, longest), 0 where a text is shorter.
        real: which of these are tokens, (texts, longest).
        ids: of the tokens, -1 where there is none.
        hidden: where no example is sought: special tokens and what is no token.
        kinds: (texts, longest, KINDS); see `token_kinds`.
        is_padded: whether one is shorter than another.
    """

    places: Tensor
    real: Tensor
    ids: Tensor
    hidden: Tensor
    kinds: Tensor
    is_padded: bool


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a group's maps.

    Attributes:
        group: the texts.
        rows: positions of the queries, those of the keys, `[start, stop)` each.
        keys: likewise.
        bias: added to the scores, 0 where the query sees the key, (texts or 1, query, key); None
            where all are seen.
        visible: how many keys each query sees, (texts, query), 1 where it is no token.
        pairs: text, query and key of equal tokens, (pairs, 3).
        after: the same of keys whose previous token is the query's.
    """

    group: Group
    rows: tuple[int, int]
    keys: tuple[int, int]
    bias: Tensor | None
    visible: Tensor
    pairs: Tensor
    after: Tensor


@dataclass(eq=False)
class Pack:
    """Texts that are run together.

    Attributes:
        texts: their keys.
        encodings: their tokens.
    """

    texts: Sequence[int]
    encodings: Sequence[Encoding]
    _parts: dict[int | None, list[Part]] = field(default_factory=dict)
    _rows: dict[int | None, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = torch.tensor([len(one) for one in self.encodings])
        self.keys: Ints = np.asarray(self.texts, dtype=np.int64)
        self.traits: list[Tensor] = []
        self.starts = (lengths.cumsum(0) - lengths).tolist()
        self.ids = torch.tensor([token for one in self.encodings for token in one.ids])
        self.numbers = torch.arange(len(lengths)).repeat_interleave(lengths)
        self.positions = torch.cat([torch.arange(len(one)) for one in self.encodings])
        self.kinds = [token_kinds(one) for one in self.encodings]
        self.runs = list(_runs([len(one) for one in self.encodings]))

    @cached_property
    def classes(self) -> Tensor:
        """Which of `CLASSES` each token is of, (seq, CLASSES) of 0 and 1."""
        found = [classes_of(token) for one in self.encodings for token in one.tokens]
        return torch.tensor(found, dtype=torch.float32)

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The tokens that there are, rising, and which of them each one is."""
        ids, which = torch.unique(self.ids, return_inverse=True)
        return ids, which

    def place(self, device: torch.device) -> None:
        """Makes ready what neurons are set against, of each run, on the model's device."""
        ones = torch.ones(1, len(self.ids))
        every = torch.cat((ones, self.classes.T, self.positions.float()[None]))
        self.traits = [every[:, a:b].contiguous().to(device) for a, b, _ in self.runs]

    def parts(self, half_window: int | None, heads: int) -> Iterator[Part]:
        """The tiles that the maps of a layer are computed in.

        Args:
            half_window: of the layer; None for a global one.
            heads: of the layer.
        """
        if half_window not in self._parts:
            self._parts[half_window] = []
            for group in self._groups(heads):
                for part in _parts(group, half_window, heads):
                    if group.ids.shape[1] <= KEPT_PAIRS:
                        self._parts[half_window].append(part)
                    yield part
            if any(len(one) > KEPT_PAIRS for one in self.encodings):
                del self._parts[half_window]  # they are made anew in each layer
            return
        yield from self._parts[half_window]

    def _groups(self, heads: int) -> Iterator[Group]:
        first = 0
        lengths = [len(one) for one in self.encodings]
        for i, length in enumerate([*lengths, 0]):
            longest = max(lengths[first : i + 1], default=0)
            if i > first and (
                length < FILL * longest
                or min(lengths[first:i]) < FILL * longest
                or (i + 1 - first) * heads * longest**2 > WEIGHTS
            ):
                yield self._group(range(first, i))
                first = i

    def _group(self, chosen: range) -> Group:
        lengths = torch.tensor([len(self.encodings[i]) for i in chosen])
        steps = torch.arange(int(lengths.max()))
        real = steps < lengths[:, None]
        starts = torch.tensor([self.starts[i] for i in chosen])[:, None]
        places = torch.where(real, starts + steps, 0)
        kinds = torch.zeros(*real.shape, self.kinds[0].shape[1])
        special = torch.zeros_like(real)
        for row, i in enumerate(chosen):
            words = self.encodings[i].words
            kinds[row, : len(words)] = self.kinds[i]
            special[row, : len(words)] = torch.tensor([word is None for word in words])
            special[row, list(self.encodings[i].mask_positions)] = False
        ids = torch.where(real, self.ids[places], -1)
        return Group(places, real, ids, special | ~real, kinds, not bool(real.all()))

    def rows(self, half_window: int | None, far: int) -> Tensor:
        """How many queries each of `HEAD_SUMS` is averaged over, (HEAD_SUMS,)."""
        if half_window not in self._rows:
            rows = sum(_rows(one, kinds, half_window, far)
                       for one, kinds in zip(self.encodings, self.kinds, strict=True))  # fmt: skip
            assert isinstance(rows, Tensor)
            self._rows[half_window] = rows
        return self._rows[half_window]


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, list[int]]]:
    """Neighbouring texts of `RUN` tokens together: first token, end, and lengths."""
    first, some = 0, []
    for i, length in enumerate(lengths):
        some.append(length)
        if sum(some) >= RUN or i == len(lengths) - 1:
            yield first, first + sum(some), some
            first, some = first + sum(some), []


def _parts(group: Group, half_window: int | None, heads: int) -> Iterator[Part]:
    texts, longest = group.ids.shape
    reach = longest if half_window is None else min(2 * half_window + 64, longest)
    size = longest
    if texts * heads * longest**2 > WEIGHTS:
        size = max(16, WEIGHTS // (texts * heads * reach))
        if half_window is not None:  # more rows would have more keys that few of them see
            size = min(size, max(16, 2 * half_window))
    for start in range(0, longest, size):
        stop = min(start + size, longest)
        low, high = key_span(start, stop - 1, longest, half_window)
        queries, keys = torch.arange(start, stop), torch.arange(low, high)
        near = None
        if half_window is not None and half_window < longest - 1:
            near = ((queries[:, None] - keys).abs() <= half_window)[None]
        if group.is_padded:
            real = group.real[:, None, low:high]
            near = real.expand(-1, stop - start, -1) if near is None else near & real
        seen = torch.ones(1, stop - start, high - low, dtype=torch.bool) if near is None else near
        alive = seen & group.real[:, start:stop, None]
        bias = None if near is None else (~near).float() * HIDDEN
        yield Part(
            group, (start, stop), (low, high), bias,
            alive.sum(dim=-1).clamp(min=1), *_pairs(group.ids, queries, keys, alive),
        )  # fmt: skip


def _pairs(ids: Tensor, queries: Tensor, keys: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Where visible keys have the query's token, and where the key before them has."""
    own, others = ids[:, queries, None], ids[:, None, keys]
    apart = queries[:, None] != keys
    before = torch.where(keys > 0, ids[:, (keys - 1).clamp(min=0)], -2)[:, None]
    follows = (own == before) & (queries[:, None] != keys - 1)
    return ((own == others) & apart & alive).nonzero(), (follows & alive).nonzero()


def _rows(encoding: Encoding, kinds: Tensor, half_window: int | None, far: int) -> Tensor:
    """Queries of one text that could send weight there, (HEAD_SUMS,)."""
    seq, positions = len(encoding), torch.arange(len(encoding))
    eligible = eligible_rows(kinds, half_window, far)
    reach = seq if half_window is None else half_window
    counts = {name: int(eligible[name].sum()) for name in COUNTED}
    allowed = (positions + reach + 1).clamp(max=seq) - (positions - reach).clamp(min=0)
    ids, size = torch.tensor([encoding.ids]), 1024
    twice = follows = 0
    for start in range(0, seq, size):
        low, high = key_span(start, min(start + size, seq) - 1, seq, half_window)
        queries, keys = positions[start : start + size], positions[low:high]
        alive = ((queries[:, None] - keys).abs() <= reach)[None]
        pairs, after = _pairs(ids, queries, keys, alive)
        twice += len(set(pairs[:, 1].tolist()))
        follows += len(set(after[:, 1].tolist()))
    counts |= {"left": counts["previous"], "right": counts["next"], "duplicate": twice}
    counts |= {"induction": follows, "entropy": int((allowed > 1).sum())}
    return torch.tensor([counts.get(name, seq) for name in HEAD_SUMS])


OF_OFFSETS = (
    "self", "previous", "next", "edge", "far", "left", "right", "distance", "distance_squared",
)  # fmt: skip
"""Those of `HEAD_SUMS` that follow from how much weight lies at each distance."""


class Offsets:
    """What a weight at each offset (key less query) counts for, made once for all tiles."""

    def __init__(
        self, longest: int, half_window: int | None, far: int, bins: tuple[tuple[int, int], ...]
    ) -> None:
        """Makes the table.

        Args:
            longest: tokens of a text.
            half_window: of the layer; None for a global one.
            far: the distance beyond which a key is far.
            bins: first and last offset of each.
        """
        self._first = -longest
        offsets = torch.arange(-longest, longest + 1)
        away = offsets.abs()
        none = torch.zeros(len(offsets), dtype=torch.bool)
        columns = [
            away == 0, offsets == -1, offsets == 1, away == half_window if half_window else none,
            away > far, offsets < 0, offsets > 0, away, away**2,
        ]  # fmt: skip
        inside = [(offsets >= low) & (offsets <= high) for low, high in bins]
        self._columns = torch.stack([one.double() for one in (*columns, *inside)], dim=1)

    def of(self, first: int, count: int) -> Tensor:
        """Of `count` offsets from `first` on, (count, OF_OFFSETS + bins)."""
        start = first - self._first
        return self._columns[start : start + count]


def sum_by_offset(weights: Tensor) -> Tensor:
    """Weights at each offset, (heads, query + key) in float64.

    Args:
        weights: (heads, texts, query, key).

    Returns:
        Column `c` has the weights whose key's index less the query's is `c - query`.
    """
    heads, texts, rows, keys = weights.shape
    of_all = weights[:, 0] if texts == 1 else weights.sum(dim=1)
    steps = torch.arange(rows, device=weights.device)[:, None]
    places = torch.arange(keys, device=weights.device) - steps + rows
    found = weights.new_zeros(heads, rows + keys)
    return to_float64(found.index_add_(1, places.flatten(), of_all.flatten(1)))
