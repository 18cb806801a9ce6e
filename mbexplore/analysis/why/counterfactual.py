"""The smallest change of a text that moves the answer, found by the model itself.

The words that the answer rests on are masked and refilled by the model's own likely words, as many
tokens as before. Fewer words changed go before more; among those, a change counts by the product of
how much the answer rests on the word, how likely the new word is there, and how likely the new
answer is, before the change and after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mbexplore.analysis.target import Target
from mbexplore.analysis.token_spans import word_spans
from mbexplore.analysis.why.evidence import Evidence
from mbexplore.analysis.why.question import Question, Scored, same_word
from mbexplore.analysis.why.refill import MOST_TOKENS, Refill, refills, word_sets
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import MbexploreError, RangeError
from mbexplore.hooks import Progress

OTHERS = 3
"""Further changes of the same words that are kept."""
BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Change:
    """A token that was replaced: where, the token of the text, and the one in its place."""

    position: int
    old: str
    new: str


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A text of as many tokens that gets another answer.

    Attributes:
        encoding: the text.
        changes: the tokens replaced.
        target: its answer, as an option of the question's text.
        swaps: the words that were replaced, old and new.
        answer: its answer, with its probability there.
        is_top: whether that is the model's first answer there, as it is unless the rival was named.
        is_given: whether it was given and not found.
        likelihood: of the new words in their places, by the model; for a model that predicts no
            words, their cosine similarity to the old ones; None where it was given.
        tried: texts that were run to find it.
        others: further changes of the same tokens that move the answer, with their answers.
    """

    encoding: Encoding
    changes: tuple[Change, ...]
    target: Target
    swaps: tuple[tuple[str, str], ...]
    answer: Scored
    is_top: bool
    is_given: bool
    likelihood: float | None = None
    tried: int = 0
    others: tuple[tuple[Encoding, Target], ...] = ()


@dataclass(frozen=True)
class _Mover:
    """A refill that gets another answer, with its rank among them."""

    rank: float
    refill: Refill
    answer: int
    probability: float
    is_top: bool


def find(
    question: Question,
    evidence: Evidence,
    *,
    is_named: bool = False,
    progress: Progress | None = None,
) -> Counterfactual | None:
    """The smallest change that moves the answer; None where none of those tried does.

    Args:
        question: what is asked.
        evidence: how much the answer rests on each token.
        is_named: whether the rival was named: a change that puts it before the answer is then
            looked for first.
        progress: called with the sets of words tried and all there may be; what it raises ends the
            work.
    """
    sets, tried = word_sets(question, evidence), 0
    second_best: list[_Mover] = []
    for count in range(1, MOST_TOKENS + 1):
        found: list[_Mover] = []
        for number, words in sets:
            if len(words) == count:
                tries = list(refills(question, evidence, words))
                tried += len(tries)
                found += _movers(question, tries, is_named)
                if progress is not None:
                    progress(number + 1, len(sets))
        found.sort(key=lambda mover: mover.rank, reverse=True)
        if is_named:
            second_best = second_best or [mover for mover in found if mover.is_top]
            found = [mover for mover in found if mover.answer == question.rival.token_id]
        if chosen := _choose(question, found, tried):
            return chosen
    return _choose(question, second_best, tried)


def _choose(question: Question, movers: Sequence[_Mover], tried: int) -> Counterfactual | None:
    """The first that is a text, with others that change the same tokens."""
    texts = ((one, _encoded(question, one.refill.ids)) for one in movers)
    mover, encoding = next(((one, text) for one, text in texts if text is not None), (None, None))
    if mover is None or encoding is None:
        return None
    places, answers = _changed(question, mover), {mover.answer}
    others: list[tuple[Encoding, Target]] = []
    rest = [one for one in movers if one is not mover and _changed(question, one) == places]
    # Other answers first: those say most of whether the same parts serve other changes.
    for one in _new_first(rest, answers):
        text = _encoded(question, one.refill.ids) if len(others) < OTHERS else None
        if text is not None:
            others.append((text, question.readout.option(one.answer)))
    found = _counterfactual(
        question, encoding, mover.answer, mover.probability, mover.is_top,
        mover.refill.likelihood, tried,
    )  # fmt: skip
    return replace(found, others=tuple(others))


def _new_first(movers: Sequence[_Mover], answers: set[int]) -> list[_Mover]:
    """Those that bring an answer for the first time, then the rest."""
    new: list[_Mover] = []
    again: list[_Mover] = []
    for one in movers:
        (again if one.answer in answers else new).append(one)
        answers.add(one.answer)
    return new + again


def _changed(question: Question, mover: _Mover) -> list[int]:
    pairs = zip(question.encoding.ids, mover.refill.ids, strict=True)
    return [i for i, (old, new) in enumerate(pairs) if old != new]


