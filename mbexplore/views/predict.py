"""What a model answers: tokens at every mask, or what its classification head gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Bars, Block, Headline, Note, Row, Table
from mbexplore.display.data import Arrays
from mbexplore.display.numbers import percent
from mbexplore.errors import UsageError
from mbexplore.text import said
from mbexplore.views.classes import Classes, classes_of
from mbexplore.views.shared import (
    HUGGING_FACE,
    Beside,
    answer_bars,
    around,
    compared,
    side_rows,
    verdict,
)
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.explorer import Answer, Comparison, Explorer, MaskPredictions
    from mbexplore.session import Session

MOST_MASKS = 24
"""Masks that are shown; files hold all."""
IN_A_ROW = 3
NAMED = 6
"""Masks that the headline names."""


class Predictions(Beside["Answer"]):
    """The most likely tokens at every mask."""

    comparison: Comparison | None

    @property
    def masks(self) -> tuple[MaskPredictions, ...]:
        """Ours, one entry a mask."""
        return self.found.masks

    @property
    def position(self) -> int | None:
        """The one mask."""
        return self.masks[0].position if len(self.masks) == 1 else None

    def blocks(self) -> Iterator[Block]:
        """The best answers, whether Hugging Face agrees, and bars."""
        yield Headline(_headline(self.masks))
        if self.comparison is not None:
            yield verdict(self.comparison.same_top_k, f"top {len(self.masks[0].predictions)}")
        panels = [
            block for pair in self.pairs("masks")[:MOST_MASKS] for block in _bars(self, *pair)
        ]
        for first in range(0, len(panels), IN_A_ROW):
            row = panels[first : first + IN_A_ROW]
            yield Row(tuple(row)) if len(row) > 1 else row[0]
        if len(self.masks) > MOST_MASKS:
            yield Note(f"The first {MOST_MASKS} of {len(self.masks):,} masks; a file has all.")
        yield from self.notes

    def to_json(self) -> dict[str, Any]:
        """The predictions at every mask, theirs beside ours."""
        encoding = self.found.encoding
        masks = [
            dataclasses.asdict(ours)
            | ({} if theirs is None else {"hf_predictions": theirs.predictions})
            for ours, theirs in self.pairs("masks")
        ]
        plain = {"text": encoding.text, "tokens": encoding.tokens, "masks": masks}
        return plain | super().to_json()

    def arrays(self) -> Arrays:
        """All logits, (mask, vocab)."""
        import numpy as np

        positions = np.array([mask.position for mask in self.masks])
        return {"positions": positions, "logits": self.found.logits.float().cpu().numpy()}

    def table(self) -> Table:
        """A row for each prediction, theirs of the same rank beside it."""
        positions = [mask.position for mask in self.masks]
        columns = ("token", "token_id", "probability", "logit")
        return side_rows({"position": positions}, self.pairs("masks"), "predictions", columns)


class PredictView(View["Predictions | Classes"]):
    """The most likely tokens at every [MASK], side by side with Hugging Face.

    A model with another head gives its labels, its labels by token, an answer or a choice.
    """

    name = "predict"
    title = "Predictions"
    question = "What does the model predict?"
    guide = Guide(
        "The likeliest words for each [MASK] with their probabilities, ours beside Hugging "
        "Face's on the same weights.",
        "A longer bar is a likelier word; the words that aren't listed share what is left of 100%.",
        "List the ten likeliest words.",
        values={"top_k": 10},
    )
    evidence = "output"
    tested = "against transformers on the same weights"
    group = "What"
    place = 1
    papers = cited("warner2024smarter")
    early = {"hf": False}  # noqa: RUF012

    top_k: int = option(
        "Answers listed at each mask, or for the text.",
        default=5, short="-k", at_least=1, label="answers listed",
    )  # fmt: skip
    hf: bool = option(default=True, label=HUGGING_FACE)
    choices: tuple[str, ...] = option(
        "A text to choose from, for a multiple choice model; give several.",
        default=(), flag="--choice", label="",
    )  # fmt: skip

    def compute(self, session: Session) -> Predictions | Classes:
        """Ours, and theirs where it is wanted; each computed once for both."""
        from mbexplore.analysis.classify import is_classifier

        if is_classifier(session.explorer):
            return classes_of(session, self.choices, self.top_k, hf=self.hf)
        self.check(session)
        answer = session.once(("answer", self.top_k), lambda: self._answer(session))
        return self._beside(answer, session.explorer)

    def _beside(self, answer: Answer, explorer: Explorer) -> Predictions:
        theirs = compared(lambda: explorer.compare_with_transformers(answer), self.hf)
        return Predictions(answer, *theirs)

    def pack(self, sessions: Sequence[Session]) -> Iterator[Predictions | Classes] | None:
        """The answers at the masks; a classifier takes each text alone."""
        from mbexplore.analysis.classify import is_classifier

        explorer = sessions[0].explorer
        if is_classifier(explorer):
            return None
        encodings = [one.encoding for one in sessions]
        answers = explorer.fill_masks_many(encodings, top_k=self.top_k)
        return (self._beside(one, explorer) for one in answers)

    def check(self, session: Session) -> None:
        """Refuses a text without a mask; a classifier takes every text."""
        from mbexplore.analysis.classify import is_classifier

        if is_classifier(session.explorer):
            _ = session.encoding
            return
        if session.context is not None or self.choices:
            raise UsageError(
                f"{session.explorer.info.name} has no head that takes a second text or choices; "
                "leave them out, or name a model that was fine-tuned for them."
            )
        session.explorer.masked_lm()
        session.explorer.check_masked(session.encoding)

    def _answer(self, session: Session) -> Answer:
        with session.counting():
            return session.explorer.fill_masks(session.encoding, top_k=self.top_k)


def _headline(masks: Sequence[MaskPredictions]) -> str:
    best = [
        f"{said(mask.predictions[0].token)} {percent(mask.predictions[0].probability)}"
        for mask in masks
    ]
    if len(best) == 1:
        return f"{best[0]}."
    more = ", \N{HORIZONTAL ELLIPSIS}" if len(best) > NAMED else "."
    return f"{len(best):,} masks: {', '.join(best[:NAMED])}{more}"


def _bars(
    found: Predictions, ours: MaskPredictions, theirs: MaskPredictions | None
) -> Iterator[Bars]:
    """Ours with theirs as rings, then theirs by itself where it names other tokens."""
    every = [p.probability for pair in found.pairs("masks") for mask in pair if mask is not None
             for p in mask.predictions]  # fmt: skip
    encoding = found.found.encoding
    title = ""  # the one mask's text stands above
    if len(found.masks) > 1:
        about = around(encoding.text, encoding.offsets[ours.position], 38)
        title = f"token {ours.position}: {about}"
    by_id = {} if theirs is None else {p.token_id: p.probability for p in theirs.predictions}

    def bars(mask: MaskPredictions, title: str, with_theirs: bool) -> Bars:
        ours, best = mask.predictions, mask.predictions[0].token_id
        return dataclasses.replace(
            answer_bars(ours, title, max(every), best),
            theirs=tuple(by_id.get(p.token_id) for p in ours) if with_theirs else None,
            theirs_name=HUGGING_FACE,
            select=({"token": mask.position},) * len(ours),
        )

    yield bars(ours, title, theirs is not None)
    if theirs is not None and by_id.keys() != {p.token_id for p in ours.predictions}:
        yield bars(theirs, f"{HUGGING_FACE} {title}".strip(), False)
