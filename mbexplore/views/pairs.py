"""Which of two sentences a model prefers, over files of minimal pairs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Note, Table
from mbexplore.display.data import pick
from mbexplore.display.numbers import percent
from mbexplore.errors import MissingError, RangeError, UsageError
from mbexplore.pair_files import (
    TEXT,
    First,
    find_files,
    is_good_first,
    read_pairs,
    split_pairs,
)
from mbexplore.text import shortened
from mbexplore.views._pair_story import ShownPair, show_pair
from mbexplore.views.likelihood import MASKING, Masking
from mbexplore.views.shared import listing
from mbexplore.views.view import File, Guide, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.pairs import Accuracy, Pair, PairScores
    from mbexplore.session import Session

LISTED = 8
"""Pairs that are shown."""
LETTERS = 60


class PairsView(View["PairScores | ShownPair"]):
    """How often the model prefers the acceptable one of two sentences, by phenomenon.

    Reads JSON lines of BLiMP's form (a file, or a folder of them), csv, tsv or parquet with a
    column for each sentence, and Zorro's text files. A tie counts as wrong.
    """

    name = "pairs"
    title = "Minimal pairs"
    question = "Which of two sentences does the model prefer?"
    guide = Guide(
        "How often the model finds the acceptable one of two sentences likelier.",
        "50% is chance, and a tie counts as wrong; the interval says how far a small sample may"
        " be off.",
        "Ask whether rivers run or runs.",
        values={"pairs": ("The rivers run to the sea. | The rivers runs to the sea.",)},
    )
    evidence = "output"
    tested = "against sums of log-probabilities made by hand"
    group = "Versus"
    place = 3
    papers = cited(
        "warstadt2020blimp", "huebner2021babyberta", "salazar2020masked", "kauf2023better"
    )
    limits = (
        "Sentences are compared by their pseudo-log-likelihood, so where one is longer by a token, "
        "length alone may decide; and intervals take pairs for independent draws."
    )
    reads = "model"
    example = "pairs.csv"

    path: File | None = option(
        "A file of pairs, a folder of such files, or blimp or zorro where their files are at hand.",
        default=None, positional=True, local=True,
    )  # fmt: skip
    pairs: tuple[str, ...] = option(
        "Pairs themselves, one a line: the acceptable sentence, |, the other one.",
        default=(), flag="--pair", separator="\n", label="pairs, one a line: acceptable | other",
    )  # fmt: skip
    show: int | None = option(
        "One pair, by its number from 0: its tokens, and the commands that explain the difference.",
        default=None, at_least=0, label="pair shown",
    )  # fmt: skip
    masking: Masking = option(MASKING, default="token")
    by: str | None = option(
        "The column that names what is tested; by default linguistics_term, phenomenon or UID.",
        default=None, local=True,
    )  # fmt: skip
    leading: First | None = option(
        "Which sentence of a text file comes first; by default bad, as in Zorro's, or good in a "
        "folder test_suites.",
        default=None, local=True,
    )  # fmt: skip

    def compute(self, session: Session) -> PairScores | ShownPair:
        """Reads the pairs and scores both sentences of each."""
        from mbexplore.analysis.pairs import score_pairs

        session.explorer.masked_lm()
        if self.show is not None:
            return show_pair(session, self.show, _nth(self._read(), self.show), self.masking)
        pairs = list(self._read())
        return score_pairs(session.explorer, pairs, masking=self.masking, progress=session.progress)

    def _read(self) -> Iterator[Pair]:
        if self.path is not None and self.pairs:
            raise UsageError(f"Pairs and the file {self.path} were both given; leave one out.")
        if self.pairs:
            return split_pairs(self.pairs)
        if self.path is None:
            raise MissingError(
                "There are no pairs; give some, such as 'The rivers run. | The rivers runs.', or a "
                "file of them."
            )
        return read_pairs(Path(self.path), self.by, self.leading)

    def blocks(self, found: PairScores | ShownPair, session: Session) -> Iterator[Block]:
        """The accuracy, by phenomenon too, and the pairs that are furthest from right."""
        if isinstance(found, ShownPair):
            yield from found.blocks()
            yield Note(self.limits)
            return
        whole = found.overall
        yield Headline(
            f"The acceptable sentence is ahead in {percent(whole.accuracy)} of {whole.pairs:,} "
            f"pair{'s' * (whole.pairs > 1)}, 95% interval {percent(whole.low)} to "
            f"{percent(whole.high)}."
        )
        every = found.phenomena
        yield _accuracies((*every, whole) if len(every) > 1 else every)
        order = sorted(range(whole.pairs), key=lambda i: found.scores[i].difference)
        wrong = [i for i in order if not found.scores[i].is_correct]
        title = f"Furthest from right, of {len(wrong):,} wrong"
        yield _listed(found, (wrong or order)[:LISTED], title if wrong else "Least ahead")
        yield Note("Show a pair, by its number, for its tokens and what explains the difference.")
        if whole.ties:
            yield Note(f"{whole.ties:,} of the pairs are ties, which count as wrong.")
        yield from self._order()
        yield Note(self.limits)

    def _order(self) -> Iterator[Note]:
        """Which sentence of text files was taken for the acceptable one."""
        files = find_files(Path(self.path)) if self.path else []
        texts = [one for one in files if one.suffix.lower() == TEXT]
        if texts:
            good = "first" if is_good_first(texts[0], self.leading) else "second"
            yield Note(f"Of two lines of a text file the {good} was taken for the acceptable one.")

    def to_json(self, found: PairScores | ShownPair) -> dict[str, Any]:
        """The accuracy of all pairs and of each phenomenon, and every pair; or the one shown."""
        about = {"path": self.path, "masking": self.masking}
        if isinstance(found, ShownPair):
            return about | found.to_json()
        rows = [
            pick(
                one, "pair.phenomenon", sentence_good="pair.good", sentence_bad="pair.bad",
                pll_good="good", pll_bad="bad", difference="difference", correct="is_correct",
            )
            for one in found.scores
        ]  # fmt: skip
        return about | pick(found, "overall", "phenomena") | {"pairs": rows}

    def table(self, found: PairScores | ShownPair, session: Session) -> Table:
        """A row for each pair; of the one shown, for each token."""
        if isinstance(found, ShownPair):
            return found.table()
        rows = self.to_json(found)["pairs"]
        return Table(tuple(rows[0]), tuple(tuple(row.values()) for row in rows))


def _nth(pairs: Iterable[Pair], number: int) -> Pair:
    """A pair by its number.

    Raises:
        RangeError: there are fewer.
    """
    given = iter(pairs)
    before = sum(1 for _ in islice(given, number))
    pair = next(given, None)
    if pair is None:
        raise RangeError(f"There is no pair {number:,}; choose 0 to {before - 1:,}.")
    return pair


def _accuracies(every: tuple[Accuracy, ...]) -> Table:
    columns: dict[str, Any] = {
        "phenomenon": "phenomenon", "pairs": "pairs",
        "accuracy": lambda one: Cell(one.accuracy, bar=one.accuracy, hue="global"),
        "from": "low", "to": "high", "ties": "ties", "nats ahead": "difference",
    }  # fmt: skip
    title, shares = "Accuracy with its 95% interval", ("accuracy", "from", "to")
    return listing(every, columns, title, shares=shares, signed=("nats ahead",))


def _listed(found: PairScores, numbers: list[int], title: str) -> Table:
    columns: dict[str, Any] = {
        "pair": lambda i: Cell(i, select={"show": i}),
        "acceptable": lambda i: shortened(found.scores[i].pair.good, LETTERS),
        "other": lambda i: shortened(found.scores[i].pair.bad, LETTERS),
        "nats ahead": lambda i: found.scores[i].difference,
    }
    return listing(numbers, columns, title, signed=("nats ahead",))
