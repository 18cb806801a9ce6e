"""Blocks as a matplotlib figure, for png, svg, pdf and notebooks. No pyplot, no file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

from mbexplore.display import arcs_figure as arcs_figure  # each registers its own
from mbexplore.display import attention_figure as attention_figure
from mbexplore.display import blocks as b
from mbexplore.display import figure_lines as figure_lines
from mbexplore.display import figure_words as figure_words
from mbexplore.display.axes import (
    Blank,
    Size,
    Surface,
    Words,
    draw,
    fit,
    label_axis,
    name_axes,
    place,
    size_of,
)
from mbexplore.display.blocks import Block
from mbexplore.display.figure_heat import Map
from mbexplore.display.fonts import (
    drawable,
    named_font,
    use_fonts,
    without_font_notices,
)
from mbexplore.display.style import (
    LEAST_POINTS,
    SCREEN,
    FigureStyle,
    drawn_in,
    faint,
    ground,
    ink,
    room,
    sign,
)
from mbexplore.errors import OutputError

WIDEST = 15.0
"""Inches of the widest row."""
TEXT_AS_TEXT: Any = {"pdf.fonttype": 42, "svg.fonttype": "none"}
"""matplotlib's settings under which words in a picture can be selected, searched and edited."""
MOST_PIXELS = 200_000_000
"""Of a png: a gigabyte while it is drawn."""
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
    kinds = tuple((f"\N{BLACK SQUARE} {kind} layers", kind) for kind in b.kinds_in(drawn))
    whole = b.Column((*drawn, *([Words(kinds)] if kinds else [])))
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
    """A figure as a file: png, svg or pdf.

    Raises:
        OutputError: it is a png of more pixels than there is memory for.
    """
    pixels = float(np.prod(figure.get_size_inches())) * style.dots**2
    if ending == "png" and pixels > MOST_PIXELS:
        raise OutputError(
            f"The picture would have {pixels / 1e6:,.0f} million pixels; choose fewer dpi, a "
            "smaller width, or svg."
        )
    buffer = BytesIO()
    with named_font(style.font), rc_context(TEXT_AS_TEXT), without_font_notices():
        figure.savefig(buffer, format=ending, dpi=style.dots)
    return buffer.getvalue()


def to_small_png(figure: Figure) -> bytes:
    """A figure as a small file, for notebooks, which keep what they show: few colours and dots."""
    from PIL import Image

    buffer = BytesIO()
    with Image.open(BytesIO(to_bytes(figure, "png", FigureStyle(dpi=72)))) as picture:
        # Colours spread over all there are: the commonest would leave gaps in a colour scale.
        few = picture.convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE)
        few.save(buffer, "png", optimize=True)
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
    filled = [*blocks, *[Blank(size_of(blocks[-1]))] * (-len(blocks) % most)]
    return [tuple(filled[i : i + most]) for i in range(0, len(filled), most)]


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
    widths = [one.inches[0] if isinstance(one, Map) else size_of(one)[0] for one in blocks]
    plain = place.dispatch(Block)
    if len(blocks) > 1 and all(place.dispatch(type(one)) is plain for one in blocks):
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
    bars = axes.barh(range(len(block.values)), block.values, color=colours, height=0.7)
    look: Any = {"fontsize": 7.5, "color": ink()}
    ends = [0.0, *block.values]
    if block.theirs is None:
        axes.bar_label(bars, [cell.shown for _, cell in block.table.cells], padding=4, **look)
    else:
        rings = {i: value for i, value in enumerate(block.theirs) if value is not None}
        axes.scatter(
            list(rings.values()), list(rings), s=26, facecolors=ground(), edgecolors=ink(),
            linewidths=1.1, label=drawable(block.theirs_name), zorder=3,
        )  # fmt: skip
        axes.legend(fontsize=7, frameon=False, labelcolor=ink(), loc="lower right")
        ends += rings.values()
        for i, (_, ours, theirs) in enumerate(block.table.cells):  # at the edge: both can be read
            both = f"{ours.shown}   \N{WHITE CIRCLE} {theirs.shown}" if i in rings else ours.shown
            axes.annotate(both, (1, i), xycoords=("axes fraction", "data"), xytext=(4, 0),
                          textcoords="offset points", va="center", **look)  # fmt: skip
    low, high = (min(ends), max(ends)) if signed else (0.0, block.full)
    beyond = 0.2 * (high - low)  # room for a number
    axes.set_xlim(low - beyond * signed, high + beyond)
    name_axes(axes, block.title, width=0.6 * room())
    label_axis(axes.set_yticks, block.labels, letters=_bar_letters())
    axes.set_xticks([])
    axes.invert_yaxis()
    axes.spines[["top", "right", "bottom", *(["left"] * signed)]].set_visible(False)
    if signed:
        axes.axvline(0, color=faint(), linewidth=0.8)
