"""Parameters that are lists of texts: in one argument, in several, or in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from mbexplore.cli import options
from mbexplore.errors import UsageError
from mbexplore.views.parameters import Parameter, join_texts

_IN_FILE = re.compile(r"(?P<slot>\w*=)?@(?P<path>.+)", re.DOTALL)


def file_option(one: Parameter) -> Any:
    """The option that reads a list from a file."""
    about = f"Read {one.flag} from a file, one a line."
    return Annotated[
        Path | None,
        typer.Option(f"{one.flag}-file", help=about, metavar="FILE"),
    ]


def read_list(one: Parameter, given: list[str], file: Path | None) -> tuple[str, ...]:
    """The texts of a list, those in files too.

    Args:
        one: the parameter.
        given: what was written, once or several times; "@FILE" stands for the lines of a file, and
            "name=@FILE" for a list of them.
        file: another file, one text a line.

    Raises:
        UsageError: what was written holds no text.
        TextError: a file can't be read, or is empty.
    """
    parts = given
    if one.option.separator:
        parts = [part for text in given for part in one.split(text)]
        if given and not parts:
            raise UsageError(f"{one.flag} names nothing; give a word, or leave it out.")
    if one.option.from_file:
        parts = [text for part in parts for text in _expand(part, one.option.separator)]
    return (*parts, *(options.read_file_lines(file) if file is not None else ()))


def _expand(part: str, separator: str) -> list[str]:
    found = _IN_FILE.fullmatch(part)
    if found is None:
        return [part]
    lines = options.read_file_lines(Path(found["path"]))
    if separator == "," and not found["slot"]:
        return lines
    return [(found["slot"] or "") + join_texts(lines, ",")]
