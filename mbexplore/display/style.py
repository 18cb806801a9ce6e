"""How pictures are made for a place: its ground, its width, the size and the font of its letters.

A figure is laid out at the size at which letters have the size that a renderer names, in `room()`
inches; `zoom` then enlarges all of it alike. Renderers take every colour from here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import Literal, TypedDict, get_args

from mbexplore.display.blocks import Hue
from mbexplore.display.palette import DARK, FAINT, HUE, INK, LIGHT, SIGN, contrast, head_colour
from mbexplore.display.palette import colour_of as _colour_of
from mbexplore.errors import RangeError, UsageError

Name = Literal["screen", "paper", "slides", "dark"]
STYLES: tuple[Name, ...] = get_args(Name)
NARROWEST, WIDEST = 2.5, 60.0
"""Inches that a picture may be wide."""
LEAST_DPI, MOST_DPI = 50, 1200
LEAST_POINTS = 6.0
"""No letter is smaller."""
_ZOOM = {"paper": 0.85, "slides": 1.5}
_DPI = {"paper": 300, "slides": 200}
_UNITS = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72}
_ON_DARK = {INK: "#e8ecf0", FAINT: "#9aa5b1"}


HELP = {
    "style": "What the picture is for: size of letters, and ground; screen by default.",
    "width": "Its width: 3.3in, 84mm, 240pt.",
    "dpi": "Dots per inch of a png; 150, on paper 300.",
    "title": "Above it, in place of the model, the text and the answer.",
    "font": "An installed family of fonts.",
}
"""What each option of a picture does, wherever it can be given."""


class FigureOptions(TypedDict, total=False):
    """Keywords of `Result.figure` and `Result.save`; see `FigureStyle`."""

    style: Name
    width: str | float | None
    dpi: int | None
    title: str | None
    font: str | None


@dataclass(frozen=True)
class FigureStyle:
    """What a picture is made for.

    Attributes:
        style: "screen"; "paper" with smaller letters and 300 dots per inch; "slides" with larger
            ones; "dark" for a dark ground.
        width: "3.3in", "84mm", "8.4cm", "240pt", or a number of inches; by default as wide as what
            is shown.
        dpi: dots per inch of a png; 150, or the style's, by default.
        title: above the picture, in place of the model, the text and the answer; "" for none.
        font: an installed family of fonts.

    Raises:
        UsageError: there is no such style, or `width` is no length.
        RangeError: the width or the dots are out of range.
    """

    style: Name = "screen"
    width: str | float | None = None
    dpi: int | None = None
    title: str | None = None
    font: str | None = None

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise UsageError(f"There is no style {self.style!r}; choose {', '.join(STYLES)}.")
        if self.dpi is not None and not LEAST_DPI <= self.dpi <= MOST_DPI:
            raise RangeError(f"dpi is {self.dpi:,}; choose {LEAST_DPI} to {MOST_DPI:,}.")
        if self.inches is not None and not NARROWEST <= self.inches <= WIDEST:
            raise RangeError(f"The width is {self.width}; choose {NARROWEST:g}in to {WIDEST:g}in.")

    @property
    def inches(self) -> float | None:
        """The width, where one is asked for."""
        if self.width is None:
            return None
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?(in|cm|mm|pt|)", str(self.width).strip())
        if found is None:
            raise UsageError(f"The width is {self.width!r}; give a length such as 3.3in or 84mm.")
        return float(found[1]) * _UNITS[found[2]]

    @property
    def zoom(self) -> float:
        """Size of the letters against those of the screen."""
        return _ZOOM.get(self.style, 1.0)

    @property
    def dots(self) -> int:
        """Dots per inch."""
        return self.dpi or _DPI.get(self.style, 150)


SCREEN = FigureStyle()
_NOW: ContextVar[FigureStyle] = ContextVar("style", default=SCREEN)


@contextmanager
def drawn_in(style: FigureStyle) -> Iterator[None]:
    """Draws in a style for as long as the `with` block lasts."""
    token = _NOW.set(style)
    try:
        yield
    finally:
        _NOW.reset(token)


def is_dark() -> bool:
    """Whether the ground is dark."""
    return _NOW.get().style == "dark"


def room() -> float:
    """Inches that a block may be wide, before all is enlarged; infinite where nothing is asked."""
    style = _NOW.get()
    return inf if style.inches is None else style.inches / style.zoom


def ground() -> str:
    """The colour of the ground."""
    return (DARK if is_dark() else LIGHT)["plain"][0]


def ink(hue: Hue = "plain") -> str:
    """The colour of words and lines in a hue."""
    return _on_ground(HUE[hue] if hue == "global" or hue == "local" else INK)


def faint() -> str:
    """The colour of lines and names that stand behind."""
    return _on_ground(FAINT)


def sign(is_above: bool) -> str:
    """The colour of what is above 0, or below it."""
    return _on_ground(SIGN[is_above])


def head_ink(head: int) -> str:
    """The hue of a head."""
    return _on_ground(head_colour(head))


def colour_of(hue: Hue, share: float) -> str:
    """The colour at a place of a hue's scale; see `palette.colour_of`."""
    return _colour_of(hue, share, dark=is_dark())


def stops(hue: Hue) -> list[str]:
    """A hue's scale."""
    return list((DARK if is_dark() else LIGHT)[hue])


def _on_ground(colour: str) -> str:
    """A colour that can be read on the ground: on a dark one, lightened as far as it takes."""
    if not is_dark():
        return colour
    light = _ON_DARK.get(colour, colour)
    while contrast(light, ground()) < 4.5:
        light = "#" + "".join(
            f"{min(c + (255 - c) // 8 + 1, 255):02x}" for c in bytes.fromhex(light[1:])
        )
    return light
