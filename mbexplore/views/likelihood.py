"""How likely a text is, and which of its tokens surprise the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, log
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Bars, Block, Cell, Headline, Note, Table, TokenStrip
from mbexplore.display.data import Arrays, pick
from mbexplore.display.numbers import significant
from mbexplore.text import word
from mbexplore.views.shared import HUGGING_FACE, MOST_BARS, Beside, compared, listing
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.likelihood import Likelihood, LikelihoodComparison
    from mbexplore.explorer import Explorer
    from mbexplore.session import Session

MOST_ROWS = 200
"""Tokens in the table on the screen."""
Masking = Literal["token", "word"]
MASKING = "What is masked with a token: it alone, or the later tokens of its word too."


class TextLikelihood(Beside["Likelihood"]):
    """How likely a text is."""

    comparison: LikelihoodComparison | None

    def blocks(self) -> Iterator[Block]:
        """The sum, the text coloured by surprise, and the numbers of every token."""
        ours = self.found
        yield Headline(
            f"Pseudo-log-likelihood {significant(ours.pll)} nats, perplexity "
            f"{significant(ours.perplexity(len(ours.positions)))} a token."
        )
        yield surprise_strip(ours)
        if len(ours.positions) <= MOST_BARS:
            yield _bars(self)
        yield _means(ours)
        yield _tokens(self)
        if len(ours.positions) > MOST_ROWS:
            yield Note(f"The first {MOST_ROWS} of {len(ours.positions):,} tokens; a file has all.")
        if ours.encoding.mask_positions:
            yield Note("The text has masks: they are no tokens of it, and none is scored.")
        yield from self.notes
        yield Note(LikelihoodView.limits)

    def to_json(self) -> dict[str, Any]:
        """Every token's log-probability, their sum, and means of it."""
        ours, theirs = self.found, self.comparison
        plain = pick(
            ours, "encoding.text", "masking", "tokens", "positions", "log_probabilities", "pll",
            "per_token", "bits_per_byte",
        )  # fmt: skip
        plain["perplexity"] = {name: ours.perplexity(n) for name, n in _counts(ours).items()}
        if theirs is not None:
            plain["hf_log_probabilities"] = theirs.log_probabilities
        return plain | super().to_json()

    def arrays(self) -> Arrays:
        """Positions and log-probabilities of the tokens scored."""
        import numpy as np

        columns = pick(self.found, "positions", "log_probabilities")
        return {name: np.array(column) for name, column in columns.items()}

    def table(self) -> Table:
        """A row for each token scored."""
        ours, theirs = self.found, self.comparison
        columns = ["position", "token", "probability", "log_probability", "surprise_bits"]
        others = [() for _ in ours.positions] if theirs is None else [
            (value,) for value in theirs.log_probabilities
        ]  # fmt: skip
        rows = zip(ours.positions, ours.tokens, ours.log_probabilities, others, strict=True)
        return Table(
            (*columns, *(["hf_log_probability"] if theirs is not None else [])),
            tuple((i, token, exp(p), p, -p / log(2), *other) for i, token, p, other in rows),
        )


