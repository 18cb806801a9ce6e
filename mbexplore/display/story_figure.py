"""A story on a figure: its sentences; the commands belong to the text around a picture."""

from __future__ import annotations

from textwrap import wrap

from matplotlib.axes import Axes

from mbexplore.display.axes import Size, draw, size_of
from mbexplore.display.fonts import drawable
from mbexplore.display.palette import INK
from mbexplore.display.story_blocks import Story

LETTERS = 165
"""Letters of a line."""


def _lines(block: Story) -> list[str]:
    return [
        line
        for number, one in enumerate(block.sentences, start=1)
        for line in wrap(f"{number}. {one.text}", LETTERS, subsequent_indent="    ")
    ]


@size_of.register
def _(block: Story) -> Size:
    return 11.0, 0.165 * len(_lines(block)) + 0.05


@draw.register
def _(block: Story, axes: Axes) -> None:
    lines = [drawable(line) for line in _lines(block)]
    text = "\n".join(line.replace("    ", "\N{NO-BREAK SPACE}" * 4) for line in lines)
    axes.text(
        0, 1, text, fontsize=8.5, color=INK, va="top", transform=axes.transAxes,
        parse_math=False, linespacing=1.3,
    )  # fmt: skip
    axes.set_axis_off()
