"""One line on what the strongest uses of a head or a neuron have in common.

It comes out of the store alone: for the query, the key, what stands before the key, and the
distance, the description is taken that says most against the whole corpus, and those are put
together that most uses share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

from mbexplore.corpus.reader import Store
from mbexplore.corpus.tables import STRONGEST
from mbexplore.corpus.token_classes import CLASSES
from mbexplore.display.numbers import percent
from mbexplore.text import word

SHARED = 0.6
"""The least share of the uses that a line is about."""


@dataclass(frozen=True)
class Trait:
    """A description that some of the uses fit.

    Attributes:
        phrase: in words.
        fits: of each use, whether it does.
        score: the share that does, times the log of how much larger it is than by chance.
    """

    phrase: str
    fits: tuple[bool, ...]
    score: float

    @classmethod
    def of(cls, phrase: str, fits: Iterable[bool], chance: float) -> Trait:
        """With its score."""
        found = tuple(fits)
        share = sum(found) / len(found)
        return cls(phrase, found, share * log(share / max(chance, 1e-9)) if share else 0.0)


@dataclass(frozen=True)
class Summary:
    """What uses have in common.

    Attributes:
        share: of the uses that have all of it; None where most have nothing in common.
        uses: how many there are.
        what: "attends from a mask to a capitalised word", or what there is to say instead.
    """

    share: float | None
    uses: int
    what: str

    @property
    def line(self) -> str:
        """A sentence."""
        if self.share is None:
            return self.what
        return f"On {percent(self.share, 0)} of its {self.uses} strongest uses it {self.what}."


def head_summaries(
    store: Store, heads: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Summary]:
    """What each of some heads does, by layer and head."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = {one: [] for one in heads}
    rows = store.query(
        "SELECT layer, head, query_token, key_token, key - query AS distance, "
        "coalesce(tokens[key], '') AS before, len(tokens) AS length "
        "FROM head_examples JOIN texts USING (text) WHERE interval = ? AND "
        "list_contains(?, layer) ORDER BY layer, head, rank",
        [STRONGEST, sorted({layer for layer, _ in heads})],
    )
    for row in rows:
        found.get((row["layer"], row["head"]), []).append(row)
    return {one: _head_summary(store, uses) for one, uses in found.items()}


def unit_summary(store: Store, place: Mapping[str, int]) -> Summary:
    """What a neuron, or a feature, does.

    Args:
        store: the corpus.
        place: its layer and neuron, or its feature.
    """
    [unit] = place.keys() - {"layer"}
    where = " AND ".join(f"{name} = ?" for name in place)
    rows = store.query(
        f"SELECT token, coalesce(tokens[position], '') AS before FROM {unit}_examples "
        f"JOIN texts USING (text) WHERE interval = ? AND {where} ORDER BY rank",
        [STRONGEST, *place.values()],
    )
    if not rows:
        return Summary(None, 0, "It fires on no token of the corpus.")
    traits = {
        "token": _of_tokens(store, [one["token"] for one in rows]),
        "before": _of_tokens(store, [one["before"] for one in rows]),
    }
    chosen, share = _together(traits, len(rows))
    if not chosen:
        return _nothing(len(rows), "token or class")
    after = f" after {chosen['before']}" if "before" in chosen else ""
    return Summary(share, len(rows), f"fires on {chosen.get('token', 'a token')}{after}")


def _head_summary(store: Store, uses: Sequence[dict[str, Any]]) -> Summary:
    if not uses:
        return Summary(None, 0, "It attends to no token of a text.")
    chance = sum(1 / one["length"] for one in uses) / len(uses)
    traits = {
        "query": _of_tokens(store, [one["query_token"] for one in uses]),
        "key": _of_tokens(store, [one["key_token"] for one in uses]),
        "before": _of_tokens(store, [one["before"] for one in uses]),
        "distance": _of_distances([one["distance"] for one in uses], chance),
    }
    chosen, share = _together(traits, len(uses))
    if not chosen:
        return _nothing(len(uses), "token, class or distance")
    source = f" from {chosen['query']}" if "query" in chosen else ""
    way = chosen.get("distance", "")
    if way == "itself":
        return Summary(share, len(uses), f"attends{source} to itself")
    key = chosen.get("key", "the token" if way.startswith("just") else "a token")
    after = f" after {chosen['before']}" if "before" in chosen else ""
    what = f"attends{source} to {key}{after}{',' * bool(after and way)}{f' {way}' if way else ''}"
    return Summary(share, len(uses), what)


def _nothing(uses: int, what: str) -> Summary:
    sentence = f"No {what} is shared by {percent(SHARED, 0)} of its {uses} strongest uses."
    return Summary(None, uses, sentence)


def _of_tokens(store: Store, tokens: Sequence[str]) -> Trait:
    """What says most of some tokens: one of them, with or without a space, or a class."""
    [(first, _)] = Counter(token.removeprefix(" ") for token in tokens).most_common(1)
    same = (first, f" {first}")
    quoted = first if first.startswith("[") else f"'{word(first)}'"
    quoted = CLASSES["mask"].phrase if CLASSES["mask"].has(first) else quoted
    chance = sum(store.token_shares.get(one, 0.0) for one in same)
    traits = [Trait.of(quoted, (one in same for one in tokens), chance)]
    traits += [
        Trait.of(kind.phrase, (kind.has(one) for one in tokens), store.class_shares[name])
        for name, kind in CLASSES.items()
    ]
    return _best(traits)


def _of_distances(distances: Sequence[int], chance: float) -> Trait:
    """What says most of how far a key is: a distance, or a side."""
    [(first, _)] = Counter(distances).most_common(1)
    side, size = "before" if first < 0 else "after", abs(first)
    phrase = (
        "itself" if not first else f"just {side} it" if size == 1 else f"{size} tokens {side} it"
    )
    tests: dict[str, tuple[Callable[[int], bool], float]] = {
        phrase: (lambda one: one == first, chance),
        "before it": (lambda one: one < 0, 0.5),
        "after it": (lambda one: one > 0, 0.5),
    }
    return _best([
        Trait.of(name, map(test, distances), by_chance) for name, (test, by_chance) in tests.items()
    ])  # fmt: skip


def _best(traits: Iterable[Trait]) -> Trait:
    return max(
        traits, key=lambda one: one.score if sum(one.fits) >= SHARED * len(one.fits) else -1.0
    )


def _together(traits: Mapping[str, Trait], uses: int) -> tuple[dict[str, str], float]:
    """The traits that enough uses have together, by what they are of, and the share that does."""
    chosen: dict[str, str] = {}
    all_fit = [True] * uses
    for name, trait in sorted(traits.items(), key=lambda pair: -pair[1].score):
        both = [a and b for a, b in zip(all_fit, trait.fits, strict=True)]
        if trait.score > 0 and sum(both) >= SHARED * uses:
            chosen[name], all_fit = trait.phrase, both
    return chosen, sum(all_fit) / uses
