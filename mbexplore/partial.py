"""A table that is written while it is computed, and goes on where it was broken off.

Rows are kept beside the file, in NAME.partial, a line of JSON for the texts that were run together,
and become csv, jsonl or parquet when all are there. A line that was broken off is dropped: what is
run together rounds alike, so the table has the same bytes wherever a run was stopped.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from mbexplore.errors import UsageError
from mbexplore.files import write_beside, writing
from mbexplore.text import json_line

Row = dict[str, Any]
Rows = tuple[Sequence[str], list[list[Any]]]
"""Neighbours with the same columns: those, and the cells of each."""
ENDINGS = ("csv", "jsonl", "parquet")
REMEDY = "; make room, or choose another place."
_BATCH = 1024
_FORMAT = 2
"""Of what is kept; 1 had a line of rows with their names."""


class Partial:
    """The rows of a table so far.

    Attributes:
        path: of the table.
        done: texts whose rows are there.
        failed: rows that hold an error.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        """Finds what an earlier run with the same `about` left.

        Args:
            path: of the table to be.
            about: what the rows depend on: command, input.

        Raises:
            UsageError: what is there is of another command.
            OutputError: it can't be written.
        """
        self.path = path
        self._place = path.with_name(f"{path.name}.partial")
        self._about = json.loads(json_line({"format": _FORMAT} | dict(about)))
        self.done = self.failed = 0
        self._columns: dict[str, None] = {}
        self._is_csv = path.suffix.lower() == ".csv"
        if path.suffix.lower() == ".parquet":
            _arrow(path)  # before any work
        with writing(self._place, REMEDY):
            self._resume()

    def _resume(self) -> None:
        """Drops what was broken off, and counts the lines before it."""
        about = json_line(self._about).encode() + b"\n"
        self._place.touch()
        with self._place.open("rb+") as file:
            first = file.readline()
            if first != about[: len(first)]:
                raise UsageError(
                    f"{self._place} is of another command or version; remove it, or choose "
                    "another file."
                )
            file.seek(0)
            file.write(about)
            whole = len(about)
            for line in file:
                kept = _parsed(line)
                if not line.endswith(b"\n") or kept is None:
                    break
                self._count(*kept)
                whole += len(line)
            file.truncate(whole)

    def _count(self, texts: int, kept: Sequence[Rows]) -> None:
        """Takes notice of the rows of some texts."""
        self.done += texts
        for columns, rows in kept:
            self._columns |= dict.fromkeys(columns)
            self.failed += len(rows) * ("error" in columns)

    def append(self, texts: Sequence[Sequence[Row]]) -> None:
        """Keeps the rows of texts that were run together.

        Raises:
            OutputError: they can't be written.
        """
        cells = map(self._cells, chain.from_iterable(texts))
        kept = [
            (columns, [list(row.values()) for row in rows])
            for columns, rows in groupby(cells, key=tuple)
        ]
        with writing(self._place, REMEDY), self._place.open("a", encoding="utf-8") as file:
            file.write(json_line([len(texts), kept]) + "\n")
        self._count(len(texts), kept)

    def _kept(self) -> Iterator[Rows]:
        """What is kept of all texts, in their order."""
        with self._place.open(encoding="utf-8") as file:
            next(file)
            for line in file:
                yield from json.loads(line)[1]

    def _rows(self) -> Iterator[Row]:
        for columns, rows in self._kept():
            for row in rows:
                yield dict(zip(columns, row, strict=True))

    def discard(self) -> None:
        """Removes what is kept."""
        self._place.unlink()

    def finish(self) -> None:
        """Writes the table whole and removes what was kept beside it.

        Raises:
            OutputError: it can't be written.
        """
        write = {".csv": self._csv, ".jsonl": self._jsonl, ".parquet": self._parquet}
        with writing(self.path, REMEDY):
            write_beside(self.path, write[self.path.suffix.lower()])
            self._place.unlink()

    def _csv(self, path: Path) -> None:
        columns = [name for name in self._columns if name != "error"]
        columns += ["error"] * (self.failed > 0)  # last, wherever the first text with one stands
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for names, rows in self._kept():
                if names != columns:
                    cells = (dict(zip(names, row, strict=True)) for row in rows)
                    rows = [[row.get(name, "") for name in columns] for row in cells]
                writer.writerows(rows)

    def _jsonl(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json_line(row) + "\n" for row in self._rows())

    def _parquet(self, path: Path) -> None:
        arrow, parquet = _arrow(path)
        schema = arrow.unify_schemas(
            [arrow.Table.from_pylist(some).schema for some in _batches(self._squared())],
            promote_options="permissive",
        )
        with parquet.ParquetWriter(path, schema) as writer:
            for some in _batches(self._squared()):
                writer.write_table(arrow.Table.from_pylist(some, schema))

    def _squared(self) -> Iterator[Row]:
        """Every row with every column."""
        for row in self._rows():
            yield {name: row.get(name) for name in self._columns}

    def _cells(self, row: Row) -> Row:
        """What stands in the columns: in csv, where cells are plain, a vector has several."""
        return _flat(row) if self._is_csv and list in map(type, row.values()) else row


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _flat(row: Row) -> Row:
    """A row of plain cells: a vector becomes columns."""
    flat: Row = {}
    for name, value in row.items():
        if isinstance(value, list):
            flat |= {f"{name}_{i}": one for i, one in enumerate(value)}
        else:
            flat[name] = value
    return flat


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while some := list(islice(rows, _BATCH)):
        yield some


def _arrow(path: Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f"{path.name} needs pyarrow; pip install pyarrow, or write csv or jsonl."
        ) from None
    return pyarrow, parquet
