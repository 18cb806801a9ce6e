"""A table for any terminal: where it is narrow, texts fold and bars go, and numbers stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table

LEAST = 4
"""Columns of the terminal in which a text or a name can be read, folded."""

WIDEST = 10_000


class NarrowTable(Table):
    """A table whose numbers, the columns to the right, are not broken while there is a way.

    Columns without a name are bars that repeat a number, so they go first; then texts fold, names
    break within a word, and at last the space between columns goes and every text folds.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, for as much room as there is."""
        return Table.__rich_console__(self._fitted(console, options), console, options)

    def _fitted(self, console: Console, options: ConsoleOptions) -> Table:
        free = options.update(width=WIDEST, max_width=WIDEST)

        def fits(table: Table) -> bool:
            return console.measure(table, options=free).maximum <= options.max_width

        if fits(self):
            return self
        named = [each for each in self.columns if str(each.header) or _is_number(each)]
        bare = self._of(named, [None] * len(named), 1, True)
        if fits(bare):
            return bare
        for columns, name, padding, is_whole in (
            (named, WIDEST, 1, True),
            (named, LEAST, 1, True),
            (named, LEAST, 0, False),
        ):
            numbers = [_number_width(console, free, column, name) for column in columns]
            least = [
                number or (None if is_whole and column.no_wrap else LEAST)
                for column, number in zip(columns, numbers, strict=True)
            ]
            if fits(self._of(columns, least, padding, is_whole)):
                return self._of(columns, numbers, padding, is_whole)
        return self

    def _of(
        self, columns: Sequence[Column], widths: Sequence[int | None], padding: int, is_whole: bool
    ) -> Table:
        """This table with some of its columns, each as wide as given, or as there is room."""
        table = Table(box=self.box, pad_edge=self.pad_edge, padding=(0, padding))
        table.title, table.title_justify = self.title, self.title_justify
        table.rows = self.rows
        table.columns = [
            replace(column, _index=i, width=width, no_wrap=column.no_wrap and is_whole)
            for i, (column, width) in enumerate(zip(columns, widths, strict=True))
        ]
        return table


def _is_number(column: Column) -> bool:
    return column.justify == "right"


def _number_width(
    console: Console, options: ConsoleOptions, column: Column, name: int
) -> int | None:
    """What a column of numbers takes; None for a column of texts.

    Args:
        console: that prints it.
        options: with all the room there may be.
        column: to measure.
        name: as much as a word of its name may take at most.
    """
    if not _is_number(column):
        return None
    longest = max(map(len, str(column.header).split()), default=0)
    sizes = (console.measure(cell, options=options).maximum for cell in column.cells)
    return max(*sizes, min(longest, name), 1)
