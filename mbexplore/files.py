"""Files a person asks for: checked before any work is done, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mbexplore.errors import OutputError

PICTURES = ("png", "svg", "pdf")
DRAWN = (*PICTURES, "html", "json")
"""What every view with a picture can be saved as."""
TABLES = (*DRAWN, "csv")
"""What a view with a picture and a table can be saved as."""
ARRAYS = (*TABLES, "npz")
"""What a view with a picture, a table and arrays can be saved as."""
_PART = ".part"


def check_target(path: Path, endings: Collection[str]) -> Path:
    """Refuses a file that can't be written, before any work is done for it.

    Args:
        path: the file wanted.
        endings: formats it may have, without the dot.

    Returns:
        `path` itself.

    Raises:
        OutputError: unknown ending, or a folder that is missing or not writable.
    """
    ending = path.suffix.removeprefix(".").lower()
    if ending not in endings:
        has = f"ends in {path.suffix!r}" if path.suffix else "has no ending"
        known = ", ".join(f".{one}" for one in dict.fromkeys(endings))
        raise OutputError(f"{path} {has}; choose one of {known}.")
    if not os.path.isdir(path.parent):
        raise OutputError(f"There is no folder {path.parent}; make it, or choose another.")
    if os.path.isdir(path):
        raise OutputError(f"{path} is a folder; name a file.")
    try:
        os.lstat(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:  # a name too long, or with a zero byte in it
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{path} can't be written ({reason}); choose another name.") from None
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} is not writable; choose another.")
    return path


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a name beside `path`, then renames that file over it.

    A reader meets the whole file or the one before, whatever happens meanwhile: a full disk, a
    `kill -9`, another writer. What `write` raises passes through; nothing is left behind then.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=_PART)
    os.close(handle)
    beside = Path(name)
    try:
        write(beside)
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path, remedy: str) -> Iterator[None]:
    """Turns a failure of the disk in the `with` block into a sentence.

    Args:
        path: what is written there.
        remedy: the end of the sentence, after "can't be written (reason)".

    Raises:
        OutputError: it can't be written.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} can't be written ({error.strerror}){remedy}") from None


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole.

    Raises:
        OutputError: it can't be written; what was there before is unharmed.
    """
    with writing(path, " and is as it was; make room, or choose another place."):
        write_beside(path, lambda beside: beside.write_bytes(content))


def clear_parts(folder: Path) -> None:
    """Removes what killed writers left in a folder that nobody writes to now."""
    for path in folder.glob(f".*{_PART}"):
        with suppress(OSError):
            path.unlink()
