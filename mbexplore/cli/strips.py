"""Rows of numbers printed as lines of colour, one a layer or a head, with their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from mbexplore.display.half_blocks import Blocks
from mbexplore.display.palette import ON_BLACK, ramp
from mbexplore.network.config import LayerKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDEST = 120
"""The most columns of a line."""


def print_strips(
    console: Console,
    values: NDArray[np.floating],
    names: Sequence[str],
    kinds: Sequence[LayerKind],
    most: int = 2,
) -> int:
    """Prints a line a row, pooled to the largest where the terminal is too narrow.

    Args:
        console: to print on.
        values: (rows, columns), from 0 to 1.
        names: of the rows.
        kinds: whose hue each row has.
        most: cells that a column may take where there is room.

    Returns:
        Columns to a cell.
    """
    beside = max(map(len, names)) + 1
    room, columns = max(1, min(console.width - beside, WIDEST)), len(values[0])
    pool, times = -(-columns // room), max(1, min(most, room // columns))
    pooled = np.maximum.reduceat(values, range(0, columns, pool), axis=1).repeat(times, axis=1)
    colour = console.color_system is not None and not console.no_color
    for row, name, kind in zip(pooled, names, kinds, strict=True):
        both = np.stack((row, row))  # the upper and the lower half of a line
        [line] = Blocks(both, ramp(ON_BLACK[kind])).lines(colour=colour)
        label = Segment(name.ljust(beside), Style(dim=True))
        console.print(Segments([label, *line, Segment.line()]), end="")
    return pool
