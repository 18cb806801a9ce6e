"""What commands print and save. Answers go to stdout; notices, paths and warnings to stderr."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mbexplore.errors import OutputError

if TYPE_CHECKING:
    from mbexplore.explorer import ModelInfo
    from mbexplore.tokenizer import Encoding

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """Text made safe for a terminal: control and direction characters as escapes."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def print_json(payload: dict[str, Any]) -> None:
    """One JSON object on one line."""
    typer.echo(json.dumps(payload, ensure_ascii=False))


def notice(message: str) -> None:
    """A dim line on stderr."""
    typer.secho(message, err=True, dim=True)


def notice_bundled(info: ModelInfo) -> None:
    """Says, with the bundled model, how to get the real one."""
    if info.source == "bundled":
        notice(
            "Answered by the small bundled model, tiny; -m base opens answerdotai/ModernBERT-base "
            "(a download of 599 MB, once)."
        )


def notice_cut(encoding: Encoding) -> None:
    """Says that a text was truncated."""
    if len(encoding) < encoding.full_length:
        notice(f"The text was cut from {encoding.full_length:,} to {len(encoding):,} tokens.")


def model_line(info: ModelInfo) -> str:
    """Which model answered, in one line."""
    source = "" if info.source == info.name else f" ({info.source})"
    return f"{info.name}{source}, {info.parameters:,} parameters, {info.dtype} on {info.device}"


def check_target(path: Path, endings: Collection[str]) -> Path:
    """Refuses a file that can't be written, before any work is done for it.

    Raises:
        OutputError: unknown ending, or a folder that is missing or not writable.
    """
    ending = path.suffix.removeprefix(".").lower()
    if ending not in endings:
        raise OutputError(
            f"{path} ends in {path.suffix or 'nothing'!r}; choose one of "
            f"{', '.join('.' + known for known in endings)}."
        )
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder {path.parent}; make it, or choose another.")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; name a file.")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} is not writable; choose another.")
    return path


def write_whole(path: Path, content: bytes) -> None:
    """Writes beside the file and renames, so that it is never half there; tells the path."""
    try:
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            mask = os.umask(0)
            os.umask(mask)
            Path(beside).chmod(0o666 & ~mask)
            Path(beside).replace(path)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} can't be written ({error.strerror}); choose another.") from None
    typer.echo(str(path), err=True)
