"""The texts of earlier runs, in the user's data folder; one JSON string a line."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

MOST = 500
"""Texts that are kept."""

LONGEST = 20_000
"""Characters of a text that is kept; a longer one came from a file."""


def history_path() -> Path:
    """Where the texts lie: in the user's data folder of this platform."""
    from platformdirs import user_data_path

    return user_data_path("mbexplore", appauthor=False) / "history.jsonl"


class History:
    """Earlier texts, the latest last, and a place among them.

    A file that can't be read or written is no reason to stop anyone from exploring: the texts of
    this run are kept in memory all the same.

    Attributes:
        texts: the latest last, none twice in a row.
    """

    def __init__(self, path: Path | None) -> None:
        """Reads what there is.

        Args:
            path: None to keep nothing beyond this run.
        """
        self._path = path
        self.texts = _read(path) if path is not None else []
        self._place = len(self.texts)
        self._draft = ""

    def add(self, text: str) -> None:
        """Keeps a text that was run."""
        text = text.strip()
        if not text or len(text) > LONGEST:
            return
        if not self.texts or self.texts[-1] != text:
            self.texts = [*self.texts, text][-MOST:]
            self._append(text)
        self._place = len(self.texts)

    def step(self, by: int, draft: str) -> str | None:
        """The text before (-1) or after (1) the one shown; None at the ends.

        Args:
            by: -1 or 1.
            draft: what stands in the field; kept for the way back.
        """
        if self._place == len(self.texts):
            self._draft = draft
        place = self._place + by
        if not 0 <= place <= len(self.texts):
            return None
        self._place = place
        return self._draft if place == len(self.texts) else self.texts[place]

    def _append(self, text: str) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.touch(0o600)
            with self._path.open("a", encoding="utf-8") as file:  # one write of one line
                file.write(json.dumps(text) + "\n")


def _read(path: Path) -> list[str]:
    """The texts of a file; a line that is none is left out, and an overlong file is cut."""
    from mbexplore.files import write_beside

    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    texts: list[str] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            text = json.loads(line)
            texts += [text] if isinstance(text, str) and text else []
    if len(lines) > 2 * MOST:
        kept = "".join(json.dumps(text) + "\n" for text in texts[-MOST:])
        with contextlib.suppress(OSError):
            write_beside(path, lambda beside: beside.write_text(kept, encoding="utf-8"))
    return texts[-MOST:]
