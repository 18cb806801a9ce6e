"""Minimal pairs: how often a model prefers the acceptable one of two sentences.

Warstadt et al. 2020, "BLiMP" (arXiv:1912.00582); a sentence's score is its pseudo-log-likelihood
(see `likelihood`). A pair with equal scores counts as wrong: the model has no preference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mbexplore.analysis.intervals import wilson
from mbexplore.analysis.likelihood import Masking, likelihoods
from mbexplore.errors import TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress

ALL = "all"


@dataclass(frozen=True)
class Pair:
    """Two sentences that differ in what is tested.

    Attributes:
        good: the acceptable one.
        bad: the other.
        phenomenon: what is tested.
    """

    good: str
    bad: str
    phenomenon: str = ALL


@dataclass(frozen=True)
class PairScore:
    """The scores of a pair.

    Attributes:
        pair: the sentences.
        good: pseudo-log-likelihood of the acceptable one, in nats.
        bad: of the other.
    """

    pair: Pair
    good: float
    bad: float

    @property
    def difference(self) -> float:
        """By how many nats the acceptable one is ahead."""
        return self.good - self.bad

    @property
    def is_correct(self) -> bool:
        """Whether it is ahead."""
        return self.difference > 0


@dataclass(frozen=True)
class Accuracy:
    """How often the acceptable sentence is ahead.

    Attributes:
        phenomenon: of these pairs; "all" for all there are.
        pairs: how many.
        correct: with the acceptable one ahead.
        ties: with equal scores, which count as wrong.
        accuracy: share of the correct ones.
        low: lower end of its 95% interval (Wilson).
        high: upper end.
        difference: mean difference, in nats.
    """

    phenomenon: str
    pairs: int
    correct: int
    ties: int
    accuracy: float
    low: float
    high: float
    difference: float


@dataclass(frozen=True, eq=False)
class PairScores:
    """Minimal pairs under a model.

    Attributes:
        masking: what is masked with a token.
        scores: one entry a pair.
    """

    masking: Masking
    scores: tuple[PairScore, ...]

    @property
    def overall(self) -> Accuracy:
        """Over all pairs."""
        return _accuracy(ALL, self.scores)

    @property
    def phenomena(self) -> tuple[Accuracy, ...]:
        """One entry a phenomenon, in the order in which they come."""
        by_name: dict[str, list[PairScore]] = {}
        for one in self.scores:
            by_name.setdefault(one.pair.phenomenon, []).append(one)
        return tuple(_accuracy(name, some) for name, some in by_name.items())


def score_pairs(
    explorer: Explorer,
    pairs: Sequence[Pair],
    *,
    masking: Masking = "token",
    progress: Progress | None = None,
) -> PairScores:
    """Scores both sentences of every pair, many packed side by side.

    Args:
        explorer: with an MLM head.
        pairs: one or more.
        masking: what is masked with a token; see `likelihood`.
        progress: called with the pairs done and all there are; what it raises ends the work.

    Raises:
        TextError: there is no pair, or a sentence is empty or too long.
        ModelError: the model has no MLM head.
    """
    if not pairs:
        raise TextError("There is no pair of sentences; give at least one.")
    sentences = (sentence for pair in pairs for sentence in (pair.good, pair.bad))
    return PairScores(masking, tuple(_scores(explorer, pairs, sentences, masking, progress)))


def _scores(
    explorer: Explorer,
    pairs: Sequence[Pair],
    sentences: Iterator[str],
    masking: Masking,
    progress: Progress | None,
) -> Iterator[PairScore]:
    found = likelihoods(explorer, sentences, masking=masking)
    for done, pair in enumerate(pairs, 1):
        good, bad = next(found), next(found)
        # The same tokens are a tie, whatever rounding makes of where they stand in a row.
        same = good.encoding.ids == bad.encoding.ids
        yield PairScore(pair, good.pll, good.pll if same else bad.pll)
        if progress is not None:
            progress(done, len(pairs))


def _accuracy(name: str, scores: Sequence[PairScore]) -> Accuracy:
    count, correct = len(scores), sum(one.is_correct for one in scores)
    return Accuracy(
        name,
        count,
        correct,
        sum(one.difference == 0 for one in scores),
        correct / count,
        *wilson(correct, count),
        sum(one.difference for one in scores) / count,
    )
