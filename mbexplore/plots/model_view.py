"""The model view: the map of every head of every layer, small."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from mbexplore.analysis.maps import LayerMap
from mbexplore.display.palette import TINT
from mbexplore.plots.style import (
    HUE,
    INK,
    footer,
    head_hues,
    kind_colours,
    mark_heads,
    name_figure,
)

CELL = 1.0
"""Inches of a thumbnail: at 150 dots an inch more than the 128 pixels that it has at most."""

GAP = 0.06
"""Space between thumbnails, as a part of one."""

ALONE = 2.0
"""Inches of the map of a layer that has but one."""


def plot_model_view(maps: Sequence[LayerMap], model: str) -> Figure:
    """Every layer a row, from the first at the top; every head a column.

    Layers with one map each, of one head or of the mean, stand side by side instead. Each map is
    coloured up to its own largest weight, on a square-root scale.

    Args:
        maps: one entry a layer, all alike but for their kind.
        model: name for the title.
    """
    columns = len(maps[0].weights)
    if columns == 1:
        return _plot_one_each(maps, model)
    width, height = max(columns * CELL + 2.3, 6.0), len(maps) * CELL + 1.5
    figure = _open((width, height), maps, model, "every head of every layer")
    axes = figure.add_subplot()
    for row, layer_map in enumerate(maps):
        _draw_row(axes, layer_map, row, columns)
    axes.set_xlim(-GAP, columns + GAP)
    axes.set_ylim(len(maps) + GAP, -GAP)
    axes.set_aspect("equal")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=4)
    _name_rows(axes, maps)
    axes.set_xticks(np.arange(columns) + 0.5, maps[0].names, fontsize=9)
    mark_heads(axes.xaxis, head_hues(maps[0].heads, maps[0].is_mean))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


def _open(size: tuple[float, float], maps: Sequence[LayerMap], model: str, what: str) -> Figure:
    """An empty picture with its title and its foot."""
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    first = maps[0]
    name_figure(figure, model, what, ", ".join(filter(None, (first.axis.size, first.pooled))))
    footer(
        figure,
        "Rows of a map are queries from the top, columns keys. Each map is coloured up to its own "
        "largest weight, on a square-root scale.",
    )
    return figure


def _plot_one_each(maps: Sequence[LayerMap], model: str) -> Figure:
    """A map a layer, so many in a line that global layers stand under one another."""
    first = maps[0]
    kinds = [each.kind for each in maps]
    starts = [i for i, kind in enumerate(kinds) if kind == "global"]
    period = starts[1] - starts[0] if len(starts) > 1 else 1
    across = min(period * max(1, round(math.sqrt(len(maps)) / period)), len(maps))
    down = math.ceil(len(maps) / across)
    size = (max(across * (ALONE + 0.1), 6.0), down * (ALONE + 0.3) + 1.3)
    figure = _open(size, maps, model, f"{first.names[0]}, every layer")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(maps) :]:
        axes.set_visible(False)
    for axes, layer_map in zip(grid.flat, maps, strict=False):
        colours, hue = kind_colours(layer_map.kind), HUE[layer_map.kind]
        axes.imshow(colours(_scaled(layer_map.weights[0])), interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        weight = "bold" if layer_map.kind == "global" else "normal"
        title = f"{layer_map.layer} {layer_map.kind} \N{MIDDLE DOT} {_sees(layer_map)}"
        axes.set_title(title, fontsize=9, color=hue, fontweight=weight, pad=3)
        for spine in axes.spines.values():
            spine.set_color(hue)
            spine.set_linewidth(1.6 if layer_map.kind == "global" else 0.5)
    return figure


def _sees(layer_map: LayerMap) -> str:
    """How far a layer sees, and its theta."""
    window = layer_map.half_window
    reach = "all" if window is None else f"\N{PLUS-MINUS SIGN}{window}"
    return f"{reach}, \N{GREEK SMALL LETTER THETA} {layer_map.theta:,.0f}"


def _draw_row(axes: Axes, layer_map: LayerMap, row: int, columns: int) -> None:
    colours = kind_colours(layer_map.kind)
    axes.add_patch(
        Rectangle(
            (-GAP, row),
            columns + 2 * GAP,
            1,
            facecolor=TINT[layer_map.kind],
            edgecolor="none",
            zorder=-1,
        )
    )
    for column, weights in enumerate(layer_map.weights):
        low, high = column + GAP / 2, column + 1 - GAP / 2
        axes.imshow(
            colours(_scaled(weights)),
            extent=(low, high, row + 1 - GAP / 2, row + GAP / 2),
            interpolation="nearest",
        )


def _scaled(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    scaled: npt.NDArray[np.float32] = np.sqrt(weights / max(float(weights.max()), 1e-9))
    return scaled


def _name_rows(axes: Axes, maps: Sequence[LayerMap]) -> None:
    """Layer and kind to the left of each row, and to its right what the layer sees."""
    axes.set_yticks(np.arange(len(maps)) + 0.5, [f"{m.layer} {m.kind}" for m in maps], fontsize=9)
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for row, (label, layer_map) in enumerate(zip(axes.get_yticklabels(), maps, strict=True)):
        label.set_color(HUE[layer_map.kind])
        label.set_fontweight("bold" if layer_map.kind == "global" else "normal")
        axes.text(
            1.01,
            row + 0.5,
            _sees(layer_map).replace(", ", "\n"),
            transform=beside,
            fontsize=7.5,
            color=INK,
            va="center",
        )
