"""A route on a figure: tokens from left to right, layers upwards, heads as arrows between them."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from mbexplore.display.axes import Size, draw, label_axis, name_axes, size_of
from mbexplore.display.fonts import token_label
from mbexplore.display.route_blocks import LEAST, Edge, RouteGraph
from mbexplore.display.style import colour_of, faint, ground, ink, room

APART = 0.36
"""Rows between heads that lead from one place to the same other one."""


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
    text = f"{edge.name}  {edge.text}"
    if key == query:
        axes.annotate(text, (query, row + 1), xytext=(9, -3 + 9 * bend), fontsize=7.2, color=colour,
                      textcoords="offset points")  # fmt: skip
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
        *middle, text, fontsize=7.2, color=colour, ha="center", va="center", zorder=4,
        bbox={"facecolor": ground(), "edgecolor": "none", "boxstyle": "square,pad=0"},
    )  # fmt: skip
