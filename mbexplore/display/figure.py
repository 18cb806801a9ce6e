"""Blocks as a matplotlib figure, for png, svg, pdf and notebooks. No pyplot, no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator

from mbexplore.display import blocks as b
from mbexplore.display import figure_heat as figure_heat
from mbexplore.display import figure_lines as figure_lines
from mbexplore.display.axes import Size, Surface, draw, fit, label_axis, name_axes, place, size_of
from mbexplore.display.blocks import Block, Cell
from mbexplore.display.fonts import (
    drawable,
    named_font,
    token_label,
    use_fonts,
    without_font_notices,
)
from mbexplore.display.numbers import decimals, fixed, percent
from mbexplore.display.palette import ink_on
from mbexplore.display.style import (
    LEAST_POINTS,
    SCREEN,
    FigureStyle,
    colour_of,
    drawn_in,
    faint,
    ground,
    ink,
    room,
    sign,
)
from mbexplore.text import shortened

WIDEST = 15.0
"""Inches of the widest row."""
TEXT_AS_TEXT: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}
"""matplotlib's settings under which words in a picture can be selected, searched and edited."""
BAR_LETTERS = 32
"""Most letters of the label of a bar."""


def build_figure(blocks: Iterable[Block], title: str = "", style: FigureStyle = SCREEN) -> Figure:
    """All blocks below each other, each as large as what it shows.

    Args:
        blocks: of a view. Tables are drawn only where nothing else is; notes never: they belong to
            the text around a picture.
        title: what is shown, of which model; `style` may have another.
        style: what the picture is made for.

    Raises:
        UsageError: the font of the style isn't there.
    """
    with drawn_in(style), named_font(style.font):
        return _build(tuple(blocks), title, style)


def _build(blocks: tuple[Block, ...], title: str, style: FigureStyle) -> Figure:
    tables = all(isinstance(one, b.Table | b.Note | b.Headline) for one in b.walk(blocks))
    drawn = [one for one in (_drawn(each, tables) for each in blocks) if one]
    whole = b.Column((*drawn, *([_Kinds()] if b.kinds_in(drawn) else [])))
    headline = next((one.text for one in blocks if isinstance(one, b.Headline)), "")
    above = (title, headline) if style.title is None else (style.title,)
    width, height = size_of(whole)
    width = max(width, 5.5) if style.inches is None else room()
    lines = [line for one in above for line in wrap(one, int(width * 11))]
    height += 0.25 * len(lines) + 0.2
    figure = Figure(
        figsize=(width * style.zoom, height * style.zoom), facecolor=ground(), layout="constrained"
    )
    if lines:
        name = "\n".join(map(drawable, lines))
        text = figure.suptitle(name, color=ink(), fontsize=11, x=0.01, ha="left")
        text.set_parse_math(False)
    place(whole, figure)
    use_fonts(figure)
    _enlarge(figure, style.zoom)
    for axes in figure.findobj(Axes):
        axes.set_facecolor(ground())
    return figure


def _enlarge(figure: Figure, zoom: float) -> None:
    """Letters and lines of another size than they were drawn with."""
    for text in figure.findobj(Text):
        text.set_fontsize(max(LEAST_POINTS, float(text.get_fontsize()) * zoom))
    for one in figure.findobj():
        if isinstance(one, Line2D | Patch):
            one.set_linewidth(one.get_linewidth() * zoom)
        elif isinstance(one, Collection):
            one.set_linewidth(np.multiply(one.get_linewidth(), zoom).tolist())
    for axis in figure.findobj(Axis):
        size = axis.get_tick_params().get("labelsize")
        if size is not None and not isinstance(axis.get_major_locator(), FixedLocator):
            axis.set_tick_params(which="both", labelsize=max(LEAST_POINTS, size * zoom))


def to_bytes(figure: Figure, ending: str, style: FigureStyle = SCREEN) -> bytes:
    """A figure as a file: png, svg or pdf."""
    buffer = BytesIO()
    with named_font(style.font), rc_context(TEXT_AS_TEXT), without_font_notices():
        figure.savefig(buffer, format=ending, dpi=style.dots)
    return buffer.getvalue()


def _drawn(block: Block, tables: bool) -> Block | None:
    """What of a block is drawn; a row that is too wide goes on below."""
    if isinstance(block, b.Note | b.Headline | b.Badge):
        return None
    if isinstance(block, b.Table) and not tables:
        return None
    block = fit(block)
    if isinstance(block, b.Row | b.Column):
        inside = tuple(one for one in (_drawn(each, tables) for each in block.blocks) if one)
        if isinstance(block, b.Column) or not inside:
            return b.Column(inside) if inside else None
        lines = tuple(b.Row(line) for line in _lines(b.share_scale(inside)))
        return lines[0] if len(lines) == 1 else b.Column(lines)
    return block


