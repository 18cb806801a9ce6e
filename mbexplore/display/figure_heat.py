"""Matrices on a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from textwrap import wrap
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm, to_rgba
from matplotlib.patches import Rectangle

from mbexplore.display.axes import (
    LABELS,
    LETTERS,
    Size,
    colours_of,
    draw,
    fit,
    label_axis,
    name_axes,
    plain_ticks,
    size_of,
)
from mbexplore.display.blocks import Block, Column, Heat
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.palette import ink_on
from mbexplore.display.style import colour_of, faint, ink, room

WORDS = 40
"""Most columns whose words are written into the cells."""

ROW_LETTERS = 32
"""Most letters of the label of a row."""

NARROW, SHORT = 8.0, 7
"""Where there is less room than so many inches, maps are narrower, and words in cells have no more
letters than these where more have no room."""
_LETTER, _CLOSE = 0.07, 0.06
"""Inches of a letter in a cell, and where there is little room."""


@size_of.register
def _(block: Heat) -> Size:
    below = 0.6 if _fit_below(block) else 1.2
    return _cells_width(block) + _beside(block), _cells_height(block) + below


def _beside(block: Heat) -> float:
    """Inches of the names of rows and of the colour scale."""
    longest = max((len(name) for name in block.rows), default=0)
    return 0.07 * (longest if room() == inf else min(longest, _row_letters())) + (
        0.3 + 0.75 * block.scale
    )


def _row_letters() -> int:
    """Most letters of the label of a row: a third of the room at most."""
    return int(min(ROW_LETTERS, room() / 3 / 0.07))


@dataclass(frozen=True, eq=False)
class Map(Heat):
    """A map of attention among others.

    Attributes:
        inches: its width and height, without what stands beside it.
        is_square: whether pixels are.
    """

    inches: Size = (5.0, 5.0)
    is_square: bool = True


def _cells_width(block: Heat) -> float:
    if isinstance(block, Map):
        return block.inches[0]
    columns = len(block.columns)
    free = room() - _beside(block)
    if block.texts is not None and columns <= WORDS:
        return min(columns * _word_width(block), 14.0, free)
    least = 1.8 if room() > NARROW else 1.0
    return min(max(columns * 0.3, least), max(5.0, columns * 0.14), 12.0, free)


def _cells_height(block: Heat) -> float:
    rows = len(block.rows)
    plain = min(max(rows * 0.24, 0.8), max(4.0, rows * 0.15))
    return block.inches[1] if isinstance(block, Map) else plain


def _word_width(block: Heat) -> float:
    """Inches of a cell with a word."""
    return (_LETTER if room() == inf else _CLOSE) * _letters(block) + 0.16


def _letters(block: Heat) -> int:
    """Letters of a word in a cell: of the longest, or as many as there is room for."""
    longest = max((len(text) for row in block.texts or () for text in row), default=0)
    natural = min(max(longest, 3), LETTERS)
    if room() == inf:
        return natural
    free = (room() - _beside(block)) / len(block.columns) - 0.16
    return min(natural, max(SHORT, int(free / _CLOSE)))


@fit.register
def _(block: Heat) -> Block:
    """Where the words have no room in the cells, the columns go on below."""
    count = len(block.columns)
    if block.texts is None or count > WORDS:
        return block
    most = max(1, int((room() - _beside(block)) / _word_width(block)) if room() < inf else count)
    panels = -(-count // most)
    step = -(-count // panels)
    if panels == 1:
        return block
    low, high = block.bounds
    chosen = range(0, count, step)
    parts = [_columns(block, slice(first, first + step), low, high) for first in chosen]
    return Column(tuple(
        replace(part, title=block.title if part is parts[0] else "",
                column_axis=block.column_axis if part is parts[-1] else "")
        for part in parts
    ))  # fmt: skip


def _columns(block: Heat, part: slice, low: float, high: float) -> Heat:
    """Some columns of a matrix, on the colour scale of the whole."""
    mark = block.mark
    if mark is not None and mark[1] is not None:
        is_here = mark[1] in range(len(block.columns))[part]
        mark = (mark[0], mark[1] - part.start) if is_here else None
    assert block.texts is not None
    return replace(
        block, values=block.values[:, part], columns=block.columns[part], low=low, high=high,
        texts=tuple(row[part] for row in block.texts), mark=mark,
        column_values=block.column_values and block.column_values[part],
    )  # fmt: skip


def _fit_below(block: Heat) -> bool:
    """Whether the names of columns fit below them without being turned."""
    longest = max(map(len, block.columns), default=0)
    return _numeric(block.columns) or longest * 0.075 < _cells_width(block) / len(block.columns)


def _numeric(names: Sequence[str]) -> bool:
    return all(name.replace(",", "").isdecimal() for name in names)


@draw.register
def _(block: Heat, axes: Axes) -> None:
    low, high = block.bounds
    norm: Normalize = LogNorm(low, high) if block.log else Normalize(low, high)
    if block.root > 1:
        norm = PowerNorm(1 / block.root, low, high)
    origin: Literal["lower", "upper"] = "lower" if block.upward else "upper"
    hues = {block.hue_of(row) for row in range(len(block.rows))}
    image = None
    for hue in sorted(hues):
        other = np.array([block.hue_of(row) != hue for row in range(len(block.rows))])
        values = np.where(other[:, None], np.nan, block.values)
        colours = colours_of(hue)
        colours = colours.reversed() if block.darkest_low else colours
        if len(hues) == 1:  # grey where there is nothing, such as outside a window
            colours = colours.with_extremes(bad=to_rgba(faint(), 0.13))
        image = axes.imshow(
            values,
            cmap=colours,
            norm=norm,
            aspect="equal" if isinstance(block, Map) and block.is_square else "auto",
            origin=origin,
            interpolation="nearest",
        )
    wide = _cells_width(block) + 0.75 * block.scale
    name_axes(axes, block.title, block.column_axis, block.row_axis, wide)
    row, column = block.mark or (None, None)
    most = min(LABELS, int(7 * _cells_height(block)))
    label_axis(axes.set_yticks, block.rows, most, letters=_row_letters(), mark=row)
    upright = not _fit_below(block)
    most = 16 if _numeric(block.columns) and len(block.columns) > 32 else LABELS
    if room() < inf or isinstance(block, Map):
        longest = 0.15 if upright else 0.1 + 0.07 * max(map(len, block.columns))
        most = min(most, max(2, int(_cells_width(block) / longest)))
    if isinstance(block, Map) and not block.is_square:
        column = len(block.columns) // 2  # so that offset 0 has its name
    label_axis(axes.set_xticks, block.columns, most, rotation=90 * upright, mark=column)
    if block.row_hues is not None and len(axes.get_yticklabels()) == len(block.rows):
        for label, kind in zip(axes.get_yticklabels(), block.row_hues, strict=True):
            label.set_color(ink(kind))
    _write_cells(block, axes)
    _mark(block, axes)
    if image is not None and block.scale:
        name = f"{block.unit}{' (logarithmic)' if block.log else ''}"
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        lines = wrap(drawable(name), max(12, int(13 * _cells_height(block))))
        bar.set_label("\n".join(lines), fontsize=8, color=ink())
        bar.ax.tick_params(which="both", labelsize=7, colors=ink(), length=2)
        if block.log:
            plain_ticks(bar.ax.yaxis)
        bar.outline.set_visible(False)
        if block.darkest_low:
            bar.ax.invert_yaxis()


def _write_cells(block: Heat, axes: Axes) -> None:
    if block.texts is None or len(block.columns) > WORDS:
        return
    letters, shades = _letters(block), block.shades
    for row, texts in enumerate(block.texts):
        for column, text in enumerate(texts):
            if not text:
                continue
            ground = colour_of(block.hue_of(row), shades[row, column])
            axes.text(
                column, row, token_label(text, letters), ha="center", va="center", fontsize=6.5,
                color=ink_on(ground), parse_math=False,
            )  # fmt: skip


def _mark(block: Heat, axes: Axes) -> None:
    if block.mark is None:
        return
    row, column = block.mark
    x, wide = (-0.5, len(block.columns)) if column is None else (column - 0.5, 1)
    y, tall = (-0.5, len(block.rows)) if row is None else (row - 0.5, 1)
    axes.add_patch(Rectangle((x, y), wide, tall, fill=False, edgecolor=ink(), linewidth=1.2))
