"""Heat maps in a terminal: two values a character, as a half block in two colours.

An array and a ramp of colours go in, lines of rich segments come out; rich turns their colours to
what the terminal has (true colour, 256 or 16), and without colours there are shades. Knows no
command and no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

HALF = "\N{UPPER HALF BLOCK}"
SHADES = " \N{LIGHT SHADE}\N{MEDIUM SHADE}\N{DARK SHADE}\N{FULL BLOCK}"

Ramp = Sequence[tuple[int, int, int]]


@dataclass(frozen=True, eq=False)
class Blocks:
    """A heat map that rich can print; a line holds two rows of values.

    Attributes:
        values: (rows, columns), from 0 to 1; what lies outside is cut.
        colours: from 0 to 1, as `palette.ramp` makes them.
    """

    values: NDArray[np.floating]
    colours: Ramp

    def lines(self, *, colour: bool = True) -> list[list[Segment]]:
        """The picture line by line, every line as many cells wide as there are columns.

        Args:
            colour: half blocks in colour; otherwise one shade a cell, for the larger of its two
                values.
        """
        return _half_blocks(self.values, self.colours) if colour else _shades(self.values)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        colour = console.color_system is not None and not console.no_color
        for line in self.lines(colour=colour):
            yield from line
            yield Segment.line()

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self.values.shape[1], self.values.shape[1])


def fit(
    values: NDArray[np.floating], columns: int, lines: int, most: int = 2
) -> NDArray[np.floating]:
    """The same picture in at most so many cells: pooled to the largest, or enlarged.

    Args:
        values: (rows, columns).
        columns: cells there are.
        lines: lines there are, each two rows high.
        most: how many times a small picture may be enlarged; 2 gives each row a line of its own.
    """
    rows, width = values.shape
    times = min(most, columns // max(width, 1), 2 * lines // max(rows, 1))
    if times >= 1:
        return values.repeat(times, axis=0).repeat(times, axis=1)
    pool = max(-(-width // columns), -(-rows // (2 * lines)))
    return max_pool(values, pool)


def max_pool(values: NDArray[np.floating], pool: int) -> NDArray[np.floating]:
    """The largest value of every pool x pool square of the last two axes; the last may be cut."""
    *_, rows, columns = values.shape
    of_rows = np.maximum.reduceat(values, range(0, rows, pool), axis=-2)
    pooled: NDArray[np.floating] = np.maximum.reduceat(of_rows, range(0, columns, pool), axis=-1)
    return pooled


def _levels(values: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    levels: NDArray[np.intp] = np.rint(np.clip(values, 0.0, 1.0) * (count - 1)).astype(np.intp)
    return levels


def _half_blocks(values: NDArray[np.floating], colours: Ramp) -> list[list[Segment]]:
    """The upper value is the character's colour, the lower its background."""
    styles: dict[tuple[int, int], Style] = {}
    levels = _levels(values, len(colours))
    lines = []
    for row in range(0, len(levels), 2):
        upper = levels[row].tolist()
        lower = levels[row + 1].tolist() if row + 1 < len(levels) else [-1] * len(upper)
        line = []
        for start, stop in _runs(upper, lower):
            pair = upper[start], lower[start]
            if pair not in styles:
                styles[pair] = _style(pair, colours)
            line.append(Segment(HALF * (stop - start), styles[pair]))
        lines.append(line)
    return lines


def _runs(upper: list[int], lower: list[int]) -> list[tuple[int, int]]:
    """Bounds of the cells side by side that look alike: one segment each."""
    edges = [
        i
        for i in range(len(upper))
        if i == 0 or (upper[i], lower[i]) != (upper[i - 1], lower[i - 1])
    ]
    return list(zip(edges, [*edges[1:], len(upper)], strict=True))


def _style(levels: tuple[int, int], colours: Ramp) -> Style:
    upper, lower = levels
    background = None if lower < 0 else Color.from_rgb(*colours[lower])
    return Style(color=Color.from_rgb(*colours[upper]), bgcolor=background)


def _shades(values: NDArray[np.floating]) -> list[list[Segment]]:
    larger = np.maximum.reduceat(values, range(0, len(values), 2), axis=0)
    levels = _levels(larger, len(SHADES)).tolist()
    return [[Segment("".join(SHADES[level] for level in line))] for line in levels]
