"""Many texts in a file, each with what it is called there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbexplore.errors import TextError
from mbexplore.rows import TEXT, Row, check_column, find_column, read_rows
from mbexplore.text import quoted

COLUMNS = (TEXT, "prompt", "sentence", "template", "question")
"""Columns that hold the text where none is named."""
NUMBER = "line"
"""What the number of a text, from 0, is called where it has no id."""


@dataclass(frozen=True)
class Prompt:
    """A text of a file.

    Attributes:
        id: what it is called there, or its number from 0.
        text: "" where the cell is empty.
    """

    id: Any
    text: str


@dataclass(frozen=True)
class Prompts:
    """The texts of a file; they are read anew whenever they are gone through.

    Attributes:
        path: csv, tsv, jsonl, parquet, or text with one a line.
        column: of the texts; None for the first of `COLUMNS`, or the only one.
        id: the column of what they are called; None for "id", or their number.
    """

    path: Path
    column: str | None = None
    id: str | None = None

    def __iter__(self) -> Iterator[Prompt]:
        """The texts.

        Raises:
            TextError: the file can't be read, or lacks a column; the sentence names those it has.
        """
        names: tuple[str, str | None] | None = None
        for number, row in enumerate(read_rows(self.path)):
            column, identity = names = names or self._names(row)
            check_column(row, column, self.path)
            text = row[column]
            if not isinstance(text, str | None):
                raise TextError(
                    f"Row {number:,} of {self.path} has {quoted(text)} in column {quoted(column)}, "
                    "which is no text; name another column."
                )
            yield Prompt(number if identity is None else row.get(identity), text or "")

    def count(self) -> int:
        """How many there are.

        Raises:
            TextError: see `__iter__`; or there are none.
        """
        number = sum(1 for _ in self)
        if not number:
            raise TextError(f"{self.path} has no rows; give at least one text.")
        return number

    @property
    def id_name(self) -> str:
        """What the column of ids is called in what is written."""
        row = next(read_rows(self.path), {})
        return self._names(row)[1] or NUMBER

    def _names(self, row: Row) -> tuple[str, str | None]:
        """The columns of texts and of ids."""
        column = self.column or find_column(row, COLUMNS)
        if column is None and len(row) == 1:
            column = next(iter(row))
        if column is None:
            there = ", ".join(map(quoted, row)) or "none"
            raise TextError(
                f"{self.path} has several columns, {there}; name the one with the texts."
            )
        check_column(row, column, self.path)
        if self.id is not None:
            check_column(row, self.id, self.path)
        return column, self.id or find_column(row, ("id",))
