"""Blocks as a matplotlib figure, for png, svg, pdf and notebooks. No pyplot, no file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from textwrap import wrap
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mbexplore.display.blocks import (
    Badge,
    Bars,
    Block,
    Cell,
    Column,
    Heading,
    Headline,
    Heat,
    Hue,
    Lines,
    Note,
    Row,
    Table,
    TokenStrip,
    share_scale,
    walk,
)
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.kinds import load_renderers
from mbexplore.display.numbers import decimals, fixed, percent
from mbexplore.display.palette import HUE, INK, LIGHT, SIGN, colour_of, ink_on

FAINT = "#66717d"
Size: TypeAlias = tuple[float, float]
Surface: TypeAlias = Figure | SubFigure
WIDEST = 15.0
"""Inches of the widest row."""
LABELS = 60
"""Most labels along an axis."""
LETTERS = 14
"""Most letters of a label."""
BAR_LETTERS = 32
"""Most letters of the label of a bar."""
WORDS = 40
"""Most columns whose words are written into the cells."""
LETTERS = 14
"""Most letters of such a word."""


def build_figure(blocks: Iterable[Block], title: str = "") -> Figure:
    """All blocks below each other, each as large as what it shows.

    Args:
        blocks: of a view. Tables are drawn only where nothing else is; notes never: they belong to
            the text around a picture.
        title: what is shown, of which model.
    """
    blocks = tuple(blocks)
    tables = all(isinstance(one, Table | Note | Headline | Heading) for one in walk(blocks))
    whole = Column(tuple(one for one in (_drawn(each, tables) for each in blocks) if one))
    headline = next((one.text for one in blocks if isinstance(one, Headline)), "")
    width, height = size_of(whole)
    width = max(width, 5.5)
    letters = int(width * 11)
    lines = [*wrap(title, letters), *wrap(headline, letters)]
    figure = Figure(
        figsize=(width, height + 0.25 * len(lines) + 0.2), facecolor="white", layout="constrained"
    )
    if lines:
        name = "\n".join(map(drawable, lines))
        text = figure.suptitle(name, color=INK, fontsize=11, x=0.01, ha="left")
        text.set_parse_math(False)
    place(whole, figure)
    return figure


def _drawn(block: Block, tables: bool) -> Block | None:
    """What of a block is drawn; a row that is too wide goes on below."""
    if isinstance(block, Note | Headline | Heading | Badge):
        return None
    if isinstance(block, Table) and not tables:
        return None
    if isinstance(block, Row | Column):
        inside = tuple(one for one in (_drawn(each, tables) for each in block.blocks) if one)
        if isinstance(block, Column) or not inside:
            return Column(inside) if inside else None
        lines = tuple(Row(line) for line in _lines(share_scale(inside)))
        return lines[0] if len(lines) == 1 else Column(lines)
    return block


def _lines(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """The blocks of a row, as many beside each other as there is room for, evenly."""
    lines = max(1, math.ceil(sum(size_of(one)[0] for one in blocks) / WIDEST))
    most = math.ceil(len(blocks) / lines)
    filled = [*blocks, *[_Blank(size_of(blocks[-1]))] * (-len(blocks) % most)]
    return [tuple(filled[i : i + most]) for i in range(0, len(filled), most)]


@dataclass(frozen=True)
class _Blank(Block):
    """Room in the last line of a row, so that its blocks stand below those of the others."""

    size: Size


@singledispatch
def size_of(block: Block) -> Size:
    """Width and height of a block in inches.

    Raises:
        TypeError: there is no renderer for this kind of block.
    """
    load_renderers(block, "figure", size_of)
    return size_of(block)


@singledispatch
def draw(block: Block, axes: Axes) -> None:
    """Draws a block on axes of its own."""
    raise TypeError(f"no figure renderer for {type(block).__name__}")


@singledispatch
def place(block: Block, surface: Surface) -> None:
    """Draws a block on a part of the figure; a block that needs several axes registers itself."""
    draw(block, surface.subplots())


def titled(surface: Surface, title: str, colour: str = INK) -> SubFigure:
    """A part of a figure with a title of its own, to the left above everything in it."""
    part = surface.subfigures(1, 1)
    assert isinstance(part, SubFigure)
    if title:
        text = part.suptitle(drawable(title), color=colour, fontsize=10, x=0.02, ha="left")
        text.set_parse_math(False)
    return part


@size_of.register
def _(block: _Blank) -> Size:
    return block.size


@draw.register
def _(block: _Blank, axes: Axes) -> None:
    axes.set_axis_off()


@size_of.register
def _(block: Row) -> Size:
    sizes = [size_of(one) for one in block.blocks]
    return sum(width for width, _ in sizes), max(height for _, height in sizes)


@size_of.register
def _(block: Column) -> Size:
    sizes = [size_of(one) for one in block.blocks]
    return max((width for width, _ in sizes), default=4.0), sum(height for _, height in sizes)


@place.register
def _(block: Row, surface: Surface) -> None:
    blocks = block.blocks
    widths = [size_of(one)[0] for one in blocks]
    if all(place.dispatch(type(one)) is place.dispatch(Block) for one in blocks):
        # One grid of axes, so that they stand on one line.
        grid = surface.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
        for one, axes in zip(blocks, grid, strict=True):
            draw(one, axes)
        return
    _spread(blocks, surface, 1, len(widths), width_ratios=widths)


@place.register
def _(block: Column, surface: Surface) -> None:
    heights = [size_of(one)[1] for one in block.blocks]
    _spread(block.blocks, surface, len(heights), 1, height_ratios=heights)


def _spread(
    blocks: Sequence[Block], surface: Surface, rows: int, columns: int, **ratios: list[float]
) -> None:
    if len(blocks) == 1:
        place(blocks[0], surface)
    elif blocks:
        parts = surface.subfigures(rows, columns, squeeze=False, **ratios).ravel()  # type: ignore[call-overload]
        for one, part in zip(blocks, parts, strict=True):
            place(one, part)


def colours_of(hue: Hue) -> Colormap:
    """A hue's scale, as matplotlib takes it."""
    return LinearSegmentedColormap.from_list(f"mbexplore-{hue}", list(LIGHT[hue]))


