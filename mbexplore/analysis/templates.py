"""Templates: one text with slots, every filling of them, and words scored at the mask of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from math import prod
from string import Formatter

import numpy as np
import numpy.typing as npt

from mbexplore.analysis.intervals import bootstrap
from mbexplore.analysis.score import Order, TargetScores, score_many
from mbexplore.errors import RangeError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress
from mbexplore.text import quoted

MOST_FILLINGS = 100_000
MOST_COMPARED = 4
"""Values of a slot, and words, of which every two are compared."""


@dataclass(frozen=True)
class Filling:
    """One way to fill the slots of a template: a value for each, and the text that they give."""

    values: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class GroupMean:
    """A word over all fillings that have one value in a slot.

    Attributes:
        slot: its name.
        value: in it.
        target: the word.
        count: fillings.
        probability: their mean.
        log_probability: likewise, in nats.
    """

    slot: str
    value: str
    target: str
    count: int
    probability: float
    log_probability: float


@dataclass(frozen=True)
class Difference:
    """How much likelier a word is with one value in a slot than with another, or than another word.

    Attributes:
        slot: whose values are compared; "" where two words are, over all fillings.
        first: a value of the slot, or a word.
        second: what is subtracted.
        target: of which word, or "he less she" for a difference of two.
        count: pairs of fillings that are alike but for the slot; or fillings.
        mean: of the differences of log-probabilities, in nats.
        low: lower end of its 95% interval; None for one pair alone.
        high: upper end.
    """

    slot: str
    first: str
    second: str
    target: str
    count: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class TemplateScores:
    """Words scored in every filling of a template.

    Attributes:
        template: the text with slots.
        slots: their names, each once.
        fillings: every product of the values.
        scores: one entry a filling.
    """

    template: str
    slots: tuple[str, ...]
    fillings: tuple[Filling, ...]
    scores: tuple[TargetScores, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The words."""
        return tuple(one.text for one in self.scores[0].targets)

    @cached_property
    def log_probabilities(self) -> npt.NDArray[np.float64]:
        """(filling, target), in nats."""
        return np.array([[t.log_probability for t in one.targets] for one in self.scores])

    def values_of(self, slot: str) -> tuple[str, ...]:
        """The values of a slot, each once."""
        place = self.slots.index(slot)
        return tuple(dict.fromkeys(one.values[place] for one in self.fillings))

    @property
    def means(self) -> tuple[GroupMean, ...]:
        """The mean of every word for each value of each slot."""
        return tuple(
            GroupMean(
                slot, value, target, len(rows), float(np.exp(column[rows]).mean()),
                float(column[rows].mean()),
            )
            for slot in self.slots
            for value in self.values_of(slot)
            for rows in [self._rows(slot, value)]
            for target, column in zip(self.targets, self.log_probabilities.T, strict=True)
        )  # fmt: skip

    @cached_property
    def differences(self) -> tuple[Difference, ...]:
        """Paired differences with their intervals: between words, and between values of a slot.

        Of slots with more than `MOST_COMPARED` values, and of as many words, none is made.
        """
        words = list(zip(self.targets, self.log_probabilities.T, strict=True))
        few = words if len(words) <= MOST_COMPARED else []
        pairs = [(a, b, x - y) for (a, x), (b, y) in combinations(few, 2)]
        followed = [*words, *((f"{a} less {b}", values) for a, b, values in pairs)]
        return (
            *(_difference("", a, b, f"{a} less {b}", values) for a, b, values in pairs),
            *(
                _difference(slot, first, second, name, one)
                for slot in self.slots
                if len(self.values_of(slot)) <= MOST_COMPARED
                for first, second in combinations(self.values_of(slot), 2)
                for name, column in followed
                for one in [column[self._rows(slot, first)] - column[self._rows(slot, second)]]
            ),
        )

    def _rows(self, slot: str, value: str) -> list[int]:
        """Fillings with a value in a slot; those of two values pair up in their order."""
        place = self.slots.index(slot)
        return [i for i, one in enumerate(self.fillings) if one.values[place] == value]


