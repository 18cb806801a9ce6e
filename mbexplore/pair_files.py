"""Where minimal pairs come from: files, folders of them, typed lines, and BLiMP's and Zorro's own.

- BLiMP (Warstadt et al. 2020): JSON lines, or the parquet of the hub, with `sentence_good`,
  `sentence_bad`, `linguistics_term` and `UID`.
- Zorro (Huebner et al. 2021, "BabyBERTa"): a text file a paradigm, PHENOMENON-PARADIGM.txt, of two
  lines a pair, the unacceptable sentence first. The copies in UnMasked have it second.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.errors import TextError
from mbexplore.rows import TABLES, check_column, find_column, read_rows, split_row
from mbexplore.text import quoted

if TYPE_CHECKING:
    from mbexplore.analysis.pairs import Pair

GOOD = ("sentence_good", "good", "acceptable", "grammatical", "0")
BAD = ("sentence_bad", "bad", "unacceptable", "ungrammatical", "1")
BY = ("linguistics_term", "linguistic_term", "phenomenon", "uid")
"""Columns of sentences and of what is tested, in BLiMP's form and others."""
TEXT = ".txt"
FOLDER = "MBEXPLORE_PAIRS"
"""Names a folder with a copy of each benchmark."""
First = Literal["bad", "good"]


@dataclass(frozen=True)
class Benchmark:
    """Minimal pairs that are known by name.

    Attributes:
        hub: id of the data set on the Hugging Face hub; "" for none.
        parts: folders of its repository that hold the pairs.
        source: the repository.
    """

    hub: str
    parts: tuple[str, ...]
    source: str


BENCHMARKS = {
    "blimp": Benchmark("nyu-mll/blimp", ("data",), "https://github.com/alexwarstadt/blimp"),
    "zorro": Benchmark(
        "", ("sentences/babyberta", "test_suites/zorro"), "https://github.com/phueb/Zorro"
    ),
}


def read_pairs(path: Path, by: str | None = None, first: First | None = None) -> Iterator[Pair]:
    """The pairs of a file, of every file in a folder, or of a benchmark that is at hand.

    Args:
        path: jsonl, csv, tsv, parquet, arrow, or text of two lines a pair; a folder; or the name of
            a benchmark.
        by: the column that names what is tested; None for the first of `BY` that is there.
        first: which sentence of a text file comes first; None for "bad", as in Zorro's, but "good"
            below a folder `test_suites`, as in UnMasked's.

    Raises:
        TextError: a file can't be read, lacks a column, or a pair lacks a sentence.
    """
    from mbexplore.analysis.pairs import ALL, Pair

    for file in find_files(path):
        rows = _two_lines(file, first) if file.suffix.lower() == TEXT else None
        columns: tuple[str, str, str | None] | None = None
        for number, row in enumerate(rows or read_rows(file, headless=2), 1):
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


def split_pairs(lines: Iterable[str]) -> Iterator[Pair]:
    """Pairs that are typed, a line each: "acceptable | other", or with what is tested third.

    Raises:
        TextError: a line is no pair.
    """
    from mbexplore.analysis.pairs import ALL, Pair

    for line in lines:
        cells = split_row(line)
        if len(cells) not in (2, 3) or not all(cells[:2]):
            raise TextError(
                f"{quoted(line)} is no pair; write the acceptable sentence, | and the other one."
            )
        yield Pair(cells[0], cells[1], cells[2] if len(cells) == 3 else ALL)


def find_files(path: Path) -> list[Path]:
    """The files of pairs: one, those of a folder, or of a benchmark by its name.

    Raises:
        TextError: there is none; the sentence says where it was looked for.
    """
    path = _find(path)
    if not path.is_dir():
        if not path.exists():
            raise TextError(
                f"There is no file {path}; name one of pairs, such as a .jsonl of BLiMP's data "
                f"folder, or the folder, or {' or '.join(BENCHMARKS)}."
            )
        if path.suffix.lower() not in (*TABLES, TEXT):
            raise TextError(f"{path} has no rows; name a {', '.join((*TABLES, TEXT))} file.")
        return [path]
    inside = [
        one for one in sorted(path.rglob("*"))
        if not any(part.startswith(".") for part in one.relative_to(path).parts)
    ]  # fmt: skip
    for endings in (TABLES, (TEXT,)):  # beside tables, texts are notes
        if files := [one for one in inside if one.suffix.lower() in endings]:
            return files
    raise TextError(f"{path} has no {', '.join((*TABLES, TEXT))} file; name a folder of pairs.")


def _find(path: Path) -> Path:
    """A path as it is or, for the name of a benchmark, where its pairs are."""
    benchmark = BENCHMARKS.get(path.name.lower())
    if benchmark is None:
        return path
    places = [path]
    if str(path).lower() in BENCHMARKS:
        places += _places(path.name.lower(), benchmark)
    for place in places:
        for part in (*benchmark.parts, ""):
            if (place / part).is_dir():
                return place / part
    if str(path).lower() not in BENCHMARKS or path.exists():
        return path
    by_hub = f"`hf download --repo-type dataset {benchmark.hub}`, or " if benchmark.hub else ""
    around = "" if os.environ.get(FOLDER) else f", or one around it as ${FOLDER}"
    raise TextError(
        f"There are no pairs of {path} in {', '.join(map(str, places))}; get them with {by_hub}"
        f"`git clone {benchmark.source}`, and name that folder{around}."
    )


def _places(name: str, benchmark: Benchmark) -> Iterator[Path]:
    """Where a benchmark is looked for: a folder of one's own, and the caches of Hugging Face."""
    from huggingface_hub import constants

    if os.environ.get(FOLDER):
        yield Path(os.environ[FOLDER]).expanduser() / name
    if benchmark.hub:
        cached = Path(constants.HF_HUB_CACHE) / f"datasets--{benchmark.hub.replace('/', '--')}"
        snapshots = sorted(cached.glob("snapshots/*"), key=lambda one: one.stat().st_mtime)
        yield snapshots[-1] if snapshots else cached
        prepared = os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets"
        yield Path(prepared).expanduser() / benchmark.hub.replace("/", "___")


def is_good_first(file: Path, first: First | None) -> bool:
    """Whether the acceptable sentence is the first of two lines."""
    return first == "good" or (first is None and "test_suites" in file.absolute().parts)


def _two_lines(file: Path, first: First | None) -> Iterator[dict[str, Any]]:
    """The pairs of a text file as rows of BLiMP's form."""
    lines = [str(row["text"]).strip() for row in read_rows(file)]
    if len(lines) % 2:
        raise TextError(
            f"{file} has {len(lines):,} sentences, and pairs are of two; add the one that is "
            "missing."
        )
    phenomenon, _, paradigm = file.stem.rpartition("-")
    columns = (GOOD[0], BAD[0]) if is_good_first(file, first) else (BAD[0], GOOD[0])
    for pair in zip(lines[::2], lines[1::2], strict=True):
        named = {BY[0]: phenomenon or paradigm, "UID": paradigm}
        yield dict(zip(columns, pair, strict=True)) | named


def _columns(row: dict[str, Any], by: str | None, file: Path) -> tuple[str, str, str | None]:
    """The columns of the two sentences and of what is tested."""
    good, bad = find_column(row, GOOD), find_column(row, BAD)
    if good is None or bad is None:
        check_column(row, (GOOD if good is None else BAD)[0], file)
    if by is not None:
        check_column(row, by, file)
    assert good is not None and bad is not None
    return good, bad, by or find_column(row, BY)