def name_axes(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title and names of the axes; nothing in them is taken for mathematics."""
    for text in (
        axes.set_title(drawable(title), fontsize=9, color=INK, loc="left"),
        axes.set_xlabel(drawable(x), fontsize=8, color=INK),
        axes.set_ylabel(drawable(y), fontsize=8, color=INK),
    ):
        text.set_parse_math(False)
    axes.tick_params(length=0, pad=3, labelsize=7.5, labelcolor=INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)


def label_axis(
    set_ticks: Callable[..., Any],
    names: Sequence[str],
    most: int = LABELS,
    *,
    rotation: float = 0,
    letters: int = LETTERS,
) -> None:
    """Names of rows or columns, thinned to at most `most`, each cut to so many letters."""
    step = max(1, -(-len(names) // most))
    ticks = range(0, len(names), step)
    labels = [token_label(names[i], letters) for i in ticks]
    set_ticks(list(ticks), labels, rotation=rotation, fontsize=7.5, parse_math=False)


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
    label_axis(axes.set_yticks, block.rows)
    upright = not _fit_below(block)
    most = 16 if _numeric(block.columns) and len(block.columns) > 32 else LABELS
    label_axis(axes.set_xticks, block.columns, most, rotation=90 if upright else 0)
    if block.row_hues is not None and len(axes.get_yticklabels()) == len(block.rows):
        for label, kind in zip(axes.get_yticklabels(), block.row_hues, strict=True):
            label.set_color(_ink(kind))
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


def _ink(hue: Hue) -> str:
    return HUE[hue] if hue == "global" or hue == "local" else INK


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
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), wide, tall, fill=False, edgecolor=INK, linewidth=1.2))


@size_of.register
def _(block: Lines) -> Size:
    return 5.0, 2.6


@draw.register
def _(block: Lines, axes: Axes) -> None:
    for one in block.series:
        x, y = zip(*one.points, strict=True) if one.points else ((), ())
        axes.plot(
            x, y, label=drawable(one.name), color=_ink(one.hue), linewidth=1.3,
            linestyle=(0, (4, 2)) if one.dashed else "-", marker="o" if one.dots else "",
            markersize=3.5,
        )  # fmt: skip
    axes.set_xscale("log" if block.log_x else "linear")
    axes.set_yscale("log" if block.log_y else "linear")
    for axis, is_log in ((axes.xaxis, block.log_x), (axes.yaxis, block.log_y)):
        if is_log:
            plain_ticks(axis)
    name_axes(axes, block.title, block.x, block.y)
    if block.ticks is not None:
        rotation = 0 if max(map(len, block.ticks)) <= 3 else 60
        label_axis(axes.set_xticks, block.ticks, 26, rotation=rotation)
    axes.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.5)
    for name, at in block.levels.items():
        axes.axhline(at, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(drawable(name), (0, at), xycoords=("axes fraction", "data"), fontsize=7,
                      xytext=(3, 3), textcoords="offset points", color=FAINT)  # fmt: skip
    if block.y_down:
        axes.invert_yaxis()
    for name, at in block.marks.items():
        _mark_place(axes, name, at)
    if len(block.series) > 1:
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as 1, 10, 100."""
    low, high = sorted(axis.get_view_interval())
    narrow = high < 100 * max(low, 1e-300)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, place: _tick(value)))
    axis.set_minor_locator(NullLocator())


