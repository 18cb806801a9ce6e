"""The atlas of heads: what each does over one text or many, streamed from the maps.

No more than a block of rows of one layer is in memory at a time, so any length will do.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mbexplore.errors import TextError
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording, check_index, to_float64

MASSES = ("self", "previous", "next", "cls", "sep", "punctuation", "mask", "edge", "far")
"""Where weight goes; they may overlap. "edge" is both ends of a local layer's window, "far" what
no local layer could see: more than half a window away."""

SPREAD = ("entropy", "distance", *MASSES)
"""What is known of every text by itself."""

CLASSES = (
    "self", "previous", "next", "separator", "punctuation", "mask", "edge", "sink", "far", "broad",
)  # fmt: skip
"""Classes of heads, beside "unclassified"."""

CLASS_MASS = 0.4
"""A head belongs to the class that takes the most of its weight, from this share on; it is "far"
where no other class reaches that and the weight far away does."""

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
    """What one head does, averaged over all queries of all texts.

    Attributes:
        layer: from 0.
        head: from 0.
        kind: "global" or "local".
        entropy: of a row divided by the log of the keys its query can see: 0 for one key, 1 for
            all alike; over the queries that can see more than one.
        distance: tokens between query and key, weighted.
        masses: share of the weight that goes to each of `MASSES`.
        sink: the token that takes the most, whether that is much or little.
        sinks: tokens that take `SINK_WEIGHT` or more, by falling weight, each token once.
        label: one of `CLASSES`, or "unclassified".
        score: what the label rests on; of an unclassified head, the score of its nearest class.
        scores: of each of `CLASSES`: its share of the weight, the entropy for "broad".
        spread: standard deviation over the texts of "entropy", "distance" and each of `MASSES`;
            0 for one text.
    """

    layer: int
    head: int
    kind: LayerKind
    entropy: float
    distance: float
    masses: dict[str, float]
    sink: Sink
    sinks: tuple[Sink, ...]
    label: str
    score: float
    scores: dict[str, float]
    spread: dict[str, float]


@dataclass(frozen=True)
class HeadSimilarity:
    """Another head, and how far its rows are from those of the head asked about.

    Attributes:
        layer: from 0.
        head: from 0.
        distance: Jensen-Shannon distance (the root of the divergence in bits, 0 to 1), averaged
            over queries.
    """

    layer: int
    head: int
    distance: float


@dataclass
class _Sums:
    """Running sums of one layer over texts: (heads,) each, masses (heads, MASSES).

    The token that takes the most and the sinks by token are kept by head, and of every text the
    means (heads, `SPREAD`).
    """

    queries: int = 0
    choosing: int = 0
    entropy: Tensor | float = 0.0
    distance: Tensor | float = 0.0
    masses: Tensor | float = 0.0
    most: dict[int, Sink] = field(default_factory=dict)
    sinks: dict[int, dict[str, Sink]] = field(default_factory=dict)
    texts: list[Tensor] = field(default_factory=list)

    def means_since(self, before: _Sums) -> Tensor:
        """Means over the queries that came after an earlier state of these sums."""
        queries = self.queries - before.queries
        entropy = (self.entropy - before.entropy) / max(1, self.choosing - before.choosing)
        others = (
            (self.distance - before.distance) / queries,
            (self.masses - before.masses) / queries,
        )
        distance, masses = (torch.as_tensor(one) for one in others)
        return torch.cat((torch.as_tensor(entropy)[:, None], distance[:, None], masses), dim=1)


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
        sums = sums or [_Sums() for _ in kinds]
        for layer, total in enumerate(sums):
            before = replace(total)
            _add_layer(total, recording, layer, number)
            total.texts.append(total.means_since(before))
            if progress is not None:
                progress(layer + 1, len(kinds))
    if not sums:
        raise TextError("There is no text to look at; give at least one line.")
    return tuple(row for i, total in enumerate(sums) for row in _rows(total, i, kinds[i]))


def _rows(total: _Sums, layer: int, kind: LayerKind) -> list[HeadRow]:
    rows = []
    texts = torch.stack(total.texts)  # (texts, heads, SPREAD)
    spreads = texts.std(dim=0) if len(texts) > 1 else torch.zeros_like(texts[0])
    for head, most in sorted(total.most.items()):
        assert isinstance(total.masses, Tensor) and isinstance(total.entropy, Tensor)
        assert isinstance(total.distance, Tensor)
        entropy = float(total.entropy[head]) / max(1, total.choosing)
        shares = (total.masses[head] / total.queries).tolist()
        masses = dict(zip(MASSES, shares, strict=True))
        distance = float(total.distance[head]) / total.queries
        sinks = sorted(total.sinks[head].values(), key=lambda sink: -sink.weight)[:MOST_SINKS]
        scores = class_scores(masses, entropy, most)
        rows.append(
            HeadRow(
                layer, head, kind, entropy, distance, masses, most, tuple(sinks),
                *classify(scores), scores, dict(zip(SPREAD, spreads[head].tolist(), strict=True)),
            )
        )  # fmt: skip
    return rows


def class_scores(masses: dict[str, float], entropy: float, most: Sink) -> dict[str, float]:
    """How much a head is of each of `CLASSES`, from 0 to 1.

    A special token that takes much makes a separator head, any other a sink head.
    """
    made = {
        "separator": masses["cls"] + masses["sep"],
        "sink": 0.0 if most.is_special else most.weight,
        "broad": entropy,
    }
    return {name: made[name] if name in made else masses[name] for name in CLASSES}


def classify(scores: dict[str, float]) -> tuple[str, float]:
    """The class of a head and its score; see `CLASS_MASS` and `BROAD_ENTROPY`."""
    if scores["broad"] >= BROAD_ENTROPY:
        return "broad", scores["broad"]
    best = max(CLASSES[:-2], key=lambda name: scores[name])
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
    half_window = config.half_window(layer)
    heads = config.num_attention_heads
    kinds = _token_kinds(recording)  # (seq, 4)
    received = torch.zeros(heads, seq, dtype=torch.float64)
    positions = torch.arange(seq, device=kinds.device)
    reach = seq if half_window is None else half_window
    allowed = (positions + reach + 1).clamp(max=seq) - (positions - reach).clamp(min=0)
    block = max(16, min(256, BLOCK_WEIGHTS // (heads * seq)))
    for start, low, weights in recording.attention_rows(layer, None, block):
        rows, columns = weights.shape[1:]
        queries, keys = positions[start : start + rows], positions[low : low + columns]
        choices = to_float64(allowed[start : start + rows])
        entropy = to_float64(torch.special.entr(weights).sum(dim=-1))  # (heads, rows)
        total.entropy = total.entropy + (entropy / choices.log().where(choices > 1, 1.0)).sum(1)
        away = (queries[:, None] - keys).abs().to(weights.dtype)
        total.distance = total.distance + _weighted(weights, away)
        placed = _offset_masses(weights, queries - low, half_window)  # self, previous, next, edge
        named = to_float64(weights @ kinds[low : low + columns].to(weights.dtype)).sum(1)
        far = _weighted(weights, (away > config.local_attention // 2).to(weights.dtype))
        # In the order of MASSES.
        masses = torch.cat((placed[:, :3], named, placed[:, 3:], far[:, None]), dim=1)
        total.masses = total.masses + masses
        received[:, low : low + columns] += to_float64(weights.sum(dim=1))
    total.queries += seq
    total.choosing += int((allowed > 1).sum())
    evenly = 1 / float(to_float64(allowed).mean())
    bar = max(SINK_WEIGHT, 2 * evenly)
    for head, row in enumerate(received / allowed.cpu()):
        _add_sinks(total, recording, (layer, head, text), row, bar)


def _weighted(weights: Tensor, of: Tensor) -> Tensor:
    """(heads, query, key) weights times (query, key), summed over both: (heads,) float64."""
    return to_float64(torch.einsum("hqk,qk->hq", weights, of)).sum(dim=1)


def _token_kinds(recording: Recording) -> Tensor:
    """(seq, 4) of 0 and 1: [CLS], [SEP], punctuation, [MASK]."""
    encoding = recording.encoding
    device = next(iter(recording.values.values())).device
    kinds = torch.zeros(len(encoding), 4, device=device)
    for i, (token, token_id) in enumerate(zip(encoding.tokens, encoding.ids, strict=True)):
        kinds[i, 0] = token_id == encoding.cls_id
        kinds[i, 1] = token_id == encoding.sep_id
        kinds[i, 2] = is_punctuation(token)
        kinds[i, 3] = i in encoding.mask_positions
    return kinds


def is_punctuation(token: str) -> bool:
    """Whether a token is nothing but punctuation, spaces aside."""
    marks = token.strip()
    return bool(marks) and all(unicodedata.category(mark).startswith("P") for mark in marks)


def _offset_masses(weights: Tensor, places: Tensor, half_window: int | None) -> Tensor:
    """Summed weight on a query's own place, the one before, the one after, and the edges.

    Args:
        weights: (heads, query, key).
        places: column of each query's own position, (query,).
        half_window: None for a global layer, which has no edge.

    Returns:
        (heads, 4) float64.
    """

    def at(offset: int) -> Tensor:
        columns = places + offset
        inside = (columns >= 0) & (columns < weights.shape[2])
        picked = columns.clamp(0, weights.shape[2] - 1)[None, :, None]
        found = weights.gather(2, picked.expand(len(weights), -1, 1))[..., 0]  # (heads, query)
        return to_float64(found * inside).sum(dim=1)

    edge = torch.zeros_like(at(0)) if not half_window else at(-half_window) + at(half_window)
    return torch.stack((at(0), at(-1), at(1), edge), dim=1)


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


def similar_heads(
    recording: Recording,
    layer: int,
    head: int,
    queries: int = 64,
    *,
    progress: Progress | None = None,
) -> tuple[HeadSimilarity, ...]:
    """All other heads by how alike their rows are to this one's, the most alike first.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: from 0.
        queries: at most so many rows are compared, evenly spaced over the text.
        progress: called with the layers done and all there are.

    Raises:
        RangeError: the layer or head is outside the model.
    """
    config, seq = recording.config, len(recording)
    check_index("head", head, config.num_attention_heads)
    count = min(queries, seq)
    rows = [i * (seq - 1) // max(1, count - 1) for i in range(count)]
    own = recording.attention(layer, head, rows)  # (1, query, key)
    found = []
    for other in range(config.num_hidden_layers):
        for place in range(config.num_attention_heads):
            if (other, place) != (layer, head):
                theirs = recording.attention(other, place, rows)
                distance = float(jensen_shannon(own[0], theirs[0]).mean())
                found.append(HeadSimilarity(other, place, distance))
        if progress is not None:
            progress(other + 1, config.num_hidden_layers)
    return tuple(sorted(found, key=lambda each: (each.distance, each.layer, each.head)))


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Jensen-Shannon distance of distributions (..., key), (...,), from 0 to 1 (base 2)."""
    p, q = to_float64(p), to_float64(q)
    middle = torch.special.entr((p + q) / 2).sum(dim=-1)
    sides = (torch.special.entr(p) + torch.special.entr(q)).sum(dim=-1) / 2
    divergence = (middle - sides) / torch.log(torch.tensor(2.0, dtype=torch.float64))
    distance: Tensor = divergence.clamp(0.0, 1.0).sqrt()
    return distance
