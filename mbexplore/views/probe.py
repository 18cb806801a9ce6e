"""At which layer a label of texts can be read off by a linear classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mbexplore.display.blocks import Block, Headline, Lines, Note, Series, Table
from mbexplore.display.numbers import percent
from mbexplore.errors import MissingError, TextError, UsageError
from mbexplore.rows import check_column, find_column, read_rows, split_row
from mbexplore.text import quoted, state_name
from mbexplore.views.shared import layer_names, records, state_names
from mbexplore.views.view import File, Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.probe import Probe
    from mbexplore.session import Session

Taps = Literal["resid_post", "resid_mid", "attn_out", "mlp_out", "mlp_post", "z", "q", "k", "v"]
TEXTS = ("text", "sentence", "prompt")
LABELS = ("label", "class", "target")


EXAMPLES = (
    "The tide rises. | water", "The sea is deep. | water", "He paid the bill. | money",
    "She sold the house. | money",
)  # fmt: skip
"""A set so small that it shows no more than how texts and labels are given."""


class ProbeView(View["Probe"]):
    """Accuracy of a linear probe for a label on every layer, beside one for shuffled labels."""

    name = "probe"
    title = "Probe"
    question = "At which layer can a label be read off?"
    guide = Guide(
        "How often a linear classifier reads a label off each layer, beside one trained on "
        "shuffled labels.",
        "The gap between the two curves is what a layer holds of the label; without a gap the "
        "classifier has only learnt the examples.",
        "Tell water from money in four short texts.",
        values={"examples": EXAMPLES, "folds": 2},
    )
    evidence = "correlational"
    tested = "against scipy's optimum, and on a model that has a label"
    group = "When"
    place = 4
    papers = cited("alain2016understanding", "hewitt2019designing")
    limits = (
        "What a probe can read, the model need not use. Texts of one source may tell their labels "
        "by length or topic; compare with the embeddings, where nothing is computed yet."
    )
    reads = "model"
    example = "labels.csv --folds 2"

    path: File | None = option(
        "A csv, tsv, jsonl or parquet file of texts.", default=None, positional=True, local=True
    )
    examples: tuple[str, ...] = option(
        "Texts themselves, one a line, each with its label: text | label.",
        default=(), flag="--example", separator="\n", label="texts, one a line: text | label",
    )  # fmt: skip
    text_column: str | None = option(
        "The column of the texts; by default text, sentence or prompt.",
        default=None, flag="--column", local=True,
    )  # fmt: skip
    label_column: str | None = option(
        "The column of the labels; by default label, class or target.",
        default=None, flag="--label", local=True,
    )  # fmt: skip
    tap: Taps = option("What is read of each layer.", default="resid_post")
    pooling: Literal["mean", "cls", "mask"] = option(
        "Of the tokens: the mean of all but special ones, the first, or the first mask.",
        default="mean",
    )
    folds: int = option("Of the cross-validation.", default=5, at_least=2)
    penalty: float = option("Of the probe's squared weights.", default=1.0, at_least=0.0)
    seed: int = option("Of folds and shuffled labels.", default=0)

    def compute(self, session: Session) -> Probe:
        """Records every text once, then fits the probes."""
        from mbexplore.analysis.probe import probe

        if self.path is not None and self.examples:
            raise UsageError(f"Texts and the file {self.path} were both given; leave one out.")
        if self.examples:
            texts, labels = split_labels(self.examples)
        elif self.path is not None:
            texts, labels = read_labels(Path(self.path), self.text_column, self.label_column)
        else:
            raise MissingError(
                "There are no texts with labels; give some, such as 'The tide rises. | water', or "
                "a file of them."
            )
        return probe(
            session.explorer, texts, labels, tap=self.tap, pooling=self.pooling, folds=self.folds,
            penalty=self.penalty, seed=self.seed, progress=session.progress,
        )  # fmt: skip

    def blocks(self, found: Probe, session: Session) -> Iterator[Block]:
        """The best layer, the curve, and the numbers."""
        best = found.best
        yield Headline(
            f"{len(found.labels)} labels are read off best after {_name(best.layer)}: "
            f"{percent(best.accuracy)} of {sum(found.counts):,} texts, "
            f"{percent(best.control)} with shuffled labels."
        )
        names = state_names(session) if found.tap == "resid_post" else layer_names(session)
        every = found.rows
        yield Lines(
            (
                Series("probe", tuple(row.accuracy for row in every), dots=True),
                Series("95%, low", tuple(row.low for row in every), dashed=True),
                Series("95%, high", tuple(row.high for row in every), dashed=True),
                Series("shuffled labels", tuple(row.control for row in every)),
            ),
            f"Accuracy of a linear probe on {found.tap}, {found.pooling}",
            y="accuracy",
            ticks=names,
            levels={"most frequent label": found.majority},
        )
        rows = tuple(
            (_name(row.layer), row.accuracy, row.low, row.high, row.control, row.selectivity)
            for row in reversed(every)
        )
        columns = ("after", "accuracy", "from", "to", "shuffled", "selectivity")
        yield Table(columns, rows, "Accuracy with its 95% interval", ("after",), shares=columns[1:])
        yield Note(
            f"{found.folds} folds; always saying {found.labels[0]!r} is right in "
            f"{percent(found.majority)}. {self.limits}"
        )

    def table(self, found: Probe, session: Session) -> Table:
        """A row for each layer."""
        return records(found.rows, "selectivity")


def _name(layer: int) -> str:
    return state_name(layer + 1)


def read_labels(
    path: Path, text_column: str | None, label_column: str | None
) -> tuple[list[str], list[str]]:
    """The texts of a file and their labels.

    Raises:
        TextError: the file can't be read, or lacks a column.
    """
    texts, labels = [], []
    for row in read_rows(path):
        text = text_column or find_column(row, TEXTS) or TEXTS[0]
        label = label_column or find_column(row, LABELS) or LABELS[0]
        check_column(row, text, path)
        check_column(row, label, path)
        texts.append(str(row[text]))
        labels.append(str(row[label]))
    return texts, labels


def split_labels(lines: Iterable[str]) -> tuple[list[str], list[str]]:
    """Texts that are typed, a line each with its label: "text | label".

    Raises:
        TextError: a line has no label.
    """
    texts, labels = [], []
    for line in lines:
        cells = split_row(line)
        if len(cells) != 2 or not all(cells):
            raise TextError(f"{quoted(line)} has no label; write the text, | and its label.")
        texts.append(cells[0])
        labels.append(cells[1])
    return texts, labels