def _tick(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def _mark_place(axes: Axes, name: str, at: float) -> None:
    """An upright line with its name, at the end and on the side where no curve is."""
    axes.axvline(at, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))
    x, _ = axes.transData.transform((at, 1.0))
    place = axes.transAxes.inverted().transform((x, 0.0))[0]
    left = place > 0.5
    near = [
        float(y)
        for line in axes.get_lines()[:-1]
        for a, y in axes.transAxes.inverted().transform(
            axes.transData.transform(np.column_stack(line.get_data()).astype(float))
        )
        if (place - 0.45 <= a <= place if left else place <= a <= place + 0.45)
    ]
    free = {0.04: min(near, default=1.0), 0.96: 1 - max(near, default=0.0)}
    axes.annotate(
        drawable(name), (place, max(free, key=lambda end: free[end])), fontsize=7, color=FAINT,
        xycoords="axes fraction", xytext=(-3 if left else 3, 0), textcoords="offset points",
        ha="right" if left else "left", va="center",
    ).set_parse_math(False)  # fmt: skip


@size_of.register
def _(block: Bars) -> Size:
    longest = min(max(map(len, block.labels), default=0), BAR_LETTERS)
    return 4.0 + 0.07 * longest, 0.26 * len(block.labels) + 0.7


@draw.register
def _(block: Bars, axes: Axes) -> None:
    signed = block.hue == "signed"
    colours = [SIGN[value >= 0] if signed else _ink(block.hue) for value in block.values]
    axes.barh(range(len(block.values)), block.values, color=colours, height=0.7)
    places = decimals(block.full, 3)
    for i, value in enumerate(block.values):
        text = percent(value) if block.unit == "%" else fixed(value, places, signed=signed)
        side = 1 if value >= 0 else -1
        ring = (block.theirs[i] if block.theirs is not None else None) or 0.0
        end = side * max(abs(value), side * ring)  # beyond the ring, so that both can be read
        apart = side * (7 if end != value else 4)
        axes.annotate(text, (end, i), xytext=(apart, 0), textcoords="offset points", va="center",
                      ha="left" if value >= 0 else "right", fontsize=7.5, color=INK)  # fmt: skip
    if block.theirs is not None:
        rings = [(i, value) for i, value in enumerate(block.theirs) if value is not None]
        axes.scatter(
            [value for _, value in rings], [i for i, _ in rings], s=26, facecolors="white",
            edgecolors=INK, linewidths=1.1, label=drawable(block.theirs_name), zorder=3,
        )  # fmt: skip
        axes.legend(fontsize=7, frameon=False, labelcolor=INK, loc="lower right")
    if signed:  # room for a number beyond the longest bar of each side
        ends = [0.0, *block.values, *(value for value in block.theirs or () if value is not None)]
        room = 0.2 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - room, max(ends) + room)
    else:
        axes.set_xlim(0, block.full * 1.25)
    name_axes(axes, block.title)
    label_axis(axes.set_yticks, block.labels, letters=BAR_LETTERS)
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom", *(["left"] * signed)]].set_visible(False)
    if signed:
        axes.axvline(0, color=FAINT, linewidth=0.8)


