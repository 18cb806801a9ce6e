"""One minimal pair, token by token, and the commands that explain the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Headline, Row, Table
from mbexplore.display.data import pick
from mbexplore.display.numbers import significant
from mbexplore.display.story_blocks import Phrase, Sentence, Story
from mbexplore.errors import RangeError
from mbexplore.text import word
from mbexplore.views.likelihood import LikelihoodView, surprise_strip, surprises
from mbexplore.views.patch import PatchView
from mbexplore.views.result import prove
from mbexplore.views.score import ScoreView
from mbexplore.views.shared import listing, records
from mbexplore.views.view import View
from mbexplore.views.why import WhyView

if TYPE_CHECKING:
    from mbexplore.analysis.likelihood import Likelihood, Masking
    from mbexplore.analysis.pairs import Pair
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.session import Session


@dataclass(frozen=True)
class PairToken:
    """A token of a pair: of both sentences, or of one alone where they differ in length.

    Attributes:
        position: in the acceptable sentence.
        token: there.
        log_probability: there, in nats; None for special tokens.
        other_position: in the other sentence.
        other_token: there.
        other_log_probability: there.
    """

    position: int | None
    token: str
    log_probability: float | None
    other_position: int | None
    other_token: str
    other_log_probability: float | None

    @property
    def difference(self) -> float | None:
        """By how many nats it is likelier in the acceptable sentence."""
        if self.log_probability is None or self.other_log_probability is None:
            return None
        return self.log_probability - self.other_log_probability

    @property
    def is_shared(self) -> bool:
        """Whether it is one token in both sentences, scored in both."""
        return self.token == self.other_token and self.difference is not None


@dataclass(frozen=True, eq=False)
class ShownPair:
    """One pair of sentences.

    Attributes:
        number: of the pair, from 0.
        pair: the sentences.
        good: the likelihood of the acceptable one.
        bad: of the other.
        tokens: of both, in their order.
        story: what there is to look at next, each with its command.
    """

    number: int
    pair: Pair
    good: Likelihood
    bad: Likelihood
    tokens: tuple[PairToken, ...]
    story: tuple[Sentence, ...]

    @property
    def difference(self) -> float:
        """By how many nats the acceptable sentence is ahead."""
        return self.good.pll - self.bad.pll

    def blocks(self) -> Iterator[Block]:
        """By how much the acceptable one is ahead, surprise by token, and what there is next."""
        ahead = self.difference
        what = f"ahead by {significant(ahead)}" if ahead > 0 else f"behind by {significant(-ahead)}"
        what = "tied with the other" if ahead == 0 else f"{what} nats"
        yield Headline(f"Pair {self.number:,}: the acceptable sentence is {what}.")
        sides = {"acceptable": self.good, "other": self.bad}
        high = max(max(surprises(one.log_probabilities)) for one in sides.values()) or None
        yield Row(tuple(
            surprise_strip(one, f", the {name} sentence", high) for name, one in sides.items()
        ))  # fmt: skip
        yield Story(self.story)
        yield _table(self)

    def to_json(self) -> dict[str, Any]:
        """Both sentences with their tokens, and the commands that go on from here."""
        plain = pick(
            self, "number", "pair.phenomenon", sentence_good="pair.good", sentence_bad="pair.bad",
            pll_good="good.pll", pll_bad="bad.pll", difference="difference", tokens="tokens",
        )  # fmt: skip
        return plain | {
            "next": [{"text": one.text, "command": one.commands[0]} for one in self.story]
        }

    def table(self) -> Table:
        """A row for each token."""
        return records(self.tokens, "difference")


def show_pair(session: Session, number: int, pair: Pair, masking: Masking) -> ShownPair:
    """Looks at one pair.

    Args:
        session: whose model it is.
        number: of the pair.
        pair: the sentences.
        masking: what is masked with a token.
    """
    from mbexplore.analysis.likelihood import likelihoods

    sentences = [pair.good, pair.bad]
    good, bad = likelihoods(session.explorer, sentences, masking=masking)
    tokens = tuple(_tokens(good, bad))
    story = tuple(_story(session, good, bad, tokens))
    return ShownPair(number, pair, good, bad, tokens, story)


def _tokens(good: Likelihood, bad: Likelihood) -> Iterator[PairToken]:
    """The tokens of the common beginning, those between, and those of the common end."""
    ids = good.encoding.ids, bad.encoding.ids
    lengths = len(ids[0]), len(ids[1])
    start, stop = _common(*ids)
    values = [dict(zip(one.positions, one.log_probabilities, strict=True)) for one in (good, bad)]
    names = good.encoding.tokens, bad.encoding.tokens
    between = max(lengths) - start - stop
    for i in range(start + between + stop):
        ended = i - start - between  # from the first token of the common end on
        places = [
            length - stop + ended if ended >= 0 else i if i < length - stop else None
            for length in lengths
        ]
        sides = [
            (None, "", None) if place is None else (place, names[n][place], values[n].get(place))
            for n, place in enumerate(places)
        ]
        yield PairToken(*sides[0], *sides[1])


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, int]:
    """How many tokens two texts begin with alike, and how many they end with."""
    most = min(len(a), len(b))
    start = next((i for i in range(most) if a[i] != b[i]), most)
    stop = next((i for i in range(most - start) if a[-1 - i] != b[-1 - i]), most - start)
    return start, stop


def _story(
    session: Session, good: Likelihood, bad: Likelihood, tokens: tuple[PairToken, ...]
) -> Iterator[Sentence]:
    ahead = good.pll - bad.pll
    yield _step(
        f"Pseudo-log-likelihood {significant(good.pll)} against {significant(bad.pll)} nats: the "
        f"acceptable sentence is {'ahead' if ahead > 0 else 'not ahead'}.",
        LikelihoodView(masking=good.masking, hf=False), session.beside(good.encoding.texts[0]),
    )  # fmt: skip
    yield from _words(session, good.encoding, bad.encoding)
    shared = [one for one in tokens if one.is_shared]
    if shared:
        furthest = max(shared, key=lambda one: abs(one.difference or 0.0))
        yield from _context(session, good.encoding, bad.encoding, furthest)


def _words(session: Session, good: Encoding, bad: Encoding) -> Iterator[Sentence]:
    """What stands in one sentence and not in the other, at a mask in their place."""
    start, stop = _common(good.ids, bad.ids)
    spans = [(start, len(one) - stop) for one in (good, bad)]
    # A word of several tokens is masked whole, or none of its pieces would be what it is.
    spans = [_whole_words(one, *span) for one, span in zip((good, bad), spans, strict=True)]
    texts = [_masked(session, one, *span) for one, span in zip((good, bad), spans, strict=True)]
    names = [_between(one, *span) for one, span in zip((good, bad), spans, strict=True)]
    if texts[0] != texts[1] or not all(names):
        return  # words are in another order, or one sentence has more of them
    other = session.beside(texts[0])
    versus = f"{_quoted(names[0])} against {_quoted(names[1])}"
    targets = ScoreView(targets=tuple(names), hf=False)
    yield _step(f"Where the sentences differ, {versus}: how likely is each?", targets, other)
    if all(_is_token(other, name) for name in names):
        yield _step(
            f"Why {_quoted(names[0])} and not {_quoted(names[1])}?",
            WhyView(answer=names[0], rival=names[1]), other,
        )  # fmt: skip


def _context(session: Session, good: Encoding, bad: Encoding, one: PairToken) -> Iterator[Sentence]:
    """The token of both sentences whose likelihood differs most: where does that come from?"""
    assert one.position is not None and one.other_position is not None
    sides = [(good, one.position), (bad, one.other_position)]
    if (one.difference or 0.0) < 0:
        sides.reverse()
    clean, corrupted = (
        session.beside(_masked(session, encoding, place, place + 1)) for encoding, place in sides
    )
    target = sides[0][0].ids[sides[0][1]]
    if not all(len(each.encoding.mask_positions) == 1 for each in (clean, corrupted)):
        return  # a piece of a word: the mask beside it is read as another one
    logits = [session.explorer.fill_masks(each.encoding).logits[0] for each in (clean, corrupted)]
    rival = next(int(i) for i in logits[1].topk(2).indices if i != target)
    names = [session.explorer.tokenizer.token(i) for i in (target, rival)]
    answer, other = (_spelled(clean, name) for name in names)
    largest = abs(one.difference or 0.0)
    yield _step(
        f"Of the tokens in both, {_quoted(names[0])} differs most, by {significant(largest)} nats: "
        "where does that difference arise?",
        PatchView(other=corrupted.texts[0], answer=answer, other_answer=other), clean,
    )  # fmt: skip
    here, there = (float(each[target] - each[rival]) for each in logits)
    if len(clean.encoding) == len(corrupted.encoding) and here > 0 > there:
        yield _step(
            f"Why {_quoted(names[0])} in the one, and {_quoted(names[1])} in the other?",
            WhyView(answer=answer, rival=other, counterfactual=corrupted.texts[0]), clean,
        )  # fmt: skip


def _quoted(token: str) -> str:
    return f"'{word(token)}'"


def _step(text: str, view: View[Any], session: Session) -> Sentence:
    return Sentence((Phrase(text, prove(view, session)),))


def _whole_words(encoding: Encoding, start: int, stop: int) -> tuple[int, int]:
    """A span of tokens, drawn out to whole words."""
    words = encoding.words
    while 0 < start < stop and words[start] is not None and words[start] == words[start - 1]:
        start -= 1
    while start < stop < len(words) and words[stop] is not None and words[stop] == words[stop - 1]:
        stop += 1
    return start, stop


def _between(encoding: Encoding, start: int, stop: int) -> str:
    """The text of a span of tokens."""
    if start >= stop:
        return ""
    return encoding.text[encoding.offsets[start][0] : encoding.offsets[stop - 1][1]].strip()


def _masked(session: Session, encoding: Encoding, start: int, stop: int) -> str:
    """The text with one mask in place of a span of tokens."""
    first, last = encoding.offsets[start][0], encoding.offsets[stop - 1][1]
    part = encoding.text[first:last]
    first += len(part) - len(part.lstrip())
    mask = session.explorer.tokenizer.mask_token or ""
    return f"{encoding.text[:first]}{mask}{encoding.text[last:]}"


def _is_token(session: Session, name: str) -> bool:
    """Whether a word is one token where the text has its mask."""
    from mbexplore.analysis.target import find_spelling

    encoding = session.encoding
    masks = encoding.mask_positions
    found = masks and find_spelling(session.explorer.tokenizer, name, encoding, masks[0])
    return len(found or ()) == 1


def _spelled(session: Session, token: str) -> str:
    """A token as a person names it: without the space before it where that says the same."""
    from mbexplore.analysis.target import find_token

    tokenizer, encoding = session.explorer.tokenizer, session.encoding
    place = encoding.mask_positions[0]
    for name in (token.strip(), token):
        try:
            if tokenizer.token(find_token(tokenizer, name, encoding, place)) == token:
                return name
        except RangeError:
            continue
    return f'"{token}"'


def _table(found: ShownPair) -> Table:
    scored = [
        one for one in found.tokens
        if one.log_probability is not None or one.other_log_probability is not None
    ]  # fmt: skip
    columns = {
        "acceptable": "token", "log p": "log_probability", "other": "other_token",
        "log p ": "other_log_probability", "difference": "difference",
    }  # fmt: skip
    tokens, signed = ("acceptable", "other"), ("difference",)
    return listing(scored, columns, "Token by token, nats", tokens=tokens, signed=signed)
