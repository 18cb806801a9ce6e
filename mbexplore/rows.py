"""Tables that a person gives: rows by column, of csv, tsv, jsonl, parquet, arrow and plain text.

Rows come one at a time, so a file may be larger than memory. hf:NAME, or hf:NAME:SPLIT, is a
dataset that the package datasets opens: one of the Hugging Face Hub, or a folder of files.
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
_DATASET = "hf:"


def read_rows(path: Path, *, headless: int = 0) -> Iterator[Row]:
    """The rows of a file, by column.

    Args:
        path: of the file; its ending says what it is.
        headless: where not 0, a csv or tsv of so many columns may lack a header: it does where a
            cell of its first line has a space in it. Its columns are "0", "1", ... then.

    Raises:
        TextError: the file can't be read, or a row is broken; the sentence names its line.
    """
    for row in read_each(path, headless=headless):
        if isinstance(row, TextError):
            raise row
        yield row


def read_each(path: Path, *, headless: int = 0) -> Iterator[Row | TextError]:
    """The same, with the error of a broken row in its place.

    Raises:
        TextError: the file can't be read.
    """
    ending = path.suffix.lower()
    try:
        if is_dataset(path):
            yield from _dataset(str(path))
            return
        if ending in (".parquet", ".arrow"):
            yield from _columnar(path)
            return
        errors = "strict" if ending in SEPARATORS else "surrogateescape"  # seen line by line
        with path.open(encoding="utf-8-sig", newline="", errors=errors) as file:
            if ending in SEPARATORS:
                yield from _separated(file, path, SEPARATORS[ending], headless)
            else:
                yield from _lines(file, path, is_json=ending in (".jsonl", ".ndjson"))
    except UnicodeDecodeError as error:
        raise TextError(f"{path} is not UTF-8 ({error.reason}); convert it to UTF-8.") from None
    except OSError as error:
        raise TextError(f"{path} can't be read ({error.strerror}); name a file of texts.") from None


def is_dataset(path: Path) -> bool:
    """Whether this names a dataset of the package datasets, and no file."""
    return str(path).startswith(_DATASET)


def stamp(path: Path) -> list[Any]:
    """What is another where the file has changed: its size and time; of a dataset, its name."""
    if is_dataset(path):
        return [str(path)]
    stat = path.stat()
    return [str(path), stat.st_size, stat.st_mtime_ns]


def check_column(row: Row, column: str, path: Path) -> None:
    """Refuses a column that a row lacks.

    Raises:
        TextError: the sentence names the columns that are there.
    """
    if column not in row:
        there = ", ".join(map(quoted, row)) or "none"
        raise TextError(f"{path} has no column {quoted(column)}; name one of {there}.")


def find_column(row: Row, names: Sequence[str]) -> str | None:
    """The first of these columns that a row has; capitals don't matter."""
    there = {name.lower(): name for name in reversed(row)}
    return next((there[name] for name in names if name in there), None)


def _separated(file: Any, path: Path, separator: str, headless: int) -> Iterator[Row | TextError]:
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
                yield TextError(
                    f"Line {reader.line_num:,} of {path} has {len(cells)} cells and the header "
                    f"{len(header)}; mend that line."
                )
                continue
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


def _lines(file: Any, path: Path, *, is_json: bool) -> Iterator[Row | TextError]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        where = f"Line {number:,} of {path}"
        if not _is_text(line):
            yield TextError(f"{where} is not UTF-8; convert it to UTF-8.")
        elif not is_json:
            yield {TEXT: line.rstrip("\r\n")}
        elif (row := _object(line)) is not None:
            yield row
        else:
            yield TextError(
                f"{where} is no JSON object ({quoted(shortened(line, 40))}); mend that line."
            )


def _is_text(line: str) -> bool:
    """Whether a line that was read with "surrogateescape" was UTF-8."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _dataset(named: str) -> Iterator[Row]:
    name, _, split = named.removeprefix(_DATASET).partition(":")
    try:
        from datasets import load_dataset
    except ImportError:
        raise UsageError(f"{named} needs the package datasets; pip install datasets.") from None
    try:
        yield from load_dataset(name, split=split or "train", streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = shortened(" ".join(str(error).split()), 200).rstrip(".")
        raise TextError(
            f"{named} can't be opened ({reason}); name a dataset and, after a colon, its split."
        ) from None


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
