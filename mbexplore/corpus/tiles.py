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

WEIGHTS = 2**19
"""Weights of a tile, 2 MiB in float32: what is made of them finds them in a cache."""
BESIDE = 2**17
"""Weights of a head up to which texts lie beside each other: longer ones alone, without padding."""
FILL = 0.75
"""Texts beside each other have at least this share of the longest one's tokens."""
RUN = 128
"""Tokens whose neurons are looked at together: half a MiB in float32, which a cache holds."""
HIDDEN = -1e30
"""Bias of a key that isn't seen: no weight, and no infinity times zero in the entropy."""
KEPT_PAIRS = 2**21
"""Pairs of equal tokens that are kept for the next layer, 16 MiB; of a pack with more, none is."""


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
        heads: whose maps a tile has.
        bias: added to the scores, 0 where the query sees the key, (texts or 1, query, key); None
            where all are seen.
        real: which queries are tokens, (texts, query).
        per_choice: 1 over the log of the keys that a query sees, 0 where it is one or none, (texts,
            query) in float64.
        query_cells: where, in (texts, query) in one row, queries are that examples are sought of.
        query_places: where in the pack these are.
        key_cells: where, in (texts, key) in one row, the keys are tokens.
        key_places: where in the pack these are.
        pairs: where, in (texts, query, key) in one row, the tokens are equal, (pairs,).
        after: likewise, where the key's previous token is the query's.
    """

    group: Group
    rows: tuple[int, int]
    keys: tuple[int, int]
    heads: int
    bias: Tensor | None
    real: Tensor
    per_choice: Tensor
    query_cells: Tensor
    query_places: Tensor
    key_cells: Tensor
    key_places: Tensor
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
        self.longest = int(lengths.max())
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

    def parts(self, half_window: int | None) -> Iterator[Part]:
        """The rows that a layer's maps are computed in; `half_window` is None of a global one."""
        if half_window in self._parts:
            yield from self._parts[half_window]
            return
        made, pairs = [], 0
        for group in self._groups():
            for part in _parts(group, half_window):
                pairs += len(part.pairs) + len(part.after)
                made.append(part)
                if pairs > KEPT_PAIRS:
                    made.clear()
                yield part
        if pairs <= KEPT_PAIRS:
            self._parts[half_window] = made

    def _groups(self) -> Iterator[Group]:
        first = 0
        lengths = [len(one) for one in self.encodings]
        for i, length in enumerate([*lengths, 0]):
            longest = max(lengths[first : i + 1], default=0)
            if i > first and (
                length < FILL * longest
                or min(lengths[first:i]) < FILL * longest
                or (i + 1 - first) * longest**2 > BESIDE
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


def _parts(group: Group, half_window: int | None) -> Iterator[Part]:
    texts, longest = group.ids.shape
    size = max(16, WEIGHTS // (texts * longest))
    if half_window is not None:  # more rows would have more keys that few of them see
        size = max(16, 2 * half_window) if longest > 2 * half_window else size
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
        choices = alive.sum(dim=-1).clamp(min=1).double().log()
        yield Part(
            group, (start, stop), (low, high),
            max(1, WEIGHTS // (texts * (stop - start) * (high - low))),
            None if near is None else (~near).float() * HIDDEN,
            group.real[:, start:stop], torch.where(choices > 0, 1 / choices, 0.0),
            *_where(~group.hidden[:, start:stop], group.places[:, start:stop]),
            *_where(group.real[:, low:high], group.places[:, low:high]),
            *(_cells(one) for one in _pairs(group.ids, queries, keys, alive)),
        )  # fmt: skip


def _cells(chosen: Tensor) -> Tensor:
    """Where, in one row, something is so."""
    return chosen.flatten().nonzero()[:, 0]


def _where(chosen: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Cells that are chosen, and their places in the pack."""
    cells = _cells(chosen)
    return cells, places.flatten()[cells]


def _pairs(ids: Tensor, queries: Tensor, keys: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    """Whether visible keys have the query's token, and the key before them, (texts, query, key)."""
    own, others = ids[:, queries, None], ids[:, None, keys]
    apart = queries[:, None] != keys
    before = torch.where(keys > 0, ids[:, (keys - 1).clamp(min=0)], -2)[:, None]
    follows = (own == before) & (queries[:, None] != keys - 1)
    return (own == others) & apart & alive, follows & alive


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
        twice += int(pairs.any(dim=-1).sum())
        follows += int(after.any(dim=-1).sum())
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
        self._longest = longest
        offsets = torch.arange(-longest, longest + 1)
        away = offsets.abs()
        none = torch.zeros(len(offsets), dtype=torch.bool)
        columns = [
            away == 0, offsets == -1, offsets == 1, away == half_window if half_window else none,
            away > far, offsets < 0, offsets > 0, away, away**2,
        ]  # fmt: skip
        inside = [(offsets >= low) & (offsets <= high) for low, high in bins]
        self._columns = torch.stack([one.double() for one in (*columns, *inside)], dim=1)

    def of(self, longest: int) -> Tensor:
        """Of the offsets from -longest to longest, (2 * longest + 1, OF_OFFSETS + bins)."""
        return self._columns[self._longest - longest : self._longest + longest + 1]
