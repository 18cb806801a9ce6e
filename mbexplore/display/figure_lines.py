"""Curves on a figure."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from mbexplore.display.axes import Size, draw, label_axis, name_axes, plain_ticks, size_of
from mbexplore.display.blocks import Lines
from mbexplore.display.fonts import drawable
from mbexplore.display.style import faint, ink, room


@size_of.register
def _(block: Lines) -> Size:
    below = 0.17 * len(block.series) if _is_legend_below(block) else 0.0
    return min(5.0, room()), 2.6 + below


def _is_legend_below(block: Lines) -> bool:
    """Whether the names of the curves would cover them."""
    return len(block.series) > 1 and room() < 5.0


@draw.register
def _(block: Lines, axes: Axes) -> None:
    for one in block.series:
        x, y = zip(*one.points, strict=True) if one.points else ((), ())
        axes.plot(
            x, y, label=drawable(one.name), color=ink(one.hue), linewidth=1.3,
            linestyle=(0, (4, 2)) if one.dashed else "-", marker="o" if one.dots else "",
            markersize=3.5,
        )  # fmt: skip
    axes.set_xscale("log" if block.log_x else "linear")
    axes.set_yscale("log" if block.log_y else "linear")
    for axis, is_log in ((axes.xaxis, block.log_x), (axes.yaxis, block.log_y)):
        if is_log:
            plain_ticks(axis)
    name_axes(axes, block.title, block.x, block.y, room() - 0.7)
    if block.ticks is not None:
        rotation = 0 if max(map(len, block.ticks)) <= 3 else 60
        most = int(min(26, (room() - 0.8) / 0.17))
        label_axis(axes.set_xticks, block.ticks, most, rotation=rotation)
    axes.grid(axis="y", color=faint(), alpha=0.25, linewidth=0.5)
    for name, at in block.levels.items():
        axes.axhline(at, color=faint(), linewidth=0.8, linestyle=(0, (4, 3)))
        axes.annotate(drawable(name), (0, at), xycoords=("axes fraction", "data"), fontsize=7,
                      xytext=(3, 3), textcoords="offset points", color=faint())  # fmt: skip
    if block.y_down:
        axes.invert_yaxis()
    for name, at in block.marks.items():
        _mark_place(axes, name, at)
    surface = axes.figure
    if _is_legend_below(block) and surface.axes == [axes]:
        surface.legend(*axes.get_legend_handles_labels(), loc="outside lower left", fontsize=7,
                       frameon=False, labelcolor=ink(), borderaxespad=0)  # fmt: skip
    elif len(block.series) > 1:
        axes.legend(fontsize=7, frameon=False, labelcolor=ink())


def _mark_place(axes: Axes, name: str, at: float) -> None:
    """An upright line with its name, at the end and on the side where no curve is."""
    axes.axvline(at, color=faint(), linewidth=0.8, linestyle=(0, (4, 3)))
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
        drawable(name), (place, max(free, key=lambda end: free[end])), fontsize=7, color=faint(),
        xycoords="axes fraction", xytext=(-3 if left else 3, 0), textcoords="offset points",
        ha="right" if left else "left", va="center",
    ).set_parse_math(False)  # fmt: skip
