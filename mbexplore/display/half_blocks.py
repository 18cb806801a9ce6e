"""Pixels in a terminal: two rows a line, as half blocks in two colours, or as shades."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from rich.style import Style
from rich.text import Text

from mbexplore.display.blocks import Hue
from mbexplore.display.palette import colour_of

HALF = "\N{UPPER HALF BLOCK}"
SHADES = " \N{LIGHT SHADE}\N{MEDIUM SHADE}\N{DARK SHADE}\N{FULL BLOCK}"
LEVELS = 64
"""Colours of a scale."""
OUTSIDE = "#050709"
"""What lies outside the window: nearly black."""


def pixel_lines(
    shares: NDArray[np.floating], outside: NDArray[np.bool_], hue: Hue, colour: bool
) -> list[Text]:
    """Pixels as lines of half blocks, two rows a line; without colours as one shade a cell.

    Args:
        shares: (rows, columns), how dark each is, from 0 to 1.
        outside: pixels that the window leaves out.
        hue: of the colours.
        colour: whether there are any; a shade is that of the darker of its two pixels.
    """
    firsts = range(0, len(shares), 2)
    if not colour:
        darker = np.maximum.reduceat(np.where(outside, 0, shares), firsts, axis=0)
        levels = np.rint(darker * (len(SHADES) - 1)).astype(int).tolist()
        return [Text("".join(SHADES[level] for level in line)) for line in levels]
    colours = np.where(outside, LEVELS, np.rint(shares * (LEVELS - 1))).astype(int).tolist()
    lines = []
    for row in firsts:
        lower = colours[row + 1] if row + 1 < len(colours) else [None] * len(colours[row])
        line = Text()
        for pair, run in groupby(zip(colours[row], lower, strict=True)):
            line.append(HALF * len(list(run)), _style(hue, *pair))
        lines.append(line)
    return lines


@lru_cache(LEVELS**2)
def _style(hue: Hue, upper: int, lower: int | None) -> Style:
    """The upper pixel is the character's colour, the lower its background."""
    return Style(color=_colour(hue, upper), bgcolor=None if lower is None else _colour(hue, lower))


def _colour(hue: Hue, level: int) -> str:
    return OUTSIDE if level == LEVELS else colour_of(hue, level / (LEVELS - 1), dark=True)
