"""Which of two sentences a model prefers, over files of minimal pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Note, Table
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import TextError
from mbexplore.rows import TABLES, check_column, find_column, read_rows
from mbexplore.text import shortened
from mbexplore.views.papers import BLIMP, MLM_SCORING, WITHIN_WORD
from mbexplore.views.parameters import File
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from mbexplore.analysis.pairs import Accuracy, Pair, PairScore, PairScores
    from mbexplore.session import Session

GOOD = ("sentence_good", "good", "acceptable", "grammatical", "0")
BAD = ("sentence_bad", "bad", "unacceptable", "ungrammatical", "1")
BY = ("linguistics_term", "phenomenon", "uid")
"""Columns of sentences and of what is tested, in BLiMP's form and others."""
LISTED = 8
"""Pairs that are shown."""
LETTERS = 60


class PairsView(View["PairScores"]):
    """How often the model prefers the acceptable one of two sentences, by phenomenon.

    Reads JSON lines of BLiMP's form (a file, or a folder of them), or csv and tsv with a column for
    each sentence. A tie counts as wrong.
    """

    name = "pairs"
    title = "Minimal pairs"
    question = "Which of two sentences does the model prefer?"
    group = "Versus"
    place = 3
    papers = (BLIMP, MLM_SCORING, WITHIN_WORD)
    limits = (
        "Sentences are compared by their pseudo-log-likelihood, so where one is longer by a token, "
        "length alone may decide; and intervals take pairs for independent draws."
    )
    reads = "model"
    example = "pairs.csv"

    path: File = option("A file of pairs, or a folder of such files.", positional=True)
    masking: Literal["token", "word"] = option(
        "What is masked with a token: it alone, or the later tokens of its word too.",
        default="token",
    )
    by: str | None = option(
        "The column that names what is tested; by default linguistics_term, phenomenon or UID.",
        default=None,
    )

    def compute(self, session: Session) -> PairScores:
        """Reads the pairs and scores both sentences of each."""
        from mbexplore.analysis.pairs import score_pairs

        session.explorer.masked_lm()
        pairs = list(read_pairs(Path(self.path), self.by))
        return score_pairs(session.explorer, pairs, masking=self.masking, progress=session.progress)

    def blocks(self, found: PairScores, session: Session) -> Iterator[Block]:
        """The accuracy, by phenomenon too, and the pairs that are furthest from right."""
        whole = found.overall
        yield Headline(
            f"The acceptable sentence is ahead in {percent(whole.accuracy)} of {whole.pairs:,} "
            f"pairs, 95% interval {percent(whole.low)} to {percent(whole.high)}."
        )
        every = found.phenomena
        yield _accuracies((*every, whole) if len(every) > 1 else every)
        wrong = sorted(
            (one for one in found.scores if not one.is_correct), key=lambda one: one.difference
        )
        if wrong:
            yield _listed(wrong[:LISTED], f"Furthest from right, of {len(wrong):,} wrong")
        if whole.ties:
            yield Note(f"{whole.ties:,} of the pairs are ties, which count as wrong.")
        yield Note(self.limits)

    def to_json(self, found: PairScores) -> dict[str, Any]:
        """The accuracy of all pairs and of each phenomenon, and every pair."""
        return {
            "path": self.path,
            "masking": found.masking,
            "overall": found.overall,
            "phenomena": found.phenomena,
            "pairs": [
                {
                    "phenomenon": one.pair.phenomenon,
                    "sentence_good": one.pair.good,
                    "sentence_bad": one.pair.bad,
                    "pll_good": one.good,
                    "pll_bad": one.bad,
                    "difference": one.difference,
                    "correct": one.is_correct,
                }
                for one in found.scores
            ],
        }

    def table(self, found: PairScores, session: Session) -> Table:
        """A row for each pair."""
        rows = self.to_json(found)["pairs"]
        return Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def read_pairs(path: Path, by: str | None = None) -> Iterator[Pair]:
    """The pairs of a file, or of every file in a folder.

    Args:
        path: jsonl, csv, tsv or parquet.
        by: the column that names what is tested; None for the first of `BY` that is there.

    Raises:
        TextError: a file can't be read, lacks a column, or a pair lacks a sentence.
    """
    from mbexplore.analysis.pairs import ALL, Pair

    for file in _files(path):
        columns: tuple[str, str, str | None] | None = None
        for number, row in enumerate(read_rows(file, headless=2), 1):
            columns = columns or _columns(row, by, file)
            good, bad, name = columns
            sentences = [row.get(good), row.get(bad)]
            if not all(isinstance(one, str) and one.strip() for one in sentences):
                raise TextError(
                    f"Pair {number:,} of {file} lacks one of its two sentences; add it, or take "
                    "the pair out."
                )
            phenomenon = ALL if name is None else str(row.get(name))
            yield Pair(str(sentences[0]), str(sentences[1]), phenomenon)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise TextError(
                f"There is no file {path}; name one of pairs, such as a .jsonl of BLiMP's data "
                "folder, or the folder."
            )
        if path.suffix.lower() not in TABLES:
            raise TextError(f"{path} has no rows; name a {', '.join(TABLES)} file.")
        return [path]
    files = sorted(one for one in path.iterdir() if one.suffix.lower() in TABLES)
    if not files:
        raise TextError(f"{path} has no {', '.join(TABLES)} file; name a folder of pairs.")
    return files


def _columns(row: dict[str, Any], by: str | None, file: Path) -> tuple[str, str, str | None]:
    """The columns of the two sentences and of what is tested."""
    good, bad = find_column(row, GOOD), find_column(row, BAD)
    if good is None or bad is None:
        check_column(row, (GOOD if good is None else BAD)[0], file)
    if by is not None:
        check_column(row, by, file)
    assert good is not None and bad is not None
    return good, bad, by or find_column(row, BY)


def _accuracies(every: tuple[Accuracy, ...]) -> Table:
    rows = tuple(
        (
            Cell(one.phenomenon),
            Cell(one.pairs, f"{one.pairs:,}"),
            Cell(one.accuracy, percent(one.accuracy), bar=one.accuracy, hue="global"),
            Cell(one.low, percent(one.low)),
            Cell(one.high, percent(one.high)),
            Cell(one.ties, f"{one.ties:,}"),
            Cell(one.difference, significant(one.difference, signed=True)),
        )
        for one in every
    )
    columns = ("phenomenon", "pairs", "accuracy", "from", "to", "ties", "nats ahead")
    return Table(columns, rows, left=("phenomenon",), title="Accuracy with its 95% interval")


def _listed(some: list[PairScore], title: str) -> Table:
    rows = tuple(
        (
            Cell(one.pair.good, shortened(one.pair.good, LETTERS)),
            Cell(one.pair.bad, shortened(one.pair.bad, LETTERS)),
            Cell(one.difference, significant(one.difference, signed=True)),
        )
        for one in some
    )
    columns = ("acceptable", "other", "nats ahead")
    return Table(columns, rows, title=title, left=columns[:2])
