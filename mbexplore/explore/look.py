"""How the explorer looks: light or dark, with colours or without. A hue means one thing."""

from __future__ import annotations

import os
import re
import select
import sys
import time
from dataclasses import dataclass
from functools import cached_property

from rich.style import Style
from textual.theme import Theme

from mbexplore.display.palette import HUE
from mbexplore.network.config import LayerKind

DARK = Theme(
    name="mbexplore-dark",
    primary="#6aaed6",
    secondary="#f5a15a",
    accent="#f5a15a",
    warning="#e3b341",
    error="#f2777a",
    success="#7fb77e",
    foreground="#d3dbe3",
    background="#0d1218",
    surface="#0d1218",
    panel="#18212b",
    dark=True,
    variables={"border": "#3b4a5a", "border-blurred": "#26313d", "scrollbar": "#26313d"},
)
LIGHT = Theme(
    name="mbexplore-light",
    primary=HUE["global"],
    secondary=HUE["local"],
    accent=HUE["local"],
    warning="#8a5a00",
    error="#b3261e",
    success="#1a6b3a",
    foreground="#1f2933",
    background="#fcfcfb",
    surface="#fcfcfb",
    panel="#eceff2",
    dark=False,
    variables={"border": "#aab4be", "border-blurred": "#d5dae0", "scrollbar": "#d5dae0"},
)
PLAIN = "ansi-dark"
"""Textual's theme without a background of its own, for a terminal that wants no colours."""


@dataclass(frozen=True)
class Look:
    """Styles by what they mean.

    Attributes:
        dark: light on dark.
        colour: whether there are colours; without them there are bold, dim, reverse and shades.
    """

    dark: bool = True
    colour: bool = True

    @cached_property
    def plain(self) -> Style:
        """Text."""
        return Style()

    @cached_property
    def strong(self) -> Style:
        """What is named or held."""
        return Style(bold=True)

    @cached_property
    def faint(self) -> Style:
        """Places, units and remarks; still readable (contrast above 4.5)."""
        return self._of("#8593a1" if self.dark else "#5f6b77", Style(dim=True))

    @cached_property
    def rule(self) -> Style:
        """Lines between parts, and what is switched off."""
        return self._of("#3b4a5a" if self.dark else "#c3cad2", Style(dim=True))

    @cached_property
    def chosen(self) -> Style:
        """The chosen token."""
        back = "#d3dbe3" if self.dark else "#1f2933"
        fore = "#0d1218" if self.dark else "#fcfcfb"
        return Style(color=fore, bgcolor=back, bold=True) if self.colour else _REVERSE

    @cached_property
    def mask(self) -> Style:
        """A mask in the text."""
        return self._of("#e3b341" if self.dark else "#8a5a00", Style(bold=True)) + _BOLD

    @cached_property
    def error(self) -> Style:
        """What went wrong."""
        return self._of("#f2777a" if self.dark else "#b3261e", _BOLD)

    @cached_property
    def bar(self) -> Style:
        """Bars of probabilities."""
        return self._of("#7fb0a8" if self.dark else "#2f7d75", Style())

    def hue(self, kind: LayerKind) -> Style:
        """Blue for global layers, orange for local ones."""
        bright = {"global": "#6aaed6", "local": "#f5a15a"}[kind]
        return self._of(bright if self.dark else HUE[kind], Style())

    def _of(self, colour: str, otherwise: Style) -> Style:
        return Style(color=colour) if self.colour else otherwise


_BOLD = Style(bold=True)
_REVERSE = Style(reverse=True, bold=True)
_ANSWER = re.compile(rb"\x1b\]11;rgb:([0-9a-fA-F]+)/([0-9a-fA-F]+)/([0-9a-fA-F]+)")


def terminal_is_dark(wait: float = 0.15) -> bool:
    """Whether the terminal's background is dark, by asking it; dark where it does not answer.

    `$COLORFGBG` is believed where it is set. Otherwise the colour is asked for (OSC 11), with a
    question behind it (DA1) that every terminal answers, so that none is waited for in vain.

    Args:
        wait: seconds at most.
    """
    shade = os.environ.get("COLORFGBG", "").rpartition(";")[2]
    if shade.isdecimal():
        return int(shade) not in (7, 15)
    if sys.platform == "win32":
        return True
    answer = _ask(b"\x1b]11;?\x1b\\\x1b[c", wait)
    found = _ANSWER.search(answer)
    if found is None:
        return True
    red, green, blue = (int(part, 16) / (16.0 ** len(part) - 1) for part in found.groups())
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5


def _ask(question: bytes, wait: float) -> bytes:
    """What the terminal answers, up to the end of its answer to DA1."""
    import termios
    import tty

    source, answer = sys.stdin.fileno(), b""
    before = termios.tcgetattr(source)
    try:
        tty.setcbreak(source, termios.TCSANOW)
        os.write(sys.stderr.fileno(), question)
        until = time.monotonic() + wait
        while (left := until - time.monotonic()) > 0:
            if not select.select([source], [], [], left)[0]:
                break
            answer += os.read(source, 256)
            if answer.endswith(b"c"):
                break
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)
    return answer
