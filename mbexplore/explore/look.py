"""How the explorer looks: light or dark, with colours or without. A hue means one thing."""

from __future__ import annotations

import os
from dataclasses import dataclass

from textual.theme import Theme

from mbexplore.display.palette import HUE

_COLOURS = {
    "primary": ("#6aaed6", HUE["global"]),
    "secondary": ("#f5a15a", HUE["local"]),
    "warning": ("#e3b341", "#8a5a00"),
    "error": ("#f2777a", "#b3261e"),
    "success": ("#7fb0a8", "#2f7d75"),
    "foreground": ("#d3dbe3", "#1f2933"),
    "background": ("#0d1218", "#fcfcfb"),
    "surface": ("#0d1218", "#fcfcfb"),
    "panel": ("#18212b", "#eceff2"),
    "faint": ("#8593a1", "#5f6b77"),
}
"""On a dark ground, and on a light one."""


def _theme(name: str, side: int) -> Theme:
    colours = {what: both[side] for what, both in _COLOURS.items()}
    variables = {"faint": colours.pop("faint")}
    return Theme(name=f"mbexplore-{name}", dark=side == 0, variables=variables, **colours)  # type: ignore[arg-type]


DARK, LIGHT = _theme("dark", 0), _theme("light", 1)
PLAIN = "ansi-dark"
"""Textual's theme without a background of its own, for a terminal that wants no colours."""

HUES = {"global": "$primary", "local": "$secondary"}
"""Styles of the layers' kinds."""


@dataclass(frozen=True)
class Look:
    """Light or dark, and with or without colours.

    Attributes:
        dark: light on dark.
        colour: whether there are colours; without them there are bold, reverse and shades.
    """

    dark: bool = True
    colour: bool = True

    @property
    def theme(self) -> str:
        """Name of the theme."""
        return (DARK if self.dark else LIGHT).name if self.colour else PLAIN


def terminal_is_dark() -> bool:
    """Whether the terminal says in `$COLORFGBG` that its background is dark; dark by default."""
    shade = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    return not shade.isdecimal() or int(shade) not in (7, 15)
