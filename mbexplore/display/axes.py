"""What every drawing of a block on a figure shares: sizes, places, names of axes, colours.

The kinds of blocks register themselves with `size_of`, `draw` and `place`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from math import inf
from textwrap import wrap
from typing import Any, TypeAlias

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from mbexplore.display.blocks import Block, Hue
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.numbers import significant
from mbexplore.display.style import faint, ink, room, stops

Size: TypeAlias = tuple[float, float]
Surface: TypeAlias = Figure | SubFigure
LABELS = 60
"""Most labels along an axis."""
LETTERS = 14
"""Most letters of a label, and of a word in a cell."""


@singledispatch
def size_of(block: Block) -> Size:
    """Width and height of a block in inches."""
    raise TypeError(f"no figure renderer for {type(block).__name__}")


@singledispatch
def draw(block: Block, axes: Axes) -> None:
    """Draws a block on axes of its own."""
    raise TypeError(f"no figure renderer for {type(block).__name__}")


@singledispatch
def fit(block: Block) -> Block:
    """The block, or in its place those that it is cut into where there is little room."""
    return block


@singledispatch
def place(block: Block, surface: Surface) -> None:
    """Draws a block on a part of the figure; a block that needs several axes registers itself."""
    axes = surface.subplots()
    draw(block, axes)
    if isinstance(surface, SubFigure):  # one below others: all titles begin where the pictures do
        write_title(surface, axes.get_title(loc="left"), ink())
        axes.set_title("", loc="left")


@dataclass(frozen=True)
class Blank(Block):
    """Room in the last line of a row, so that its blocks stand below those of the others."""

    size: Size


@size_of.register
def _(block: Blank) -> Size:
    return block.size


@draw.register
def _(block: Blank, axes: Axes) -> None:
    axes.set_axis_off()


@dataclass(frozen=True)
class Words(Block):
    """Some words in a line, each in its hue."""

    words: tuple[tuple[str, Hue], ...]
    points: float = 8


@size_of.register
def _(block: Words) -> Size:
    lines = (in_lines(text, block.points).count("\n") + 1 for text, _ in block.words)
    return 4.0, 0.028 * block.points * max(lines)


@draw.register
def _(block: Words, axes: Axes) -> None:
    for number, (text, hue) in enumerate(block.words):
        axes.annotate(
            in_lines(drawable(text), block.points), (0, 0.5), xytext=(90 * number, 0),
            xycoords="axes fraction", textcoords="offset points", va="center",
            fontsize=block.points, color=ink(hue),
        ).set_parse_math(False)  # fmt: skip
    axes.set_axis_off()


def titled(surface: Surface, title: str, colour: str) -> SubFigure:
    """A part of a figure with a title of its own, to the left above everything in it."""
    part = surface.subfigures(1, 1)
    assert isinstance(part, SubFigure)
    write_title(part, in_lines(drawable(title), 10), colour)
    return part


def write_title(part: SubFigure, title: str, colour: str) -> None:
    """A title to the left, above everything in a part of a figure."""
    if title:
        text = part.suptitle(title, color=colour, fontsize=9.5, x=0.01, ha="left")
        text.set_parse_math(False)


def colours_of(hue: Hue) -> Colormap:
    """A hue's scale, as matplotlib takes it."""
    return LinearSegmentedColormap.from_list(f"mbexplore-{hue}", stops(hue))


def in_lines(text: str, size: float, width: float = inf) -> str:
    """A text in lines that there is room for, where that is little.

    Args:
        text: the text.
        size: of its letters, in points.
        width: inches of a line; all the room by default.
    """
    if room() == inf:
        return text
    return "\n".join(wrap(text, max(8, int(115 * min(room(), width) / size))))


def name_axes(axes: Axes, title: str = "", x: str = "", y: str = "", width: float = inf) -> None:
    """Title, in lines of so many inches, and names of the axes; none is taken for mathematics."""
    for text in (
        axes.set_title(in_lines(drawable(title), 9, width), fontsize=9, color=ink(), loc="left"),
        axes.set_xlabel(drawable(x), fontsize=8, color=ink()),
        axes.set_ylabel(drawable(y), fontsize=8, color=ink()),
    ):
        text.set_parse_math(False)
    axes.tick_params(length=0, pad=3, labelsize=7.5, labelcolor=ink())
    for spine in axes.spines.values():
        spine.set_color(faint())
        spine.set_linewidth(0.5)


def label_axis(
    set_ticks: Callable[..., Any],
    names: Sequence[str],
    most: int = LABELS,
    *,
    rotation: float = 0,
    letters: int = LETTERS,
    mark: int | None = None,
) -> None:
    """Names of rows or columns, thinned to at most `most`, each cut to so many letters.

    Of many the marked one, or else the first, is among those that stay.
    """
    if not any(names):
        set_ticks([])
        return
    step = max(1, -(-len(names) // max(most, 1)))
    ticks = range((mark or 0) % step, len(names), step)
    labels = [token_label(names[i], letters) for i in ticks]
    set_ticks(list(ticks), labels, rotation=rotation, fontsize=7.5, parse_math=False)


def plain_ticks(axis: Axis) -> None:
    """Ticks of a logarithmic axis as 1, 10, 100."""
    low, high = sorted(axis.get_view_interval())
    narrow = high < 100 * max(low, 1e-300)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, place: _tick(value)))
    axis.set_minor_locator(NullLocator())


def _tick(value: float) -> str:
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:g}" if value >= 1e-4 else significant(value, 1)