def _lines(blocks: Sequence[Block]) -> list[tuple[Block, ...]]:
    """The blocks of a row, as many beside each other as there is room for, evenly."""
    lines = max(1, math.ceil(sum(size_of(one)[0] for one in blocks) / min(WIDEST, room())))
    most = math.ceil(len(blocks) / lines)
    filled = [*blocks, *[_Blank(size_of(blocks[-1]))] * (-len(blocks) % most)]
    return [tuple(filled[i : i + most]) for i in range(0, len(filled), most)]


@dataclass(frozen=True)
class _Blank(Block):
    """Room in the last line of a row, so that its blocks stand below those of the others."""

    size: Size


@size_of.register
def _(block: _Blank) -> Size:
    return block.size


@draw.register
def _(block: _Blank, axes: Axes) -> None:
    axes.set_axis_off()


class _Kinds(Block):
    """What the colours of layers mean."""


@size_of.register
def _(block: _Kinds) -> Size:
    return 4.0, 0.22


@draw.register
def _(block: _Kinds, axes: Axes) -> None:
    hues: tuple[b.Hue, ...] = ("global", "local")
    for number, kind in enumerate(hues):
        text = f"\N{BLACK SQUARE} {kind} layers"
        axes.annotate(
            text, (0, 0.5), xytext=(90 * number, 0), xycoords="axes fraction",
            textcoords="offset points", va="center", fontsize=8, color=ink(kind),
        )  # fmt: skip
    axes.set_axis_off()


@size_of.register
def _(block: b.Row) -> Size:
    sizes = [size_of(one) for one in block.blocks]
    return sum(width for width, _ in sizes), max(height for _, height in sizes)


@size_of.register
def _(block: b.Column) -> Size:
    sizes = [size_of(one) for one in block.blocks]
    return max((width for width, _ in sizes), default=4.0), sum(height for _, height in sizes)


@place.register
def _(block: b.Row, surface: Surface) -> None:
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
def _(block: b.Column, surface: Surface) -> None:
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


def _bar_letters() -> int:
    """Most letters of the label of a bar: a third of the room at most."""
    return int(min(BAR_LETTERS, room() / 3 / 0.07))


@size_of.register
def _(block: b.Bars) -> Size:
    longest = min(max(map(len, block.labels), default=0), _bar_letters())
    return min(4.0 + 0.07 * longest, room()), 0.26 * len(block.labels) + 0.7


@draw.register
def _(block: b.Bars, axes: Axes) -> None:
    signed = block.hue == "signed"
    colours = [sign(value >= 0) if signed else ink(block.hue) for value in block.values]
    axes.barh(range(len(block.values)), block.values, color=colours, height=0.7)
    places = decimals(block.full, 3)
    for i, value in enumerate(block.values):
        text = percent(value) if block.unit == "%" else fixed(value, places, signed=signed)
        ring = None if block.theirs is None else block.theirs[i]
        if signed and ring is not None:  # bars and rings on both sides: their numbers apart
            both = f"{text}   \N{WHITE CIRCLE} {fixed(ring, places, signed=True)}"
            axes.annotate(
                both,
                (1, i),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=7.5,
                color=ink(),
            )
            continue
        side = 1 if value >= 0 else -1
        end = side * max(abs(value), side * (ring or 0.0))  # beyond the ring: both can be read
        apart = side * (7 if ring else 4)
        axes.annotate(text, (end, i), xytext=(apart, 0), textcoords="offset points", va="center",
                      ha="left" if value >= 0 else "right", fontsize=7.5, color=ink())  # fmt: skip
    if block.theirs is not None:
        rings = [(i, value) for i, value in enumerate(block.theirs) if value is not None]
        axes.scatter(
            [value for _, value in rings], [i for i, _ in rings], s=26, facecolors=ground(),
            edgecolors=ink(), linewidths=1.1, label=drawable(block.theirs_name), zorder=3,
        )  # fmt: skip
        axes.legend(fontsize=7, frameon=False, labelcolor=ink(), loc="lower right")
    if signed:  # room for a number beyond the longest bar of each side
        ends = [0.0, *block.values, *(value for value in block.theirs or () if value is not None)]
        beyond = 0.2 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - beyond, max(ends) + beyond)
    else:
        axes.set_xlim(0, block.full * 1.25)
    name_axes(axes, block.title, width=0.6 * room())
    label_axis(axes.set_yticks, block.labels, letters=_bar_letters())
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom", *(["left"] * signed)]].set_visible(False)
    if signed:
        axes.axvline(0, color=faint(), linewidth=0.8)


