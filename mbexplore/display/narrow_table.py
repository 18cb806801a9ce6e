"""A table for any terminal: where it is narrow, bars go, texts fold, and numbers stay whole."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

LEAST = 4
"""Columns of the terminal in which a text or a name can be read, folded."""
WIDEST = 10_000


class NarrowTable(Table):
    """A table whose numbers, the columns to the right, are not broken while there is a way.

    Columns without a name are bars that repeat a number, so they go first; then texts fold,
    names break within a word, and at last the space between columns goes.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, for as much room as there is."""
        return Table.__rich_console__(self._fitted(console, options), console, options)

    def _fitted(self, console: Console, options: ConsoleOptions) -> Table:
        free = options.update(width=WIDEST, max_width=WIDEST)
        if console.measure(self, options=free).maximum <= options.max_width:
            return self
        columns = [one for one in self.columns if str(one.header) or one.justify == "right"]
        for name, padding in ((WIDEST, 1), (LEAST, 1), (LEAST, 0)):
            widths = [_number_width(console, free, one, name) for one in columns]
            needed = sum((width or LEAST) + 2 * padding + 1 for width in widths)  # and a line
            if needed <= options.max_width + padding:
                break
        table = Table(box=self.box, pad_edge=self.pad_edge, padding=(0, padding))
        table.rows = self.rows
        table.columns = [
            replace(column, _index=i, width=width)
            for i, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        return table


def _number_width(
    console: Console, options: ConsoleOptions, column: Column, name: int
) -> int | None:
    """What a column of numbers takes, with so much of a word of its name; None for texts."""
    if column.justify != "right":
        return None
    longest = max(map(len, str(column.header).split()), default=0)
    sizes = (console.measure(cell, options=options).maximum for cell in column.cells)
    return max(*sizes, min(longest, name), 1)