STRIP = 96
"""Letters of a line of a text whose tokens are coloured."""


def _strip_lines(block: TokenStrip) -> list[list[int]]:
    """Tokens line by line."""
    lines: list[list[int]] = [[]]
    room = STRIP
    for i, token in enumerate(block.tokens):
        letters = len(token_label(token)) + 2
        if letters > room and lines[-1]:
            lines.append([])
            room = STRIP
        lines[-1].append(i)
        room -= letters
    return lines


@size_of.register
def _(block: TokenStrip) -> Size:
    return 8.0, 0.27 * len(_strip_lines(block)) + 0.5


@draw.register
def _(block: TokenStrip, axes: Axes) -> None:
    lines = _strip_lines(block)
    for row, line in enumerate(lines):
        x = 0.0
        for i in line:
            text, share = token_label(block.tokens[i]), block.values[i] / block.full
            at = (share + 1) / 2 if block.hue == "signed" else share
            ground = colour_of(block.hue, at)
            axes.text(
                x, row, text, fontsize=8, family="monospace", va="center", parse_math=False,
                color=ink_on(ground),
                bbox={"facecolor": ground, "edgecolor": INK if i == block.mark else "none",
                      "boxstyle": "square,pad=0.25"},
            )  # fmt: skip
            x += len(text) + 2
    axes.set_xlim(-1, STRIP + 2)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()


@size_of.register
def _(block: Table) -> Size:
    widths = _widths(block)
    return min(0.095 * sum(widths) + 0.8, 14.0), 0.22 * (len(block.rows) + 1) + 0.5


def _widths(block: Table) -> list[int]:
    rows = ([cell.shown for cell in row] for row in block.cells)
    columns = zip(block.columns, *rows, strict=True)
    return [max(map(len, column)) + 2 for column in columns]


@draw.register
def _(block: Table, axes: Axes) -> None:
    widths = _widths(block)
    rows = [tuple(Cell(name, strong=True) for name in block.columns), *block.cells]
    for i, row in enumerate(rows):
        left = 0
        for name, cell, width in zip(block.columns, row, widths, strict=True):
            is_word = name in block.left
            if cell.bar is not None:
                colour = SIGN[cell.bar >= 0] if cell.hue == "signed" else _ink(cell.hue)
                axes.barh(i, min(abs(cell.bar), 1.0) * (width - 1), 0.7, left=left - 0.5,
                          color=colour, alpha=0.25, linewidth=0)  # fmt: skip
            axes.text(
                left if is_word else left + width - 2, i, drawable(cell.shown), fontsize=8,
                va="center", ha="left" if is_word else "right", parse_math=False,
                color=_ink(cell.hue) if cell.bar is None else INK,
                weight="bold" if cell.strong else "normal",
            )  # fmt: skip
            left += width
    axes.set_xlim(0, sum(widths))
    axes.set_ylim(len(rows) - 0.5, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()
