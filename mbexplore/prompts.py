"""Many texts in a file, each with what it is called there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mbexplore.errors import TextError
from mbexplore.rows import TEXT, Row, check_column, find_column, read_each
from mbexplore.text import quoted

COLUMNS = (TEXT, "prompt", "sentence", "template", "question")
"""Columns that hold the text where none is named."""
NUMBER = "line"
"""What the number of a text, from 0, is called where it has no id."""
NAMED = 3
"""Broken rows that are named."""


@dataclass(frozen=True)
class Prompt:
    """A text of a file.

    Attributes:
        id: what it is called there, or its number from 0.
        text: "" where the cell is empty.
        error: what is wrong with its row; its text is "" then.
    """

    id: Any
    text: str
    error: str | None = None


@dataclass(frozen=True)
class Survey:
    """What a file holds.

    Attributes:
        rows: of the file, broken ones too.
        broken: rows that can't be read.
        errors: of the first of these, `NAMED` at most.
    """

    rows: int
    broken: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Prompts:
    """The texts of a file; they are read anew whenever they are gone through.

    Attributes:
        path: csv, tsv, jsonl, parquet, text with one a line, or a dataset; see `read_rows`.
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
        for prompt in self.each():
            if prompt.error is not None:
                raise TextError(prompt.error)
            yield prompt

    def each(self) -> Iterator[Prompt]:
        """The texts, with the error of a broken row in its place.

        Raises:
            TextError: the file can't be read, or its first whole row lacks a column.
        """
        names: tuple[str, str | None] | None = None
        for number, row in enumerate(read_each(self.path)):
            if isinstance(row, TextError):
                yield Prompt(number, "", str(row))
                continue
            names = names or self._names(row)
            yield self._prompt(number, row, *names)

    def _prompt(self, number: int, row: Row, column: str, identity: str | None) -> Prompt:
        name = number if identity is None else row.get(identity, number)
        try:
            check_column(row, column, self.path)
        except TextError as error:
            return Prompt(name, "", str(error))
        text = row[column]
        if not isinstance(text, str | None):
            return Prompt(name, "", (
                f"Row {number:,} of {self.path} has {quoted(text)} in column {quoted(column)}, "
                "which is no text; name another column."
            ))  # fmt: skip
        return Prompt(name, text or "")

    def count(self) -> int:
        """How many there are.

        Raises:
            TextError: see `__iter__`; or there are none.
        """
        return self.survey(strict=True).rows

    def survey(self, *, strict: bool = False) -> Survey:
        """How many rows there are, and which are broken.

        Args:
            strict: whether a broken row is an error.

        Raises:
            TextError: the file can't be read, or has no row that can be.
        """
        rows, broken = 0, 0
        errors: list[str] = []
        for prompt in self.each():
            rows += 1
            if prompt.error is None:
                continue
            if strict:
                raise TextError(prompt.error)
            broken += 1
            if len(errors) < NAMED:
                errors.append(prompt.error)
        if not rows:
            raise TextError(f"{self.path} has no rows; give at least one text.")
        if broken == rows:
            raise TextError(errors[0])
        return Survey(rows, broken, tuple(errors))

    @property
    def id_name(self) -> str:
        """What the column of ids is called in what is written."""
        row = next((row for row in read_each(self.path) if not isinstance(row, TextError)), {})
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