def check(question: Question, encoding: Encoding, *, is_named: bool = False) -> Counterfactual:
    """A text that was given, as a counterfactual.

    Raises:
        RangeError: it has another number of tokens, or gets the same answer.
    """
    if len(encoding) != len(question.encoding):
        raise RangeError(
            f"The counterfactual has {len(encoding):,} tokens and the text "
            f"{len(question.encoding):,}; give one of as many tokens."
        )
    logits = question.readout.logits(question.ids_of(encoding.ids))[0]
    new = top = int(logits.argmax())
    if is_named and question.difference(logits[None])[0] < 0 < question.difference_here:
        new = question.rival.token_id
    elif question.readout.option(top) in (question.top, question.target):
        raise RangeError(
            f"The counterfactual is answered {question.readout.name(top)!r} as well, so it shows "
            "no difference; give a text that gets another answer."
        )
    probability = float(question.readout.probabilities(logits)[new])
    return _counterfactual(question, encoding, new, probability, new == top)


def _counterfactual(
    question: Question,
    encoding: Encoding,
    answer: int,
    probability: float,
    is_top: bool,
    likelihood: float | None = None,
    tried: int = 0,
) -> Counterfactual:
    both = zip(question.encoding.tokens, encoding.tokens, strict=True)
    changes = tuple(Change(i, old, new) for i, (old, new) in enumerate(both) if old != new)
    target = question.readout.option(answer)
    name = target.token
    if target.position is not None and question.end is not None:  # a place in this text
        name = f"{encoding.tokens[target.position]} ({target.position})"
    return Counterfactual(
        encoding=encoding,
        changes=changes,
        target=target,
        swaps=tuple(_swaps(question.encoding, encoding, changes)),
        answer=Scored(name, probability),
        is_top=is_top,
        is_given=likelihood is None,
        likelihood=likelihood,
        tried=tried,
    )


def _swaps(old: Encoding, new: Encoding, changes: Sequence[Change]) -> Iterator[tuple[str, str]]:
    """Whole words in which a token was replaced, as they are in both texts."""
    changed = {one.position for one in changes}
    for start, stop in word_spans(old):
        if changed & set(range(start, stop)):
            pair = ("".join(text.tokens[start:stop]).strip() for text in (old, new))
            yield next(pair), next(pair)


def _movers(question: Question, tries: Sequence[Refill], is_named: bool) -> Iterator[_Mover]:
    """The refills that get another answer, or put a named rival before the answer."""
    readout, size = question.readout, max(1, BATCH_TOKENS // len(question.encoding))
    target, rival, clean = question.target, question.rival, question.logits
    before = readout.probabilities(clean)
    for first in range(0, len(tries), size):
        some = tries[first : first + size]
        ids = torch.tensor([one.ids for one in some], device=readout.model.device)
        logits = readout.logits(ids)
        shares = readout.probabilities(logits)
        for row, refill in enumerate(some):
            top = int(logits[row].argmax())
            news = set() if _is_answer(question, readout.option(top)) else {top}
            ahead = [_difference(one, target, rival.token_id) for one in (clean, logits[row])]
            if is_named and ahead[0] > 0 > ahead[1]:
                news.add(rival.token_id)
            for new in news:
                if _difference(clean, target, new) > _difference(logits[row], target, new):
                    probability = float(shares[row, new])
                    rank = refill.rests * refill.likelihood * float(before[new]) * probability
                    yield _Mover(rank, refill, new, probability, new == top)


def _is_answer(question: Question, option: Target) -> bool:
    """Whether it is the answer explained, or the model's own, but for letter case."""
    return same_word(option, question.target) or same_word(option, question.top)


def _difference(logits: Tensor, target: Target, other: int) -> float:
    return float(logits[target.token_id] - logits[other])


def _encoded(question: Question, ids: Sequence[int]) -> Encoding | None:
    """The text that these ids are, where its tokens are these and no others."""
    encoding, tokens = question.encoding, question.explorer.tokenizer
    pieces, end = [], 0
    for i, (start, stop) in enumerate(encoding.offsets):
        if ids[i] != encoding.ids[i]:
            old, new = encoding.text[start:stop], tokens.token(ids[i])
            pieces += [encoding.text[end:start], new if old[:1].isspace() else new.lstrip()]
            end = stop
    text = "".join(pieces) + encoding.text[end:]
    first, second = text, None
    if encoding.pair_start is not None:
        moved = len(text) - len(encoding.text)
        changed = [i for i in range(len(ids)) if ids[i] != encoding.ids[i]]
        before = sum(encoding.offsets[i][0] < encoding.pair_start for i in changed)
        if before not in (0, len(changed)):
            return None
        start = encoding.pair_start + (moved if before else 0)
        first, second = text[: start - 1], text[start:]
    try:
        found = question.explorer.encode(first, pair=second, truncate=encoding.is_cut)
    except MbexploreError:
        return None
    return found if found.ids == tuple(ids) else None
