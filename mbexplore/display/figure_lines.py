"""Curves, points, and the way of a difference on a figure."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from mbexplore.display.axes import Size, draw, label_axis, name_axes, plain_ticks, size_of
from mbexplore.display.blocks import Lines
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.story_blocks import LEAST, Edge, RouteGraph
from mbexplore.display.style import colour_of, faint, ground, ink, room

APART = 0.36
"""Rows between heads that lead from one place to the same other one."""


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


@size_of.register
def _(block: RouteGraph) -> Size:
    rows, columns = block.nodes.values.shape
    return min(max(0.75 * columns, 4.0) + 1.2, 12.0, room()), 0.42 * rows + 0.9


@draw.register
def _(block: RouteGraph, axes: Axes) -> None:
    nodes = block.nodes
    rows, columns = nodes.values.shape
    high = nodes.bounds[1]
    for row in range(rows):
        for column in range(columns):
            share = float(nodes.values[row, column])
            if math.isnan(share) or abs(share) < LEAST:
                axes.plot(column, row, ".", color=faint(), markersize=2)
                continue
            above = float(nodes.values[row + 1, column]) if row + 1 < rows else 0.0
            if above >= LEAST and share > 0:
                axes.plot([column, column], [row, row + 1], color=faint(), zorder=1,
                          linewidth=5 * min(share, above, 1.0))  # fmt: skip
            colour = colour_of("signed", (share / high + 1) / 2)
            size = 3 + 8 * math.sqrt(min(abs(share), 1.0))
            axes.plot(column, row, "o", color=colour, markersize=size, markeredgecolor=ink(),
                      markeredgewidth=0.6, zorder=3)  # fmt: skip
    for edge, number, count in block.ends:
        _draw_edge(axes, edge, (count - 1) / 2 - number)
    axes.set_xlim(-0.6, columns - 0.2)
    axes.set_ylim(-0.6, rows - 0.4)
    name_axes(axes, nodes.title, nodes.column_axis, nodes.row_axis)
    label_axis(axes.set_yticks, nodes.rows)
    names = [[token_label(one) for one in name.split(" / ")] for name in nodes.columns]
    labels = ["\n/ ".join(pair) for pair in names]
    axes.set_xticks(range(columns), labels, fontsize=7.5, parse_math=False)
    for label, hue in zip(axes.get_yticklabels(), nodes.row_hues or (), strict=False):
        label.set_color(ink(hue))
    axes.spines[["top", "right", "bottom", "left"]].set_visible(False)


def _draw_edge(axes: Axes, edge: Edge, bend: float) -> None:
    """An arrow, with the head's name in its middle; beside the token where it reads itself."""
    row, key, query = edge.row, edge.key, edge.query
    colour = ink(edge.hue)
    if key == query:
        axes.annotate(edge.label, (query, row + 1), xytext=(9, -3 + 9 * bend), fontsize=7.2,
                      color=colour, textcoords="offset points")  # fmt: skip
        return
    middle = ((key + query) / 2, row + 0.5 + APART * bend)
    arrow = FancyArrowPatch(
        (key, row), (query, row + 1), color=colour, arrowstyle="-|>", mutation_scale=8,
        shrinkA=6, shrinkB=6, linewidth=0.8 + 4 * max(edge.share, 0.0), alpha=0.8, zorder=2,
        connectionstyle=f"arc3,rad={-0.16 * bend * (1 if query > key else -1):.2f}",
        linestyle="--" if edge.backup else "-",
    )  # fmt: skip
    axes.add_patch(arrow)
    axes.text(
        *middle, edge.label, fontsize=7.2, color=colour, ha="center", va="center", zorder=4,
        bbox={"facecolor": ground(), "edgecolor": "none", "boxstyle": "square,pad=0"},
    )  # fmt: skip
