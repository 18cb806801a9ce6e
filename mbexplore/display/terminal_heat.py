"""Matrices in a terminal: a line a row, or two rows a line, as half blocks, where there are many.

Where there are no colours, shades stand in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache, singledispatch
from itertools import groupby
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.text import Text

from mbexplore.display.blocks import Block, Heat, Hue, kinds_in
from mbexplore.display.numbers import significant
from mbexplore.display.palette import ON_EITHER, SIGN, colour_of, ink_on
from mbexplore.text import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Shown = TypeVar("Shown", bound=Any)

HALF = "\N{UPPER HALF BLOCK}"
SHADES = " \N{LIGHT SHADE}\N{MEDIUM SHADE}\N{DARK SHADE}\N{FULL BLOCK}"
LEVELS = 64
"""Colours of a scale of half blocks."""
NOTHING = "#050709"
"""A half block of no value: nearly black."""
LABEL = 14
"""Most cells of a row's label."""
WIDEST_CELL = 16
"""Most cells of a column with words; of one without, and of one whose rows share a line."""
PLAIN_CELL, SHARED_CELL = 4, 2
TALL = 20
"""Rows from which on two share a line, where there are colours and no words."""
GAP = 3
"""Cells between maps beside each other."""


@singledispatch
def render(block: Block) -> ConsoleRenderable:
    """A block as something that rich prints."""
    raise TypeError(f"no terminal renderer for {type(block).__name__}")


def hue_style(hue: Hue, *, sign: float = 1.0) -> Style:
    """The style of words in a hue, legible on black and on white."""
    if hue == "signed":
        return Style(color=SIGN[sign >= 0])
    return Style.null() if hue == "plain" else Style(color=ON_EITHER[hue])


def has_colour(console: Console) -> bool:
    """Whether a console shows colours."""
    return console.color_system is not None and not console.no_color


def pixel_lines(shares: NDArray[np.floating], hue: Hue, colour: bool) -> list[Text]:
    """Pixels as lines of half blocks, two rows a line; without colours as one shade a cell.

    Args:
        shares: (rows, columns), how dark each is, from 0 to 1.
        hue: of the colours.
        colour: whether there are any; a shade is that of the darker of its two pixels.
    """
    import numpy as np

    firsts = range(0, len(shares), 2)
    if not colour:
        levels = np.rint(np.maximum.reduceat(shares, firsts, axis=0) * (len(SHADES) - 1))
        return [Text("".join(SHADES[level] for level in line)) for line in levels.astype(int)]
    levels = np.rint(shares * (LEVELS - 1)).astype(int).tolist()
    rows = [[_level_colour(hue, level) for level in row] for row in levels]
    return [half_blocks(rows[first : first + 2]) for first in firsts]


def half_blocks(rows: Sequence[Sequence[str]], width: int = 1) -> Text:
    """Colours of one or two rows as one line."""
    lower = rows[1] if len(rows) > 1 else [None] * len(rows[0])
    line = Text()
    for (above, below), run in groupby(zip(rows[0], lower, strict=True)):
        line.append(HALF * len(list(run)) * width, Style(color=above, bgcolor=below))
    return line


@lru_cache
def _level_colour(hue: Hue, level: int) -> str:
    return colour_of(hue, level / (LEVELS - 1), dark=True)