class LikelihoodView(View["TextLikelihood"]):
    """Pseudo-log-likelihood of a text: each token masked in turn and read there.

    By token, word and byte, side by side with Hugging Face.
    """

    name = "likelihood"
    title = "Likelihood"
    question = "How likely is the text, token by token?"
    guide = Guide(
        "How likely each token is when it alone is masked, and the sum over the text.",
        "A low probability is a surprise, given all the other words; the sum is nearer to 0 for"
        " a likelier text.",
        "Put a word where it doesn't belong.",
        texts=("The tide rises and the table falls.",),
    )
    evidence = "output"
    tested = "against transformers, token by token"
    group = "What"
    place = 3
    papers = cited("salazar2020masked", "kauf2023better")
    limits = (
        "The sum over tokens is no probability of the text: each is given all others, and longer "
        "texts have lower sums. Compare texts of one meaning and length."
    )
    early = {"hf": False}  # noqa: RUF012
    example = '"The tide rises and the tide falls."'

    masking: Masking = option(MASKING, default="token")
    hf: bool = option(default=True, label=HUGGING_FACE)

    def compute(self, session: Session) -> TextLikelihood:
        """A pass a token, packed side by side."""
        from mbexplore.analysis.likelihood import likelihood

        explorer = session.explorer
        found = session.once(
            ("likelihood", self.masking),
            lambda: likelihood(
                explorer, session.encoding, masking=self.masking, progress=session.progress
            ),
        )
        return self._beside(found, explorer)

    def _beside(self, found: Likelihood, explorer: Explorer) -> TextLikelihood:
        from mbexplore.analysis.likelihood import compare_with_transformers

        theirs = compared(lambda: compare_with_transformers(explorer, found), self.hf)
        return TextLikelihood(found, *theirs)

    def check(self, session: Session) -> None:
        """Refuses a model without an MLM head."""
        session.explorer.masked_lm()
        _ = session.encoding

    def pack(self, sessions: Sequence[Session]) -> Iterator[TextLikelihood]:
        """The log-probabilities of every token."""
        from mbexplore.analysis.likelihood import likelihoods

        explorer, encodings = sessions[0].explorer, [one.encoding for one in sessions]
        every = likelihoods(explorer, encodings, masking=self.masking)
        return (self._beside(one, explorer) for one in every)


def surprises(log_probabilities: tuple[float, ...]) -> tuple[float, ...]:
    """Surprise in bits of log-probabilities in nats."""
    return tuple(0.0 if value == 0 else -value / log(2) for value in log_probabilities)


def surprise_strip(found: Likelihood, of: str = "", high: float | None = None) -> TokenStrip:
    """The text coloured by the surprise of each token.

    Args:
        found: the likelihood.
        of: which of several texts it is, for the title.
        high: bits of the darkest colour; by default the largest.
    """
    bits = dict(zip(found.positions, surprises(found.log_probabilities), strict=True))
    values = tuple(bits.get(i, 0.0) for i in range(len(found.encoding)))
    title = f"Surprise of each token{of}"
    return TokenStrip(found.encoding.tokens, values, title, unit="bits", hue="global", high=high)


def _counts(found: Likelihood) -> dict[str, int]:
    return {"token": len(found.positions), "word": found.words, "byte": found.bytes}


def _bars(found: TextLikelihood) -> Bars:
    ours, theirs = found.found, found.comparison
    return Bars(
        tuple(map(word, ours.tokens)),
        surprises(ours.log_probabilities),
        title="Surprise of each token, bits",
        unit="bits",
        theirs=None if theirs is None else surprises(theirs.log_probabilities),
        theirs_name=HUGGING_FACE,
        select=tuple({"token": i} for i in ours.positions),
    )


def _means(found: Likelihood) -> Table:
    rows = []
    for name, count in _counts(found).items():
        nats = found.pll / count
        means = (nats, -nats / log(2), found.perplexity(count))
        rows.append((Cell(name), Cell(count), *(Cell(x, significant(x)) for x in means)))
    return Table(
        ("per", "number", "log p, nats", "surprise, bits", "perplexity"), tuple(rows), left=("per",)
    )


def _tokens(found: TextLikelihood) -> Table:
    """The numbers of each token; its surprise too, where no bars show that."""
    ours, theirs = found.found, found.comparison
    logs, bits = ours.log_probabilities, surprises(ours.log_probabilities)
    columns: dict[str, Any] = {
        "position": lambda n: Cell(ours.positions[n], select={"token": ours.positions[n]}),
        "token": lambda n: ours.tokens[n],
        "p": lambda n: exp(logs[n]),
        "log p": lambda n: logs[n],
    }
    if theirs is not None:
        columns[HUGGING_FACE] = theirs.log_probabilities.__getitem__
    if len(logs) > MOST_BARS:
        columns["bits"] = lambda n: Cell(bits[n], hue="global")
    shown, precise = range(min(len(logs), MOST_ROWS)), {"log p", HUGGING_FACE} & set(columns)
    return listing(
        shown, columns, tokens=("token",), precise=precise, shares=("p",), bars=("bits",)
    )
