"""Points on two measures, on a figure."""

from __future__ import annotations

from matplotlib.axes import Axes

from mbexplore.display.axes import Size, draw, name_axes, size_of
from mbexplore.display.fonts import drawable
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.style import faint, ground, ink, room


@size_of.register
def _(block: Scatter) -> Size:
    return min(5.0, room()), 3.4


@draw.register
def _(block: Scatter, axes: Axes) -> None:
    points, theirs = block.points(), block.points(theirs=True)
    if theirs:
        x, y = zip(*theirs.values(), strict=True)
        axes.scatter(x, y, s=16, facecolors="none", edgecolors=faint(), linewidths=0.6, alpha=0.6,
                     label=drawable(block.theirs_name))  # fmt: skip
    for hue in sorted({block.hue(i) for i in points}):
        x, y = zip(*(points[i] for i in points if block.hue(i) == hue), strict=True)
        named = hue if len(set(block.hues)) > 1 else ""
        many = hue == "plain"  # names and marks stand out from many points of no hue
        axes.scatter(x, y, s=16, color=faint() if many else ink(hue), label=named,
                     alpha=0.5 if many else 1.0, linewidths=0)  # fmt: skip
    if block.mark in points:
        x, y = ((value,) for value in points[block.mark])
        axes.scatter(x, y, s=70, facecolors="none", edgecolors=ink(), linewidths=1.4)
    for i in block.outermost():
        axes.annotate(
            drawable(block.names[i]), points[i], xytext=(5, 4), textcoords="offset points",
            fontsize=7.5, color=ink(), weight="bold" if i == block.mark else "normal",
            bbox={"facecolor": ground(), "edgecolor": "none", "alpha": 0.7, "pad": 0.6},
        ).set_parse_math(False)  # fmt: skip
    across, up = (name.replace("_", " ") for name in (block.x, block.y))
    name_axes(axes, block.title, across, up, room() - 0.7)
    axes.margins(0.08)
    axes.grid(color=faint(), alpha=0.25, linewidth=0.5)
    if theirs or len(set(block.hues)) > 1:
        axes.legend(fontsize=7, frameon=False, labelcolor=ink())
