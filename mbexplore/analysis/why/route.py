"""Which heads carry the difference between a text and its counterfactual, by greedy search.

Activation patching of every head both ways (Zhang and Nanda 2024, arXiv:2309.16042) gives the
candidates; the search then drops, one at a time, the head without which most of the difference
remains, as ACDC does with edges (Conmy et al. 2023, arXiv:2304.14997). Every choice is a measured
effect, never an attention weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.why.evidence import fewer
from mbexplore.analysis.why.pair import Part, TextPair, counted
from mbexplore.analysis.why.sensitivity import estimate
from mbexplore.hooks import Progress
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording

MOST_HEADS, LEAST_HEADS = 64, 16
"""Heads that are measured, those with the largest estimates; as below, fewer in long texts."""
SPLIT_HEADS, LEAST_SPLIT = 16, 8
"""Heads that are measured at single tokens."""
MOST_QUERIES, LEAST_QUERIES = 8, 2
"""Tokens at which a head is measured alone, in texts of more than `FEW`."""
FEW = 16
CANDIDATES = 16
"""Heads with which the search begins; in long texts fewer, but as many as may be named."""
LEAST = 0.01
"""Share of the difference below which a head's effect is none."""
MOST_KEYS, LEAST_KEYS = 8, 3
"""Keys measured for a head, those that give it most."""
NEAR = 0.03
"""Fewer heads are chosen where they come so close to the best."""


@dataclass(frozen=True)
class Step:
    """A head on the way, and what it reads.

    Attributes:
        layer: from 0.
        head: from 0.
        query: the token at which it writes.
        key: the token whose value it takes there, by measured effect.
        restored: share of the difference that its output alone brings to the counterfactual.
        restored_from_key: what of it the key alone brings.
        weight: attention weight from query to key, on the text.
        lost: share of the difference that goes where it alone is the counterfactual's.
        kind: of the layer: "global" or "local".
        distance: of query and key, in tokens.
        in_window: whether a local layer of this model reaches that far.
    """

    layer: int
    head: int
    query: int
    key: int
    restored: float
    restored_from_key: float
    weight: float
    lost: float
    kind: LayerKind
    distance: int
    in_window: bool

    @property
    def part(self) -> Part:
        """The head at its token."""
        return Part(self.layer, self.head, self.query)

    @property
    def name(self) -> str:
        """The head, as heads are named: "6.3"."""
        return f"{self.layer}.{self.head}"


@dataclass(frozen=True)
class Measured:
    """A part with its effects alone.

    Attributes:
        part: the head and the token.
        restored: share of the difference it brings to the counterfactual.
        lost: share that goes where it is the counterfactual's.
    """

    part: Part
    restored: float
    lost: float

    @property
    def effect(self) -> float:
        """The larger of both."""
        return max(self.restored, self.lost)


def most_heads(seq: int) -> int:
    """Heads that are measured at most in a text of so many tokens."""
    return fewer(MOST_HEADS, LEAST_HEADS, seq)


def candidates(pair: TextPair, named: int, progress: Progress | None = None) -> list[Measured]:
    """The parts with the largest effects alone, falling.

    Args:
        pair: both texts.
        named: heads that may be named.
        progress: called with the runs done and all there are; what it raises ends the work.
    """
    config, seq = pair.clean.config, len(pair)
    layers, per_layer = range(config.num_hidden_layers), range(config.num_attention_heads)
    heads = [(layer, head) for layer in layers for head in per_layer]
    most = most_heads(seq)
    effects = estimate(pair) if seq > FEW or len(heads) > most else None  # (layers, heads, seq)
    if effects is not None and len(heads) > most:
        size = np.abs(effects).sum(axis=2)
        heads = sorted(heads, key=lambda one: -size[one])[:most]
    whole = [[Part(layer, head, i) for i in range(seq)] for layer, head in heads]
    total = 2 * len(whole)
    both = (
        pair.restored(whole, counted(progress, 0, total)),
        1 - pair.replaced(whole, counted(progress, len(whole), total)),
    )
    best = np.maximum(*both)
    order = [int(i) for i in np.argsort(-best, kind="stable") if best[i] > LEAST]
    order = order[: fewer(SPLIT_HEADS, LEAST_SPLIT, seq)]
    parts = [
        Part(*heads[i], query)
        for i in order
        for query in _queries(pair, heads[i], None if effects is None else effects[heads[i]])
    ]
    alone = [[one] for one in parts]
    restored, lost = pair.restored(alone), 1 - pair.replaced(alone)
    found = [Measured(*each) for each in zip(parts, restored.tolist(), lost.tolist(), strict=True)]
    found = [one for one in found if one.effect > LEAST]
    found.sort(key=lambda one: -one.effect)
    return found[: fewer(CANDIDATES, named, seq)]


