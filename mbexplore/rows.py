"""Tables that a person gives: rows by column, of csv, tsv, jsonl, parquet, arrow and plain text.

Rows come one at a time, so a file may be larger than memory.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mbexplore.errors import TextError, UsageError
from mbexplore.text import quoted, shortened

Row = dict[str, Any]
SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLES = (*SEPARATORS, ".jsonl", ".ndjson", ".parquet", ".arrow")
"""Endings of files whose rows have columns; any other is text, one a line."""
TEXT = "text"
"""The one column of a plain text file."""
_FIELD = 2**24
"""Most characters of a cell of csv."""


def read_rows(path: Path, *, headless: int = 0) -> Iterator[Row]:
    """The rows of a file, by column.

    Args:
        path: of the file; its ending says what it is.
        headless: where not 0, a csv or tsv of so many columns may lack a header: it does where a
            cell of its first line has a space in it. Its columns are "0", "1", ... then.

    Raises:
        TextError: the file can't be read, or a row is broken; the sentence names its line.
    """
    ending = path.suffix.lower()
    try:
        if ending in (".parquet", ".arrow"):
            yield from _columnar(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as file:
            if ending in SEPARATORS:
                yield from _separated(file, path, SEPARATORS[ending], headless)
            elif ending in (".jsonl", ".ndjson"):
                yield from _json_lines(file, path)
            else:
                yield from ({TEXT: line.rstrip("\r\n")} for line in file if line.strip())
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error.reason}); convert it to UTF-8.") from None
    except OSError as error:
        raise TextError(f"{path} can't be read ({error.strerror}); name a file of texts.") from None


def check_column(row: Row, column: str, path: Path) -> None:
    """Refuses a column that a row lacks.

    Raises:
        TextError: the sentence names the columns that are there.
    """
    if column not in row:
        there = ", ".join(map(quoted, row)) or "none"
        raise TextError(f"{path} has no column {quoted(column)}; its columns are {there}.")


def find_column(row: Row, names: Sequence[str]) -> str | None:
    """The first of these columns that a row has; capitals don't matter."""
    there = {name.lower(): name for name in reversed(row)}
    return next((there[name] for name in names if name in there), None)


def _separated(file: Any, path: Path, separator: str, headless: int) -> Iterator[Row]:
    csv.field_size_limit(_FIELD)
    reader = csv.reader(file, delimiter=separator)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cells):
                continue
            if header is None:
                is_data = len(cells) == headless and any(" " in one.strip() for one in cells)
                header = [str(i) for i in range(len(cells))] if is_data else _header(cells, path)
                if not is_data:
                    continue
            if len(cells) != len(header):
                raise TextError(
                    f"Line {reader.line_num:,} of {path} has {len(cells)} cells and the header "
                    f"{len(header)}; mend that line."
                )
            yield dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise TextError(
            f"Line {reader.line_num:,} of {path} can't be read ({error}); mend that line."
        ) from None


def _header(cells: Sequence[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TextError(f"{path} has two columns {quoted(twice)}; rename one.")
    return names


def _json_lines(file: Any, path: Path) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise TextError(
                f"Line {number:,} of {path} is no JSON object ({quoted(shortened(line, 40))}); "
                "mend that line."
            )
        yield row


def _columnar(path: Path) -> Iterator[Row]:
    """Rows of parquet, or of the arrow stream that Hugging Face's datasets keeps."""
    try:
        from pyarrow import ArrowException, ipc, memory_map, parquet
    except ImportError:
        raise UsageError(
            f"{path.name} needs pyarrow; pip install pyarrow, or convert it to csv."
        ) from None
    try:
        if path.suffix.lower() == ".arrow":
            with memory_map(str(path)) as source, ipc.open_stream(source) as stream:
                for batch in stream:
                    yield from batch.to_pylist()
            return
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from batch.to_pylist()
    except ArrowException as error:
        reason = shortened(" ".join(str(error).split()), 200).rstrip(".")
        raise TextError(f"{path} can't be read ({reason}); copy it again.") from None


def split_row(line: str) -> list[str]:
    """The cells of a line that is typed, or pasted from a table: between tabs, or else |."""
    return [cell.strip() for cell in line.split("\t" if "\t" in line else "|")]
