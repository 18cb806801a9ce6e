"""Names that have changed: the old ones work for one more version, and warn.

Commands, options, keywords and Python names are promised (see CONTRIBUTING.md). Whoever renames
one enters it here; a test tells when an entry's time is over.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

Kind = Literal["command", "option", "keyword", "name"]


@dataclass(frozen=True)
class Renamed:
    """A name that has changed.

    Attributes:
        kind: a command, an option ("--old"), a keyword of a view, or a name of the package.
        old: as it was.
        new: as it is.
        gone: the version in which the old one is gone, "0.3.0".
        view: of which view or command; "" for any.
    """

    kind: Kind
    old: str
    new: str
    gone: str
    view: str = ""

    @property
    def sentence(self) -> str:
        """What is said where the old name is used."""
        return f"{self.old} is now {self.new}, and gone in mbexplore {self.gone}; use {self.new}."


RENAMED: tuple[Renamed, ...] = ()
"""Every name whose old form still works."""


def find_renamed(kind: Kind, old: str, view: str = "") -> Renamed | None:
    """The entry of an old name; None where it has none."""
    return next(
        (x for x in RENAMED if (x.kind, x.old) == (kind, old) and x.view in ("", view)), None
    )


def current_name(kind: Kind, old: str, view: str = "") -> str:
    """The name that counts now; warns where `old` is an old one."""
    entry = find_renamed(kind, old, view)
    if entry is None:
        return old
    warnings.warn(entry.sentence, FutureWarning, stacklevel=3)
    return entry.new
