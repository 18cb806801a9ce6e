"""Matrices on a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.patches import Rectangle

from mbexplore.display.axes import (
    LABELS,
    LETTERS,
    Size,
    colours_of,
    draw,
    ink,
    label_axis,
    name_axes,
    plain_ticks,
    size_of,
)
from mbexplore.display.blocks import Heat
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.palette import INK, colour_of, ink_on

WORDS = 40
"""Most columns whose words are written into the cells."""

ROW_LETTERS = 32
"""Most letters of the label of a row."""


@size_of.register
def _(block: Heat) -> Size:
    rows = len(block.rows)
    beside = 0.07 * max((len(name) for name in block.rows), default=0) + 0.3 + 0.75 * block.scale
    below = 0.6 if _fit_below(block) else 1.2
    return _cells_width(block) + beside, min(max(rows * 0.24, 0.8), max(4.0, rows * 0.15)) + below


def _cells_width(block: Heat) -> float:
    columns = len(block.columns)
    if block.texts is not None and columns <= WORDS:
        return min(columns * (0.07 * _letters(block) + 0.16), 14.0)
    return min(max(columns * 0.3, 1.8), max(5.0, columns * 0.14), 12.0)


def _letters(block: Heat) -> int:
    """Letters of the longest word in a cell, as it is written."""
    longest = max((len(text) for row in block.texts or () for text in row), default=0)
    return min(max(longest, 3), LETTERS)


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
    origin: Literal["lower", "upper"] = "lower" if block.upward else "upper"
    hues = {block.hue_of(row) for row in range(len(block.rows))}
    image = None
    for hue in sorted(hues):
        other = np.array([block.hue_of(row) != hue for row in range(len(block.rows))])
        values = np.where(other[:, None], np.nan, block.values)
        colours = colours_of(hue)
        image = axes.imshow(
            values,
            cmap=colours.reversed() if block.darkest_low else colours,
            norm=norm,
            aspect="auto",
            origin=origin,
            interpolation="nearest",
        )
    name_axes(axes, block.title, block.column_axis, block.row_axis)
    label_axis(axes.set_yticks, block.rows, letters=ROW_LETTERS)
    upright = not _fit_below(block)
    most = 16 if _numeric(block.columns) and len(block.columns) > 32 else LABELS
    label_axis(axes.set_xticks, block.columns, most, rotation=90 if upright else 0)
    if block.row_hues is not None and len(axes.get_yticklabels()) == len(block.rows):
        for label, kind in zip(axes.get_yticklabels(), block.row_hues, strict=True):
            label.set_color(ink(kind))
    _write_cells(block, axes)
    _mark(block, axes)
    if image is not None and block.scale:
        name = f"{block.unit}{' (logarithmic)' if block.log else ''}"
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        bar.set_label(drawable(name), fontsize=8, color=INK)
        bar.ax.tick_params(which="both", labelsize=7, colors=INK, length=2)
        if block.log:
            plain_ticks(bar.ax.yaxis)
        bar.outline.set_visible(False)
        if block.darkest_low:
            bar.ax.invert_yaxis()


def _write_cells(block: Heat, axes: Axes) -> None:
    if block.texts is None or len(block.columns) > WORDS:
        return
    for row, texts in enumerate(block.texts):
        for column, text in enumerate(texts):
            if not text:
                continue
            ground = colour_of(block.hue_of(row), block.shade(float(block.values[row, column])))
            axes.text(
                column, row, token_label(text, LETTERS), ha="center", va="center", fontsize=6.5,
                color=ink_on(ground), parse_math=False,
            )  # fmt: skip


def _mark(block: Heat, axes: Axes) -> None:
    if block.mark is None:
        return
    row, column = block.mark
    x, wide = (-0.5, len(block.columns)) if column is None else (column - 0.5, 1)
    y, tall = (-0.5, len(block.rows)) if row is None else (row - 0.5, 1)
    axes.add_patch(Rectangle((x, y), wide, tall, fill=False, edgecolor=INK, linewidth=1.2))
