"""The atlas of heads: where each one's weight goes over one text or many, streamed from the maps.

No more than a block of rows of one layer is in memory at a time, so any length will do. Averages
are over the rows that could send weight there: the first token has no previous one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mbexplore.analysis.head_masses import (
    COUNTED,
    MASSES,
    block_masses,
    eligible_rows,
    token_kinds,
    weighted,
)
from mbexplore.analysis.similar_heads import HeadSimilarity
from mbexplore.errors import TextError
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording, to_float64

LIMITS = (
    "Weights tell where a head attends, not what it moves: the value there may be next to nothing. "
    "And a class holds for these texts alone."
)

CLASSES = (
    "self", "previous", "next", "separator", "punctuation", "mask", "edge", "sink", "far", "broad",
)  # fmt: skip
"""Classes of heads, beside "unclassified"."""

CLASS_MASS = 0.4
"""A head belongs to the class that takes the most of its weight, from this share on; it is "far"
where no other class reaches that and the weight far away does."""

CLASS_ROWS = 0.5
"""A class counts where at least this share of the rows could send weight there."""

TIE = 1e-4
"""Scores so close are tied, and the first in the order of `CLASSES` wins: with one [MASK] in a text
"mask" and "sink" are the same weight, and rounding must not choose between them."""

BROAD_ENTROPY = 0.9
"""From this entropy (of at most 1) on a head is broad whatever takes the most of its weight."""

SINK_WEIGHT = 0.1
"""From this mean weight on a token is a sink, if it is also twice what an even spread gives it."""

MOST_SINKS = 5
"""Sinks named for a head."""

BLOCK_WEIGHTS = 2**23
"""The most weights of a block, 32 MiB in float32."""


@dataclass(frozen=True)
class Sink:
    """A token that takes much of a head's weight.

    Attributes:
        text: which of the texts, from 0.
        position: in that text.
        token: as people read it.
        is_special: whether it is [CLS], [SEP] or another token that no text holds.
        weight: mean over the queries that can see it.
        value_norm: length of its value vector in this head.
        mean_value_norm: the same, averaged over the tokens of that text.
        occurrences: how many tokens like it are sinks, over all texts.
    """

    text: int
    position: int
    token: str
    is_special: bool
    weight: float
    value_norm: float
    mean_value_norm: float
    occurrences: int


@dataclass(frozen=True)
class HeadRow:
    """What one head does, averaged over the rows of all texts.

    Attributes:
        layer: from 0.
        head: from 0.
        kind: "global" or "local".
        entropy: of a row divided by the log of the keys its query can see: 0 for one key, 1 for
            all alike; over the queries that can see more than one.
        distance: tokens between query and key, weighted.
        masses: mean weight that a row sends to each of `MASSES`, over the rows that could; 0 where
            none could.
        rows: how many these are, of `queries`.
        queries: rows of all texts.
        sink: the token that takes the most, whether that is much or little.
        sinks: tokens that take `SINK_WEIGHT` or more, by falling weight, each token once.
        label: one of `CLASSES`, or "unclassified".
        score: what the label rests on; of an unclassified head, the score of its nearest class.
        scores: of each of `CLASSES`: its mean weight, the entropy for "broad"; 0 where fewer than
            `CLASS_ROWS` of the rows could send weight there.
        spread: standard deviation over texts of "entropy", "distance" and each of `MASSES`, a text
            counting once and only where it has such rows; 0 for fewer than two.
    """

    layer: int
    head: int
    kind: LayerKind
    entropy: float
    distance: float
    masses: dict[str, float]
    rows: dict[str, int]
    queries: int
    sink: Sink
    sinks: tuple[Sink, ...]
    label: str
    score: float
    scores: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class Atlas:
    """Every head over some texts.

    Attributes:
        texts: how many.
        tokens: of all texts.
        heads: one row each, in order.
        strongest: layer, head and score of the best of each class.
        like: the head that others are compared with, "3.1"; None for none.
        similar: all other heads by distance to it, in the first text.
    """

    texts: int
    tokens: int
    heads: tuple[HeadRow, ...]
    strongest: dict[str, dict[str, float]]
    like: str | None = None
    similar: tuple[HeadSimilarity, ...] = ()


VALUES = ("entropy", "distance", *COUNTED)
"""What is averaged: one value a row, where the row is eligible."""


@dataclass
class _Sums:
    """Running sums of one layer over texts.

    Attributes:
        queries: rows of all texts.
        total: (heads, VALUES), summed over rows.
        rows: (VALUES,) eligible rows.
        texts: (VALUES,) texts that have eligible rows.
        means: (heads, VALUES), the mean of each text, summed over texts.
        squares: the same of the squared means.
        most: of each head, the token that takes the most.
        sinks: of each head, its sinks by token.
    """

    heads: int
    queries: int = 0
    most: dict[int, Sink] = field(default_factory=dict)
    sinks: dict[int, dict[str, Sink]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (self.heads, len(VALUES))
        self.total, self.means, self.squares = torch.zeros(3, *shape, dtype=torch.float64)
        self.rows, self.texts = torch.zeros(2, len(VALUES), dtype=torch.int64)

    def add(self, total: Tensor, rows: Tensor, queries: int) -> None:
        """Takes in one text: sums (heads, VALUES) over so many eligible rows (VALUES,)."""
        mean = total / rows.clamp(min=1)
        self.total, self.rows, self.queries = (
            self.total + total, self.rows + rows, self.queries + queries,
        )  # fmt: skip
        self.texts = self.texts + (rows > 0)
        self.means, self.squares = self.means + mean, self.squares + mean.square()

    def spread(self, head: int) -> dict[str, float]:
        """Standard deviation over texts of each value of a head."""
        count = self.texts.clamp(min=2)
        variance = (self.squares[head] - self.means[head].square() / count) / (count - 1)
        deviations = variance.clamp(min=0).sqrt().where(self.texts > 1, 0.0).tolist()
        named = dict(zip(VALUES, deviations, strict=True))
        return {name: named[name] for name in ("entropy", "distance", *MASSES)}


def head_atlas(
    recordings: Iterable[Recording], progress: Progress | None = None
) -> tuple[HeadRow, ...]:
    """One row a head, over one text or many; each recording is let go before the next is made.

    Args:
        recordings: with "attention" and "values" kept, all of one model.
        progress: called with the layers of a recording that are done, and all that it has.

    Raises:
        TextError: there is no text.
    """
    sums: list[_Sums] = []
    kinds: tuple[LayerKind, ...] = ()
    for number, recording in enumerate(recordings):
        kinds = recording.config.layer_kinds
        sums = sums or [_Sums(recording.config.num_attention_heads) for _ in kinds]
        for layer, total in enumerate(sums):
            _add_layer(total, recording, layer, number)
            if progress is not None:
                progress(layer + 1, len(kinds))
    if not sums:
        raise TextError("There is no text to look at; give at least one line.")
    return tuple(row for i, total in enumerate(sums) for row in _rows(total, i, kinds[i]))


def _rows(total: _Sums, layer: int, kind: LayerKind) -> list[HeadRow]:
    rows = []
    counts = dict(zip(VALUES, total.rows.tolist(), strict=True))
    for head, most in sorted(total.most.items()):
        means = (total.total[head] / total.rows.clamp(min=1)).tolist()
        values = dict(zip(VALUES, means, strict=True))
        sinks = sorted(total.sinks[head].values(), key=lambda sink: -sink.weight)[:MOST_SINKS]
        shares = {name: counts[name] / total.queries for name in COUNTED}
        scores = class_scores(values, shares, most)
        label, score = classify(scores)
        rows.append(
            HeadRow(
                layer=layer,
                head=head,
                kind=kind,
                entropy=values["entropy"],
                distance=values["distance"],
                masses={name: values[name] for name in MASSES},
                rows={name: counts[name] for name in MASSES},
                queries=total.queries,
                sink=most,
                sinks=tuple(sinks),
                label=label,
                score=score,
                scores=scores,
                spread=total.spread(head),
            )
        )
    return rows


def class_scores(
    values: dict[str, float], row_shares: dict[str, float], most: Sink
) -> dict[str, float]:
    """How much a head is of each of `CLASSES`, from 0 to 1.

    A special token that takes much makes a separator head, any other a sink head.

    Args:
        values: the mean of each of `VALUES`.
        row_shares: for each of `COUNTED`, the share of the rows that could send weight there.
        most: the token that takes the most.
    """
    counted = {name: values[name] if row_shares[name] >= CLASS_ROWS else 0.0 for name in COUNTED}
    made = {"sink": 0.0 if most.is_special else most.weight, "broad": values["entropy"]}
    return {name: made[name] if name in made else counted[name] for name in CLASSES}


def classify(scores: dict[str, float]) -> tuple[str, float]:
    """The class of a head and its score; see `CLASS_MASS`, `BROAD_ENTROPY` and `TIE`."""
    if scores["broad"] >= BROAD_ENTROPY:
        return "broad", scores["broad"]
    highest = max(scores[name] for name in CLASSES[:-2])
    best = next(name for name in CLASSES[:-2] if scores[name] >= highest - TIE)
    if scores[best] >= CLASS_MASS:
        return best, scores[best]
    if scores["far"] >= CLASS_MASS:
        return "far", scores["far"]
    return "unclassified", scores[best]


def strongest_heads(rows: Iterable[HeadRow]) -> dict[str, HeadRow]:
    """For each of `CLASSES`, the head with the highest score, whatever its own class."""
    listed = list(rows)
    return {name: max(listed, key=lambda row: row.scores[name]) for name in CLASSES}


def _add_layer(total: _Sums, recording: Recording, layer: int, text: int) -> None:
    config, seq = recording.config, len(recording)
    half_window, far = config.half_window(layer), config.local_attention // 2
    kinds, positions = token_kinds(recording.encoding), torch.arange(seq)
    eligible = eligible_rows(kinds, half_window, far)
    reach = seq if half_window is None else half_window
    allowed = (positions + reach + 1).clamp(max=seq) - (positions - reach).clamp(min=0)
    heads = config.num_attention_heads
    received = torch.zeros(heads, seq, dtype=torch.float64)
    sums = torch.zeros(heads, len(VALUES), dtype=torch.float64)
    block = max(16, min(256, BLOCK_WEIGHTS // (heads * seq)))
    for start, low, weights in recording.attention_rows(layer, None, block):
        stop, high = start + weights.shape[1], low + weights.shape[2]
        queries = torch.arange(start, stop, device=weights.device)
        choices = allowed[start:stop].double()
        entropy = to_float64(torch.special.entr(weights).sum(dim=-1))  # (heads, rows)
        away = (queries[:, None] - torch.arange(low, high, device=weights.device)).abs()
        masses = block_masses(weights, queries, low, kinds[low:high], half_window, far)
        sums += torch.cat(
            (
                (entropy / choices.log().where(choices > 1, 1.0)).sum(dim=1, keepdim=True),
                weighted(weights, away.to(weights.dtype))[:, None],
                masses,
            ),
            dim=1,
        )
        received[:, low:high] += to_float64(weights.sum(dim=1))
    rows = [int((allowed > 1).sum()), seq, *(int(each.sum()) for each in eligible.values())]
    total.add(sums, torch.tensor(rows), seq)
    bar = max(SINK_WEIGHT, 2 / float(allowed.double().mean()))
    for head, row in enumerate(received / allowed):
        _add_sinks(total, recording, (layer, head, text), row, bar)


def _add_sinks(
    total: _Sums, recording: Recording, where: tuple[int, int, int], received: Tensor, bar: float
) -> None:
    """Takes in what the tokens of one text receive from one head.

    Args:
        total: of the layer.
        recording: of the text.
        where: layer, head and text.
        received: mean weight of each token, (seq,).
        bar: from which a token is a sink.
    """
    (layer, head, text), encoding = where, recording.encoding
    norms = to_float64(recording.v(layer)[head]).norm(dim=-1)  # (seq,)

    def sink(place: int, occurrences: int) -> Sink:
        return Sink(
            text, place, encoding.tokens[place], encoding.words[place] is None,
            float(received[place]), float(norms[place]), float(norms.mean()), occurrences,
        )  # fmt: skip

    high = (received >= bar).nonzero()[:, 0].tolist()
    named = total.sinks.setdefault(head, {})
    for place in sorted(high, key=lambda place: -float(received[place])):
        token = encoding.tokens[place]
        before = named.get(token)
        if before is None:
            named[token] = sink(place, 1)
        else:
            larger = max(before, sink(place, 1), key=lambda each: each.weight)
            named[token] = replace(larger, occurrences=before.occurrences + 1)
    top = int(received.argmax())
    if head not in total.most or total.most[head].weight < float(received[top]):
        total.most[head] = sink(top, int(top in high))
