"""What a classification head answers, as `predict` shows it.

Labels of a text, labels of its tokens, a part of a context, or one of several choices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Bars, Block, Cell, Headline, Heat, Note, Table, TokenStrip
from mbexplore.display.data import Arrays
from mbexplore.display.numbers import percent, significant
from mbexplore.text import said, word
from mbexplore.views.shared import (
    HUGGING_FACE,
    Beside,
    compared,
    side_rows,
    token_names,
    verdict,
)

if TYPE_CHECKING:
    from mbexplore.analysis.classify import Candidate, ClassComparison, Classification, HeadOutput
    from mbexplore.session import Session

MOST_TOKENS = 300
"""Rows of the table of labels by token; files hold all."""


@dataclass(frozen=True, eq=False)
class Classes(Beside["Classification"]):
    """What a classifier answers.

    Attributes:
        labels: of the head, by their ids.
    """

    comparison: ClassComparison | None
    labels: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[HeadOutput, ...]:
        """Ours: one of the text, or one of each token."""
        return self.found.outputs

    @property
    def position(self) -> int | None:
        """Where the best answer begins, of an answer that is a part of the text."""
        tokens = self.outputs[0].candidates[0].tokens
        return None if tokens is None else tokens[0]

    @property
    def is_by_token(self) -> bool:
        """Whether every token has a label of its own."""
        return self.outputs[0].position is not None

    def blocks(self) -> Iterator[Block]:
        """The best answer, whether Hugging Face agrees, and bars, or labels by token."""
        yield Headline(_headline(self))
        if self.comparison is not None:
            yield verdict(self.comparison.same_order, "order")
        yield from _token_blocks(self) if self.is_by_token else _text_blocks(self)
        cut = next((one for one in self.found.encodings if one.is_cut), None)
        if cut is not None:
            yield Note(f"The text was cut from {cut.full_length:,} to {len(cut):,} tokens.")
        yield from self.notes

    def to_json(self) -> dict[str, Any]:
        """The answers, theirs beside ours."""
        found = self.found
        text, *others = found.encodings[0].texts
        plain: dict[str, Any] = {
            "task": found.task,
            "text": text,
            "context": None if found.choices or not others else others[0],
            "choices": found.choices,
            "tokens": [one.tokens for one in found.encodings],
            "answers": [
                {"position": ours.position, "predictions": ours.candidates}
                | ({} if theirs is None else {"hf_predictions": theirs.candidates})
                for ours, theirs in self.pairs("outputs")
            ],
        }
        return plain | super().to_json()

    def arrays(self) -> Arrays:
        """The logits of the labels."""
        return {"logits": self.found.logits.cpu().numpy()}

    def table(self) -> Table:
        """A row for each answer, theirs of the same rank beside it."""
        tokens, places = self.found.encodings[0].tokens, [one.position for one in self.outputs]
        leads: dict[str, list[Any]] = {
            "position": [*places],
            "token": ["" if x is None else tokens[x] for x in places],
        }
        return side_rows(
            leads, self.pairs("outputs"), "candidates", ("answer", "probability", "logit")
        )


def classes_of(session: Session, choices: tuple[str, ...], top_k: int, *, hf: bool) -> Classes:
    """The head's answer, and Hugging Face's where it is wanted.

    Raises:
        TextError: the head needs a context or choices that aren't there, or has no use for them.
    """
    from mbexplore.analysis.classify import classify, compare_classes, encode_question

    explorer = session.explorer

    def ours() -> Classification:
        encodings = encode_question(
            explorer, session.texts[0], session.context, choices, truncate=session.truncate
        )
        with session.counting():
            return classify(explorer, encodings, choices, top_k=top_k)

    found = session.once(("classes", choices, top_k), ours)
    theirs = compared(lambda: compare_classes(explorer, found), hf)
    return Classes(found, *theirs, tuple(explorer.model.config.labels))


def _headline(classes: Classes) -> str:
    if classes.is_by_token:
        count = Counter(output.candidates[0].answer for output in classes.outputs)
        (first, most), *rest = count.most_common(4)
        named = [f"{said(first)} for {most:,} of {count.total():,} tokens"]
        return ", ".join([*named, *(f"{said(name)} for {times:,}" for name, times in rest)]) + "."
    best = classes.outputs[0].candidates[0]
    return f"{said(best.answer)} {_value(best)}."


def _value(candidate: Candidate) -> str:
    share = candidate.probability
    return significant(candidate.logit) if share is None else percent(share)


def _text_blocks(classes: Classes) -> Iterator[Block]:
    [(ours, theirs)] = classes.pairs("outputs")
    found, encoding = classes.found, classes.found.encodings[0]
    is_share = ours.candidates[0].probability is not None

    def number(candidate: Candidate) -> float:
        return candidate.logit if candidate.probability is None else candidate.probability

    def key(candidate: Candidate) -> object:
        return candidate.id, candidate.tokens

    by_key = {} if theirs is None else {key(one): number(one) for one in theirs.candidates}
    spans = [one.tokens for one in ours.candidates]
    yield Bars(
        tuple(word(one.answer) for one in ours.candidates),
        tuple(map(number, ours.candidates)),
        unit="%" if is_share else "value",
        hue="global" if is_share else "signed",
        theirs=None if theirs is None else tuple(by_key.get(key(c)) for c in ours.candidates),
        theirs_name=HUGGING_FACE,
        strong=frozenset({0}),
        select=tuple({"token": one[0]} for one in spans if one) if all(spans) else None,
    )
    if any(spans):
        from mbexplore.analysis.classify import span_probabilities

        yield TokenStrip(
            encoding.tokens,
            tuple(span_probabilities(found).tolist()),
            title="Probability that a token is part of the answer",
            hue="global",
            mark=classes.position,
            high=1.0,
        )


def _token_blocks(classes: Classes) -> Iterator[Block]:
    tokens = classes.found.encodings[0].tokens
    yield Heat(
        classes.found.shares.T.float().cpu().numpy(),
        classes.labels,
        token_names(tokens),
        title="Probability of each label at each token",
        row_axis="label",
        column_axis="token",
        hue="global",
        low=0.0,
        high=1.0,
        unit="probability",
        select=(None, "token"),
    )
    rows = []
    for place, (ours, theirs) in enumerate(classes.pairs("outputs")[:MOST_TOKENS]):
        sides = [side.candidates[0] for side in (ours, theirs) if side is not None]
        row = [Cell(place, select={"token": place}), Cell(tokens[place], word(tokens[place]))]
        for best in sides:
            share = best.probability or 0.0
            row += [Cell(best.answer), Cell(share, percent(share), bar=share, hue="global")]
        rows.append(tuple(row))
    names = ["label", "p", HUGGING_FACE, "its p"][: 2 if classes.comparison is None else 4]
    yield Table(
        ("position", "token", *names), tuple(rows), left=("token", "label", HUGGING_FACE),
        title="Most likely label of each token",
    )  # fmt: skip
    if len(tokens) > MOST_TOKENS:
        yield Note(f"The first {MOST_TOKENS} of {len(tokens):,} tokens; a file has all.")
