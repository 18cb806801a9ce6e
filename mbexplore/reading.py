"""Files that come from elsewhere: only regular ones, and only up to a size.

Everything of a checkpoint but its tensors is read here. A file may be a named pipe or a link to a
device that never ends; JSON may be nested or numerous enough to break a parser.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from mbexplore.errors import ModelError

JSON_BYTES = 16 * 2**20
"""Far more than any config, index or list of special tokens has."""
_DEPTH, _DIGITS = 64, 100
_SURROGATE = re.compile("[\ud800-\udfff]")


def check_regular(path: Path) -> None:
    """Refuses what is no regular file, before a library opens it.

    Raises:
        FileNotFoundError: there is none.
        ModelError: it is a folder, a pipe or a device, or can't be opened.
    """
    os.close(_open(path))


def read_bytes(path: Path, most: int) -> bytes:
    """A file's content.

    Args:
        path: of a regular file.
        most: bytes it may have.

    Raises:
        FileNotFoundError: there is none.
        ModelError: it is no regular file, is larger, or can't be read.
    """
    with os.fdopen(_open(path), "rb") as file:
        try:
            content = file.read(most + 1)
        except OSError as error:
            raise ModelError(f"{path} can't be read ({error.strerror}); copy it again.") from None
    if content is None:  # a file of the system's that waits for more
        raise ModelError(f"{path} is no regular file; copy it again.")
    if len(content) > most:
        raise ModelError(
            f"{path} has more than {most // 2**20} MiB, the most that mbexplore reads of such a "
            "file; copy it again from a source you trust."
        )
    return content


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        FileNotFoundError: there is none.
        ModelError: see `read_any_json`; or it is no object.
    """
    values = read_any_json(path)
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no JSON object; copy it again.")
    return values


def read_any_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is none.
        ModelError: it can't be read, or holds what no real file does: text that is no Unicode,
            numbers of a hundred digits, or values nested 64 deep.
    """
    content = read_bytes(path, JSON_BYTES)
    try:
        values = json.loads(content.decode("utf-8"), parse_int=_parse_int)
        _check(values, look_at_text=b"\\ud" in content.lower())
    except RecursionError:
        raise ModelError(f"{path} can't be read as JSON ({_DEEP}); copy it again.") from None
    except ValueError as error:
        raise ModelError(f"{path} can't be read as JSON ({error}); copy it again.") from None
    return values


def read_optional_json(path: Path) -> dict[str, Any]:
    """`read_json` of a file that may be missing: an empty object then."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}


def _open(path: Path) -> int:
    """A descriptor that reading can't wait on for ever: a pipe is opened without its writer."""
    try:
        opened = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path} can't be read ({reason}); copy it again.") from None
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise ModelError(f"{path} is no regular file; copy it again.")


_DEEP = f"values are nested more than {_DEPTH} deep"


def _parse_int(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise ValueError(f"a number has {len(digits):,} digits")
    return int(digits)


def _check(values: Any, look_at_text: bool) -> None:
    """Looks through a parsed file, without recursion; at its text only where that may be wrong.

    Raises:
        ValueError: see `read_json`.
    """
    level, depth = [values], 0
    while level:
        depth += 1
        if depth > _DEPTH:
            raise ValueError(_DEEP)
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                below += value if look_at_text else ()
            elif isinstance(value, list):
                below += value
            elif look_at_text and isinstance(value, str) and (half := _SURROGATE.search(value)):
                raise ValueError(f"half of a character, U+{ord(half[0]):04X}, is in a text")
        level = below
