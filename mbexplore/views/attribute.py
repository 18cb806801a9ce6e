"""How much each token of the text adds to the logit of the answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from mbexplore.display.blocks import Bars, Block, Headline, Note, Table, TokenStrip
from mbexplore.display.numbers import percent, significant
from mbexplore.limits import ATTRIBUTE
from mbexplore.text import said_at, word
from mbexplore.views.shared import MOST_BARS, logit_name
from mbexplore.views.view import FRANCE, Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.attribute import Attribution
    from mbexplore.session import Session


class AttributeView(View["Attribution"]):
    """Attribution: the logit of the answer shared out among the tokens of the text."""

    name = "attribute"
    title = "Attribution"
    question = "Which tokens does the answer come from?"
    guide = Guide(
        "The text, each token coloured by how much it moves the logit of the answer.",
        "Olive raises the answer and purple lowers it; all shares together are the difference "
        "from a text of masks.",
        "Ask what speaks for Paris rather than Rome.",
        values={"contrast": "Rome"},
        texts=(FRANCE,),
    )
    evidence = "gradient"
    tested = "by completeness, and on a model that copies one known token"
    group = "From where"
    place = 3
    papers = cited("sundararajan2017axiomatic", "shrikumar2016just")
    limits = ATTRIBUTE
    explains_answer = True
    example = '"The capital of France is [MASK]." --contrast Rome'

    token: Token = None
    answer: str | None = None
    contrast: str | None = option("Explain why the answer and not this one.", default=None)
    baseline: Literal["mask", "pad"] = option(
        "What the text is compared with: every plain token replaced by the mask or by padding.",
        default="mask",
    )
    steps: int = option("Points on the path from the baseline.", default=64, at_least=1)

    def compute(self, session: Session) -> Attribution:
        """Gradients at every point of the path."""
        from mbexplore.analysis.attribute import attribute

        return attribute(
            session.explorer, session.encoding, session.token(self.token), answer=self.answer,
            contrast=self.contrast, baseline=self.baseline, steps=self.steps,
            progress=session.progress,
        )  # fmt: skip

    def blocks(self, found: Attribution, session: Session) -> Iterator[Block]:
        """The text in colour, then a bar for each token."""
        order = sorted(range(len(found.tokens)), key=lambda i: -abs(found.integrated[i]))
        first, logit = order[0], logit_name(found.target, found.contrast)
        total = found.value - found.baseline_value
        yield Headline(
            f"{said_at(found.tokens, first)} moves the {logit} most: "
            f"{significant(found.integrated[first], signed=True)} of "
            f"{significant(total, signed=True)}."
        )
        yield TokenStrip(
            found.tokens, found.integrated, "Integrated gradients", unit="logits",
            mark=found.target.position,
        )  # fmt: skip
        shown = sorted(order[:MOST_BARS])
        yield Bars(
            tuple(f"{word(found.tokens[i])} {i}" for i in shown),
            tuple(found.integrated[i] for i in shown),
            f"Share of the {logit}",
            unit="integrated gradients",
            hue="signed",
            theirs=tuple(found.gradient_input[i] for i in shown),
            theirs_name="gradient \N{MULTIPLICATION SIGN} input",
            strong=frozenset({shown.index(first)}),
            select=tuple({"token": i} for i in shown),
        )
        yield Note(f"{_completeness(found, logit)} {self.limits}")

    def table(self, found: Attribution, session: Session) -> Table:
        """A row for each token."""
        return Table.of(
            {
                "position": range(len(found.tokens)),
                "token": found.tokens,
                "integrated": found.integrated,
                "gradient_input": found.gradient_input,
            }
        )


def _completeness(found: Attribution, logit: str) -> str:
    from mbexplore.analysis.attribute import MOST_ERROR

    value, baseline, added = (
        significant(each, signed=True)
        for each in (found.value, found.baseline_value, sum(found.integrated))
    )
    sentence = (
        f"The {logit} is {value}, on the baseline {baseline}; integrated gradients add up to "
        f"{added}, a completeness error of {percent(found.completeness_error)} with "
        f"{found.steps:,} steps."
    )
    if found.completeness_error > MOST_ERROR:
        sentence += f" That is above 1%; take more than {found.steps:,} steps."
    return sentence
