"""How the explorer looks: light or dark, with colours or without. A hue means one thing."""

from __future__ import annotations

import os
from dataclasses import dataclass

from textual.theme import Theme

from mbexplore.display.palette import HUE

DARK = Theme(
    name="mbexplore-dark",
    primary="#6aaed6",
    secondary="#f5a15a",
    warning="#e3b341",
    error="#f2777a",
    success="#7fb0a8",
    foreground="#d3dbe3",
    background="#0d1218",
    surface="#0d1218",
    panel="#18212b",
    dark=True,
    variables={"faint": "#8593a1"},
)
LIGHT = Theme(
    name="mbexplore-light",
    primary=HUE["global"],
    secondary=HUE["local"],
    warning="#8a5a00",
    error="#b3261e",
    success="#2f7d75",
    foreground="#1f2933",
    background="#fcfcfb",
    surface="#fcfcfb",
    panel="#eceff2",
    dark=False,
    variables={"faint": "#5f6b77"},
)
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
