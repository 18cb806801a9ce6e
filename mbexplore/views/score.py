"""How likely words are at a mask, or labels of a text: probability, logit, rank and log-odds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Bars, Block, Headline, Note, Table
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import MissingError, UsageError
from mbexplore.text import said, shown, word
from mbexplore.views.likelihood import MASKING, LikelihoodView, Masking, TextLikelihood
from mbexplore.views.score_templates import FilledScores, score_fillings
from mbexplore.views.shared import HUGGING_FACE, Beside, compared, listing, verdict
from mbexplore.views.view import FRANCE, Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.score import TargetComparison, TargetScores
    from mbexplore.explorer import Explorer
    from mbexplore.session import Session

LIKELIEST = 5
"""Tokens scored where no words are given."""


@dataclass(frozen=True, eq=False)
class Scores(Beside["TargetScores"]):
    """How likely words are at a mask, or labels of a text.

    Attributes:
        of: "word" or "label".
    """

    comparison: TargetComparison | None
    of: str = "word"

    @property
    def same_order(self) -> bool:
        """Whether both sides put the words in one order, ties to rounding apart."""
        assert self.comparison is not None
        ours, theirs = self.found, dataclasses.replace(self.found, targets=self.comparison.targets)
        return ours.likeliest_first == theirs.likeliest_first

    @property
    def position(self) -> int | None:
        """The mask."""
        return self.found.position

    def blocks(self) -> Iterator[Block]:
        """The likeliest word, whether Hugging Face agrees, and the numbers of each."""
        from mbexplore.analysis.templates import find_slot

        yield Headline(_headline(self))
        if self.comparison is not None:
            yield verdict(self.same_order, "order")
        yield _bars(self)
        yield _table(self)
        yield from self.notes
        if find_slot(self.found.encoding.text):
            yield Note("The text has a slot in braces; fill makes a template of it.")
        lengths = {len(one.pieces) for one in self.found.targets}
        if lengths != {1}:
            yield Note(
                f"Tokens of a word are filled in {_ORDERS[self.found.order]}. "
                + (ScoreView.limits if len(lengths) > 1 else "")
            )

    def to_json(self) -> dict[str, Any]:
        """The words as they were given, theirs beside ours."""
        theirs = self.comparison
        names = ("encoding.text", "encoding.tokens", "position", "order", "targets")
        plain = pick(self.found, *names)
        plain["log_odds"] = [one.log_odds for one in self.found.targets]
        if theirs is not None:
            plain["hf_targets"] = theirs.targets
        plain |= super().to_json()
        if theirs is not None:
            plain["hf"]["same_order"] = self.same_order
        return plain

    def arrays(self) -> Arrays:
        """The log-probabilities, in the order given."""
        import numpy as np

        targets = self.found.targets
        return {
            "words": np.array([one.text for one in targets]),
            "log_probability": np.array([one.log_probability for one in targets]),
        }

    def table(self) -> Table:
        """A row for each word, theirs beside ours."""
        columns = ["probability", "log_probability", "log_odds", "logit", "rank"]
        theirs = None if self.comparison is None else self.comparison.targets
        names = [*columns, *(f"hf_{name}" for name in columns if theirs is not None)]
        rows = []
        for i, one in enumerate(self.found.targets):
            sides = [one] if theirs is None else [one, theirs[i]]
            numbers = [getattr(side, name) for side in sides for name in columns]
            rows.append((one.text, "|".join(one.pieces), *numbers))
        return Table(("target", "pieces", *names), tuple(rows))


class ScoreView(View["Scores | TextLikelihood | FilledScores"]):
    """Probability, logit, rank and log-odds of given words at a mask.

    A word of several tokens gets as many masks, filled in one after the other. Every filling of a
    template is scored with `fill`, and the whole text with `sentence`. A model that labels texts or
    tokens scores its labels.
    """

    name = "score"
    title = "Scores"
    question = "How likely are these words?"
    guide = Guide(
        "The probability, log-odds, logit and rank of the words that you name, in place of the "
        "mask.",
        "Log-odds of 0 mean as likely as not; compare words of as many tokens only.",
        "Compare Paris with two other capitals.",
        values={"targets": ("Paris", "Rome", "Madrid")},
        texts=(FRANCE,),
    )
    evidence = "output"
    tested = "against transformers, and products of conditionals"
    group = "What"
    place = 2
    papers = cited("jiang2020factr", "schick2021just")
    limits = (
        "A word of several tokens is read with more masks than one of a single token, so their "
        "probabilities belong to no one distribution: compare words of as many tokens."
    )
    text_flag = "--template"
    explains_answer = True
    early = {"hf": False}  # noqa: RUF012
    example = '"The capital of France is [MASK]." --targets Paris,Rome,Athens'

    targets: tuple[str, ...] = option(
        f"The words or labels, with commas between them; by default the {LIKELIEST} likeliest.",
        default=(), label="words", separator=",", from_file=True,
    )  # fmt: skip
    fill: tuple[str, ...] = option(
        "What fills the slots of a text such as '{name} is a [MASK].': name=John,Mary or "
        "name=@FILE, a list for each slot.",
        default=(), separator=";", from_file=True,
    )  # fmt: skip
    mask: int = option("Which mask of the text, from 0.", default=0, at_least=0, label="")
    token: Token = option(
        "The mask, by its position instead; or the token to label, by position or word.",
        default=None,
    )  # fmt: skip
    order: Literal["left-to-right", "confidence"] = option(
        "In which order the tokens of a word are filled in: from the left, or the likeliest first.",
        default="left-to-right",
    )
    sentence: bool = option(
        "Score every token of the text, as `likelihood` does.", default=False, label=""
    )
    masking: Masking = option(MASKING, default="token", label="", only={"sentence": (True,)})
    hf: bool = option(default=True, label=HUGGING_FACE)

    def compute(self, session: Session) -> Scores | TextLikelihood | FilledScores:
        """Ours, and theirs where it is wanted."""
        targets = tuple(dict.fromkeys(self.targets))
        if self.sentence:
            if targets or self.fill:
                other = "targets" if targets else "fill"
                raise UsageError(f"sentence and {other} were both given; leave one out.")
            return self._as_likelihood.of(session).data
        if self.token is not None and self.mask:
            raise UsageError("A mask was given by number and by position; leave one out.")
        if self.fill:
            return score_fillings(session, self, targets)
        from mbexplore.analysis.label_scores import check_scores
        from mbexplore.analysis.score import score_targets

        explorer = session.explorer
        check_scores(explorer)

        def score() -> TargetScores:
            words = targets or self._likeliest(session)
            return score_targets(explorer, session.encoding, words, **self.where)

        found = session.once(("score", targets, *self.where.values()), score)
        return self._beside(found, explorer)

    def _beside(self, found: TargetScores, explorer: Explorer) -> Scores:
        from mbexplore.analysis.label_scores import is_labeller
        from mbexplore.analysis.score import compare_with_transformers

        theirs = compared(lambda: compare_with_transformers(explorer, found), self.hf)
        return Scores(found, *theirs, of="label" if is_labeller(explorer) else "word")

    @property
    def where(self) -> dict[str, Any]:
        """What is scored of a text, and how."""
        return {"mask": self.mask, "token": self.token, "order": self.order}

    def check(self, session: Session) -> None:
        """Refuses a text without the mask; of a template, its fillings have it."""
        from mbexplore.analysis.label_scores import check_scores
        from mbexplore.analysis.score import find_place

        if self.sentence:
            session.explorer.masked_lm()
        else:
            check_scores(session.explorer)
        if not self.sentence and not self.fill:
            find_place(session.explorer, session.encoding, self.mask, self.token)

    @classmethod
    def check_flagged(cls, text: str, values: Mapping[str, Any]) -> None:
        """Refuses a template without fillings; a text with braces in it is scored as it is."""
        from mbexplore.analysis.templates import find_slot

        slot = find_slot(text)
        if slot and not values.get("fill") and not values.get("fill_file"):
            name = slot.strip("{}") or "name"
            raise MissingError(
                f"The slot {slot} of the template has no filling; give fill, as {name}=John,Mary."
            )

    def pack(self, sessions: Sequence[Session]) -> Iterator[Scores | TextLikelihood] | None:
        """The scores of words that are the same for all texts; of sentences their tokens'."""
        from mbexplore.analysis.score import score_many

        if self.sentence:
            return self._as_likelihood.pack(sessions)
        if self.fill or not self.targets:
            return None
        targets, encodings = tuple(dict.fromkeys(self.targets)), [one.encoding for one in sessions]
        explorer = sessions[0].explorer
        every = score_many(explorer, encodings, targets, **self.where)
        return (self._beside(one, explorer) for one in every)

    @property
    def _as_likelihood(self) -> LikelihoodView:
        return LikelihoodView(masking=self.masking, hf=self.hf)

    def _likeliest(self, session: Session) -> tuple[int, ...]:
        """Ids of the likeliest tokens at the mask; of a classifier, of all its labels."""
        from mbexplore.analysis.label_scores import is_labeller
        from mbexplore.analysis.score import find_place

        explorer = session.explorer
        if is_labeller(explorer):
            return tuple(range(len(explorer.model.config.labels)))
        position = find_place(explorer, session.encoding, self.mask, self.token)
        most = min(LIKELIEST, explorer.model.config.vocab_size)
        answer = explorer.fill_masks(session.encoding, top_k=most)
        [mask] = (one for one in answer.masks if one.position == position)
        return tuple(one.token_id for one in mask.predictions)


