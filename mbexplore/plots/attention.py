"""Pictures of attention maps."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from mbexplore.analysis.maps import LayerMap
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    head_hues,
    kind_colours,
    label_tokens,
    name_bar,
    name_figure,
    name_head,
    weight_scale,
)

CELL = 2.6
"""Inches of a map among those of all heads."""


def picture_pixels(maps: int) -> int:
    """The most rows and columns for which every pixel of so many maps is drawn, at 150 dpi."""
    return 512 if maps == 1 else 256


def plot_layer_maps(maps: list[LayerMap], model: str) -> Figure:
    """Every head of each layer given, side by side: the layer asked for and one for contrast.

    Rows are queries, columns keys; the window of a local layer is outlined. The colour scale is
    a root of the weight, so that faint links show, and is shared within a layer.

    Args:
        maps: one entry a layer, all of the same text.
        model: name for the title.
    """
    first, heads = maps[0], len(maps[0].weights)
    columns = math.ceil(math.sqrt(heads))
    rows = math.ceil(heads / columns)
    cell = 5.0 if heads == 1 else CELL
    width = len(maps) * (columns * cell + 1.4)
    figure = Figure(figsize=(width, rows * cell + 1.3), facecolor="white", layout="constrained")
    size = first.axis.size
    size += f", {first.pooled}" if first.pooled else ""
    name_figure(figure, model, f"who looks at whom, {size}")
    for part, layer_map in zip(
        figure.subfigures(1, len(maps), squeeze=False)[0], maps, strict=True
    ):
        _draw_layer(part, layer_map, rows, columns, cell)
    return figure


def _draw_layer(part: SubFigure, layer_map: LayerMap, rows: int, columns: int, cell: float) -> None:
    part.suptitle(layer_map.title, color=HUE[layer_map.kind], fontsize=11)
    norm, scale = weight_scale(layer_map.weights)
    hues = head_hues(layer_map.heads, layer_map.is_mean)
    most = int(cell * 9)
    grid = part.subplots(rows, columns, squeeze=False)
    image = None
    for place, axes in enumerate(grid.flat):
        if place >= len(layer_map.weights):
            axes.set_visible(False)
            continue
        image = axes.imshow(
            layer_map.weights[place],
            cmap=kind_colours(layer_map.kind),
            norm=norm,
            interpolation="nearest",
        )
        _outline_window(axes, layer_map)
        is_left, is_bottom = place % columns == 0, place + columns >= len(layer_map.weights)
        _label(axes, layer_map, most, is_left, is_bottom)
        name_head(axes, layer_map.names[place], hues[place])
    assert image is not None
    name_bar(part.colorbar(image, ax=grid, shrink=0.6, aspect=30, pad=0.02), scale)


def _label(axes: Axes, layer_map: LayerMap, most: int, is_left: bool, is_bottom: bool) -> None:
    labels, starts = layer_map.axis.labels, layer_map.axis.starts.tolist()
    axes.tick_params(length=0, colors=INK, pad=2)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
    size = 6.5 if most > 30 else 5.5
    if is_left:
        label_tokens(axes, labels, layer_map.pool, "y", most, size, starts)
        axes.set_ylabel("query", fontsize=8, color=FAINT)
    else:
        axes.set_yticks([])
    if is_bottom:
        label_tokens(axes, labels, layer_map.pool, "x", most, size, starts)
        axes.set_xlabel("key", fontsize=8, color=FAINT)
    else:
        axes.set_xticks([])


def _outline_window(axes: Axes, layer_map: LayerMap) -> None:
    """Outside these two lines a local layer can't look."""
    edges = layer_map.window()
    if edges is None:
        return
    size = len(edges)
    steps = np.repeat(np.arange(size + 1) - 0.5, 2)[1:-1]  # both ends of every row
    for side in (0, 1):
        axes.plot(
            np.repeat(edges[:, side] - 0.5, 2), steps, color=INK, linewidth=0.7,
            linestyle=(0, (4, 3)), alpha=0.7,
        )  # fmt: skip
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