def score_template(
    explorer: Explorer,
    template: str,
    fills: Mapping[str, Sequence[str]],
    targets: Sequence[str],
    mask: int = 0,
    *,
    token: int | str | None = None,
    order: Order = "left-to-right",
    progress: Progress | None = None,
) -> TemplateScores:
    """Scores words at a mask of every filling of a template.

    Args:
        explorer: with an MLM head, or one that labels texts or tokens.
        template: a text with `{name}` for a slot, or `{}` for one without a name; `{{` is a brace.
        fills: values by slot. A `{}` takes, in order, the next one that names no slot.
        targets: the words or labels.
        mask: which of the masks, from 0.
        token: see `score.score_targets`.
        order: likewise.
        progress: called with the fillings done and all there are.

    Raises:
        UsageError: the template has no slot, or slots and fills don't match.
        RangeError: there are more than `MOST_FILLINGS` fillings.
        MbexploreError: see `score.score_targets`.
    """
    slots, fillings = fill_template(template, fills)
    texts = [one.text for one in fillings]
    found = score_many(explorer, texts, targets, mask, token=token, order=order, progress=progress)
    scores = tuple(found)
    return TemplateScores(template, slots, fillings, scores)


def fill_template(
    template: str, fills: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], tuple[Filling, ...]]:
    """The names of a template's slots, and every filling; see `score_template`."""
    parts = list(_parts(template))
    named = [name for _, name in parts if name is not None]
    if not named:
        raise UsageError(
            f"The template {quoted(template)} has no slot; put {{}} or {{name}} where a filling "
            "goes."
        )
    nameless = iter([name for name in fills if name not in named])
    names = [name or next(nameless, "") for name in named]
    for given, name in zip(named, names, strict=True):
        if not fills.get(name):
            slot = f"{{{given}}}"
            raise UsageError(f"The slot {slot} has no filling; give {given or 'name'}=WORD,WORD.")
    if unused := next(nameless, None):
        there = ", ".join(f"{{{name}}}" for name in named)
        raise UsageError(f"There is no slot {{{unused}}} in the template; use one of {there}.")
    slots = tuple(dict.fromkeys(names))
    lists = [tuple(dict.fromkeys(fills[slot])) for slot in slots]
    if (count := prod(map(len, lists))) > MOST_FILLINGS:
        raise RangeError(
            f"The template has {count:,} fillings, and {MOST_FILLINGS:,} are the most; give "
            "shorter lists."
        )

    def text_of(values: tuple[str, ...]) -> str:
        of_slot, of_place = dict(zip(slots, values, strict=True)), iter(names)
        return "".join(
            text if name is None else text + of_slot[next(of_place)] for text, name in parts
        )

    return slots, tuple(Filling(values, text_of(values)) for values in product(*lists))


def _parts(template: str) -> Iterator[tuple[str, str | None]]:
    """Text, and the name of the slot after it; "" for `{}`, None for no slot."""
    try:
        for text, name, form, conversion in Formatter().parse(template):
            if form or conversion or not re.fullmatch(r"\w*", name or ""):
                raise UsageError(
                    f"{quoted(name)} is no name of a slot; use letters and digits alone."
                )
            yield text, name
    except ValueError:
        raise UsageError(
            f"The template {quoted(template)} has a single brace; write {{{{ or }}}} for a brace "
            "that is no slot."
        ) from None


def find_slot(text: str) -> str | None:
    """The first slot of a text, "{name}"; None if it is no template."""
    found = re.search(r"(?<!\{)\{\w*\}(?!\})", text)
    return found and found[0]


def _difference(
    slot: str, first: str, second: str, target: str, values: npt.NDArray[np.float64]
) -> Difference:
    low, high = bootstrap(values.tolist()) or (None, None)
    return Difference(slot, first, second, target, len(values), float(values.mean()), low, high)