class Titled(Generic[Shown]):
    """Lines under the title of a block; in a pipe, nothing of a picture `for_eyes`."""

    for_eyes = False

    def __init__(self, block: Shown) -> None:
        self.block = block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The title, and the lines."""
        if self.for_eyes and not options.is_terminal:
            return
        if self.block.title:
            yield Text(shown(self.block.title), style="bold")
        yield from self.lines(has_colour(console), options)

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """What stands under it; `colour` says whether there are colours."""
        raise NotImplementedError


class HeatLines(Titled[Heat]):
    """A matrix as wide as there is room."""

    @property
    def label(self) -> int:
        """Cells of the names of rows."""
        return min(LABEL, max((cell_len(shown(name)) for name in self.block.rows), default=0)) + 1

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """The cells that it takes where there is room, its title in one line."""
        matrix = self.label + PLAIN_CELL * len(self.block.columns)
        natural = max(matrix, cell_len(shown(self.block.title)))
        return Measurement(natural, natural).with_maximum(options.max_width)

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The rows with the first one at the bottom where it is so, and the scale."""
        block = self.block
        columns = max(1, len(block.columns))
        room = max(1, options.max_width - self.label)
        width = max(1, min(WIDEST_CELL, room // columns))
        has_texts = block.texts is not None and width >= 5
        rows = list(range(len(block.rows)))[:: -1 if block.upward else 1]
        two = colour and not has_texts and len(rows) > TALL
        width = width if has_texts else min(width, SHARED_CELL if two else PLAIN_CELL)
        seen = self._seen(room // width, columns)
        if two:
            for first in range(0, len(rows), 2):
                yield self._two(rows[first : first + 2], seen, width)
        else:
            for row in rows:
                yield self._line(row, seen, width, has_texts, colour)
        yield from self._axis(seen, width)
        if block.scale:
            yield self._scale(seen)
        if colour and (kinds := kinds_in((block,))):
            words = ((f"\N{BLACK SQUARE} {kind}  ", hue_style(kind)) for kind in kinds)
            yield Text.assemble(*words)

    def _scale(self, seen: range) -> Text:
        """What the colours mean, and what of the columns is shown."""
        block, columns = self.block, len(self.block.columns)
        low, high = block.bounds
        parts = [f"{significant(low)} to {significant(high)} {block.unit}".strip()]
        parts += ["logarithmic"] if block.log else []
        line = ", ".join(parts)
        line += f"; across: {block.column_axis}" if block.column_axis else ""
        if len(seen) < columns:
            line += f", {seen.start} to {seen.stop - 1} of {columns:,}"
        return Text(shown(line), style="dim")

    def _seen(self, most: int, columns: int) -> range:
        """The columns for which there is room, those around the mark."""
        if columns <= most:
            return range(columns)
        mark = self.block.mark[1] if self.block.mark else None
        first = min(max(0, (mark or 0) - most // 2), columns - most)
        return range(first, first + most)

    def _name(self, row: int) -> Text:
        block = self.block
        hue = block.row_hues[row] if block.row_hues else "plain"
        marked = block.mark is not None and block.mark[0] == row
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if marked else " "
        name = set_cell_size(shown(block.rows[row]), self.label - 1) + mark
        return Text(name, style=hue_style(hue) + Style(bold=marked or None))

    @cached_property
    def _shades(self) -> list[list[float]]:
        """How dark each cell is."""
        shades: list[list[float]] = self.block.shades.tolist()
        return shades

    def _line(self, row: int, seen: range, width: int, has_texts: bool, colour: bool) -> Text:
        block, line = self.block, self._name(row)
        for column in seen:
            value, share = float(block.values[row, column]), self._shades[row][column]
            text = block.texts[row][column] if has_texts and block.texts else ""
            text = f" {shown(text)}" if text else ""
            if colour and value == value:
                ground = self._colour(row, column)
                line.append(set_cell_size(text, width), Style(bgcolor=ground, color=ink_on(ground)))
            else:
                size = abs(2 * share - 1) if block.hue == "signed" else share
                shade = SHADES[round(size * 4)] if value == value else " "
                line.append(set_cell_size(text, width) if has_texts else shade * width)
        return line

    def _two(self, rows: Sequence[int], seen: range, width: int) -> Text:
        """Two rows a line, named by the one that is marked, or else by the upper one."""
        marked = self.block.mark[0] if self.block.mark else None
        line = self._name(rows[-1] if marked == rows[-1] else rows[0])
        colours = [[self._colour(row, column) for column in seen] for row in rows]
        return line.append_text(half_blocks(colours, width))

    def _colour(self, row: int, column: int) -> str:
        if self.block.values[row, column] != self.block.values[row, column]:
            return NOTHING
        return colour_of(self.block.hue_of(row), self._shades[row][column], dark=True)

    def _axis(self, seen: range, width: int) -> Iterator[Text]:
        """Names of the columns, as many as fit."""
        names = [shown(self.block.columns[i]) for i in seen]
        widest = max(map(cell_len, names), default=0)
        step = 1 if width > min(widest, 5) else -(-(min(widest, 10) + 2) // width)
        line = Text(" " * self.label, style="dim")
        for place in range(0, len(names), step):
            line.append(set_cell_size(f" {names[place]}"[: step * width - 1], step * width))
        line.truncate(self.label + width * len(seen))
        yield line
