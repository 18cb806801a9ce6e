"""Points on two measures, on a figure."""

from __future__ import annotations

from matplotlib.axes import Axes

from mbexplore.display.axes import Size, draw, ink, name_axes, size_of
from mbexplore.display.fonts import drawable
from mbexplore.display.palette import FAINT, INK
from mbexplore.display.scatter_blocks import Scatter


@size_of.register
def _(block: Scatter) -> Size:
    return 5.0, 3.4


@draw.register
def _(block: Scatter, axes: Axes) -> None:
    points, theirs = block.points(), block.points(theirs=True)
    if theirs:
        x, y = zip(*theirs.values(), strict=True)
        axes.scatter(x, y, s=16, facecolors="none", edgecolors=FAINT, linewidths=0.6, alpha=0.6,
                     label=drawable(block.theirs_name))  # fmt: skip
    for hue in sorted({block.hue(i) for i in points}):
        x, y = zip(*(points[i] for i in points if block.hue(i) == hue), strict=True)
        named = hue if len(set(block.hues)) > 1 else ""
        axes.scatter(x, y, s=16, color=ink(hue), label=named)
    if block.mark in points:
        x, y = ((value,) for value in points[block.mark])
        axes.scatter(x, y, s=70, facecolors="none", edgecolors=INK, linewidths=1.4)
    for i in block.outermost():
        axes.annotate(
            drawable(block.names[i]), points[i], xytext=(5, 4), textcoords="offset points",
            fontsize=7.5, color=INK, weight="bold" if i == block.mark else "normal",
        ).set_parse_math(False)  # fmt: skip
    name_axes(axes, block.title, *(name.replace("_", " ") for name in (block.x, block.y)))
    axes.margins(0.08)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.5)
    if theirs or len(set(block.hues)) > 1:
        axes.legend(fontsize=7, frameon=False, labelcolor=INK)