def _queries(
    pair: TextPair, head: tuple[int, int], effects: NDArray[np.float64] | None
) -> list[int]:
    """Tokens at which a head differs between the texts, those that matter most of many."""
    layer, number = head
    change = pair.z(pair.clean, layer)[number] - pair.z(pair.corrupted, layer)[number]
    moved = [i for i, size in enumerate(change.norm(dim=-1).tolist()) if size > 0]
    if effects is None:
        return moved
    most = fewer(MOST_QUERIES, LEAST_QUERIES, len(pair))
    return sorted(moved, key=lambda i: -abs(effects[i]))[:most]


def prune(
    pair: TextPair, parts: Sequence[Part], tokens: Sequence[int], progress: Progress | None = None
) -> list[tuple[tuple[Part, ...], float]]:
    """Drops parts one at a time, each time the one without which most remains.

    Args:
        pair: both texts.
        parts: where the search begins.
        tokens: tokens that are kept throughout.
        progress: called with the parts dropped and all there are; what it raises ends the work.

    Returns:
        The parts that are kept and the share of the difference with them, from all to none.
    """
    kept = tuple(parts)
    path = [(kept, float(pair.kept([kept], tokens)[0]))]
    for number in range(len(parts)):
        fewer = [tuple(one for one in kept if one != out) for out in kept]
        shares = pair.kept(fewer, tokens)
        best = int(np.argmax([closeness(share) for share in shares]))
        kept = fewer[best]
        path.append((kept, float(shares[best])))
        if progress is not None:
            progress(number + 1, len(parts))
    return path


def closeness(share: float) -> float:
    """How close a share is to the whole: 1 at 1, less on both sides."""
    return 1 - abs(1 - share)


def choose(
    path: Sequence[tuple[tuple[Part, ...], float]], most: int, enough: float
) -> tuple[Part, ...]:
    """The fewest parts that keep enough of the difference; else the best of at most `most`."""
    short = [(parts, closeness(share)) for parts, share in path if len(parts) <= most][::-1]
    for parts, share in short:
        if share >= enough:
            return parts
    best = max(share for _, share in short)
    return next(parts for parts, share in short if share >= best - NEAR)


def steps_of(
    pair: TextPair, parts: Sequence[Part], progress: Progress | None = None
) -> tuple[Step, ...]:
    """What each part reads, and its effects alone, in the order of the layers."""
    config = pair.clean.config
    reach = max((config.half_window(i) or 0 for i in range(config.num_hidden_layers)), default=0)
    restored = pair.restored([[one] for one in parts])
    lost = 1 - pair.replaced([[one] for one in parts])
    found = []
    for number, part in enumerate(parts):
        added = _by_key(pair, part)  # (seq, head_dim)
        most = min(fewer(MOST_KEYS, LEAST_KEYS, len(pair)), len(added))
        strongest = added.norm(dim=-1).topk(most).indices.tolist()
        shares = pair.added(part, added[strongest])
        best = int(np.argmax(shares))
        key = strongest[best]
        weight = float(pair.clean.attention(part.layer, part.head, [part.query], [key])[0, 0, 0])
        distance = abs(key - part.query)
        found.append(
            Step(
                *part, key, float(restored[number]), float(shares[best]), weight,
                float(lost[number]), config.layer_kinds[part.layer], distance, distance <= reach,
            )
        )  # fmt: skip
        if progress is not None:
            progress(number + 1, len(parts))
    return tuple(sorted(found, key=lambda step: step.part))


def _by_key(pair: TextPair, part: Part) -> Tensor:
    """What each key adds to a head's output on the text more than on the counterfactual."""

    def mix(recording: Recording) -> Tensor:
        weights = recording.attention(part.layer, part.head, [part.query])[0, 0]  # (seq,)
        values = recording.v(part.layer)[part.head]  # (seq, head_dim)
        return weights.to(values.dtype)[:, None] * values

    return mix(pair.clean) - mix(pair.corrupted)
