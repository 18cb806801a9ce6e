"""How a view is read: three lines for whoever sees it for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FRANCE = "The capital of France is [MASK]."
ITALY = "The capital of Italy is [MASK]."


@dataclass(frozen=True)
class Guide:
    """Three lines in plain language, and what makes the last one run.

    Attributes:
        you_see: what is on the screen.
        how_to_read: what large, dark or high means, and what follows from it.
        try_this: a thing to do next.
        values: parameters that do it.
        texts: that it needs; where there are none, any text will do.
        view: that does it, where it is another one.
    """

    you_see: str
    how_to_read: str
    try_this: str
    values: Mapping[str, Any] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    view: Any = None

    @property
    def lines(self) -> dict[str, str]:
        """The lines by their names."""
        return {
            "You see": self.you_see,
            "How to read it": self.how_to_read,
            "Try this": self.try_this,
        }