STRIP, STRIP_WIDTH = 96, 8.0
"""Letters of a line of a text whose tokens are coloured, and its inches."""


def _strip_letters() -> float:
    return STRIP * min(1.0, room() / STRIP_WIDTH)


def _strip_gap(block: b.TokenStrip, i: int) -> float:
    """Letters before a token: pieces of a word stand close."""
    starts_word = block.tokens[i].startswith((" ", "[")) or block.tokens[i - 1].startswith("[")
    return 2.0 if starts_word else 0.7


def _strip_lines(block: b.TokenStrip) -> list[list[tuple[int, float]]]:
    """Tokens line by line, each with its place."""
    lines: list[list[tuple[int, float]]] = [[]]
    x = 0.0
    for i, token in enumerate(block.tokens):
        letters = len(token_label(token))
        x += _strip_gap(block, i) if lines[-1] else 0.0
        if x + letters > _strip_letters() and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((i, x))
        x += letters
    return lines


@size_of.register
def _(block: b.TokenStrip) -> Size:
    return min(STRIP_WIDTH, room()), 0.27 * len(_strip_lines(block)) + 0.5


@draw.register
def _(block: b.TokenStrip, axes: Axes) -> None:
    lines = _strip_lines(block)
    for row, line in enumerate(lines):
        for i, x in line:
            text, share = token_label(block.tokens[i]), block.values[i] / block.full
            at = (share + 1) / 2 if block.hue == "signed" else share
            ground = colour_of(block.hue, at)
            axes.text(
                x, row, text, fontsize=8, family="monospace", va="center", parse_math=False,
                color=ink_on(ground),
                bbox={"facecolor": ground, "edgecolor": ink() if i == block.mark else "none",
                      "boxstyle": "square,pad=0.25"},
            )  # fmt: skip
    axes.set_xlim(-1, _strip_letters() + 2)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()


@size_of.register
def _(block: b.Table) -> Size:
    widths = _widths(block)
    return min(0.095 * sum(widths) + 0.8, 14.0, room()), 0.22 * (len(block.rows) + 1) + 0.5


def _widths(block: b.Table) -> list[int]:
    rows = ([_written(cell) for cell in row] for row in block.cells)
    columns = zip(block.columns, *rows, strict=True)
    return [max(map(len, column)) + 2 for column in columns]


def _written(cell: Cell) -> str:
    """What stands in a cell: half the room at most."""
    return shortened(cell.shown, int(min(room() / 0.095 / 2, 1e6)))


@fit.register
def _(block: b.Table) -> Block:
    """Columns that there is no room for go on below, after the first one."""
    first, *widths = _widths(block)
    parts: list[list[int]] = [[]]
    for i, width in enumerate(widths, start=1):
        used = first + sum(widths[j - 1] for j in parts[-1])
        if parts[-1] and 0.095 * (used + width) + 0.3 > room():
            parts.append([])
        parts[-1].append(i)
    if len(parts) == 1:
        return block
    return b.Column(tuple(
        replace(block, columns=tuple(block.columns[i] for i in (0, *part)),
                rows=tuple(tuple(row[i] for i in (0, *part)) for row in block.cells),
                title=block.title if part is parts[0] else "")
        for part in parts
    ))  # fmt: skip


@draw.register
def _(block: b.Table, axes: Axes) -> None:
    widths = _widths(block)
    rows = [tuple(Cell(name, strong=True) for name in block.columns), *block.cells]
    for i, row in enumerate(rows):
        left = 0
        for name, cell, width in zip(block.columns, row, widths, strict=True):
            is_word = name in block.left
            if cell.bar is not None:
                colour = sign(cell.bar >= 0) if cell.hue == "signed" else ink(cell.hue)
                axes.barh(i, min(abs(cell.bar), 1.0) * (width - 1), 0.7, left=left - 0.5,
                          color=colour, alpha=0.25, linewidth=0)  # fmt: skip
            axes.text(
                left if is_word else left + width - 2, i, drawable(_written(cell)), fontsize=8,
                va="center", ha="left" if is_word else "right", parse_math=False,
                color=ink(cell.hue) if cell.bar is None else ink(),
                weight="bold" if cell.strong else "normal",
            )  # fmt: skip
            left += width
    axes.set_xlim(0, sum(widths))
    axes.set_ylim(len(rows) - 0.5, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()