_ORDERS = {"left-to-right": "from left to right", "confidence": "the likeliest first"}


def _headline(scores: Scores) -> str:
    found = scores.found
    best = found.targets[found.likeliest_first[0]]
    count = len(found.targets)
    of = f" is the likeliest of {count:,} {scores.of}s" if count > 1 else ""
    odds = significant(best.log_odds, signed=True)
    return f"{said(best.text)}{of}: {percent(best.probability)}, log-odds {odds}."


def _bars(found: Scores) -> Bars:
    order, theirs = found.found.likeliest_first, found.comparison
    place = found.found.position
    ours = [found.found.targets[i] for i in order]
    return Bars(
        tuple(word(one.text) for one in ours),
        tuple(one.probability for one in ours),
        unit="%",
        theirs=None if theirs is None else tuple(theirs.targets[i].probability for i in order),
        theirs_name=HUGGING_FACE,
        strong=frozenset({0}),
        select=None if place is None else ({"token": place},) * len(ours),
    )


def _table(scores: Scores) -> Table:
    found = scores.found
    ours = [found.targets[i] for i in found.likeliest_first]
    columns: dict[str, Any] = {
        scores.of: "text", "log p": "log_probability", "log-odds": "log_odds", "logit": "logit",
        "rank": "rank",
    }  # fmt: skip
    if any(len(one.pieces) > 1 for one in ours):
        columns["pieces"] = lambda one: shown("|".join(one.pieces))
    precise = ("log p", "log-odds", "logit")
    return listing(ours, columns, tokens=(scores.of,), signed=("log-odds",), precise=precise)
