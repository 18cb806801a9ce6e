"""A story on a figure: its sentences; the commands belong to the text around a picture."""

from __future__ import annotations

from textwrap import wrap

from matplotlib.axes import Axes

from mbexplore.display.axes import Size, draw, size_of
from mbexplore.display.fonts import drawable
from mbexplore.display.story_blocks import Story
from mbexplore.display.style import ink, room

LETTERS, WIDE = 165, 11.0
"""Letters of a line, and its inches."""


def _lines(block: Story) -> list[str]:
    letters = int(LETTERS * min(1.0, room() / WIDE))
    return [
        line
        for number, one in enumerate(block.sentences, start=1)
        for line in wrap(f"{number}. {one.text}", letters, subsequent_indent="    ")
    ]


@size_of.register
def _(block: Story) -> Size:
    return min(WIDE, room()), 0.165 * len(_lines(block)) + 0.05


@draw.register
def _(block: Story, axes: Axes) -> None:
    lines = [drawable(line) for line in _lines(block)]
    text = "\n".join(line.replace("    ", "\N{NO-BREAK SPACE}" * 4) for line in lines)
    axes.text(
        0, 1, text, fontsize=8.5, color=ink(), va="top", transform=axes.transAxes,
        parse_math=False, linespacing=1.3,
    )  # fmt: skip
    axes.set_axis_off()
