"""The model view: the map of every head of every layer, small."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import blended_transform_factory

from mbexplore.analysis.maps import LayerMap
from mbexplore.palette import TINT
from mbexplore.plots.style import FAINT, HUE, INK, footer, kind_colours, name_figure

CELL = 1.0
"""Inches of a thumbnail: at 150 dots an inch more than the 128 pixels that it has at most."""

GAP = 0.06
"""Space between thumbnails, as a part of one."""


def plot_model_view(maps: Sequence[LayerMap], model: str) -> Figure:
    """Every layer a row, from the first at the top; every head a column.

    Each map is coloured up to its own largest weight, on a square-root scale.

    Args:
        maps: one entry a layer, all alike but for their kind.
        model: name for the title.
    """
    columns, first = len(maps[0].weights), maps[0]
    width, height = max(columns * CELL + 2.3, 6.0), len(maps) * CELL + 1.5
    figure = Figure(figsize=(width, height), facecolor="white", layout="constrained")
    size = first.axis.size
    size += f", {first.pooled}" if first.pooled else ""
    name_figure(figure, model, "every head of every layer", size)
    axes = figure.add_subplot()
    for row, layer_map in enumerate(maps):
        _draw_row(axes, layer_map, row, columns)
    axes.set_xlim(-GAP, columns + GAP)
    axes.set_ylim(len(maps) + GAP, -GAP)
    axes.set_aspect("equal")
    _name_rows(axes, maps)
    axes.set_xticks(np.arange(columns) + 0.5, first.names, fontsize=9, color=INK)
    for label, hue in zip(axes.get_xticklabels(), first.hues, strict=True):
        label.set_color(hue)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=4)
    for spine in axes.spines.values():
        spine.set_visible(False)
    footer(
        figure,
        "Rows of a map are queries from the top, columns keys. Each map is coloured up to its own "
        "largest weight, on a square-root scale.",
    )
    return figure


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
        window = layer_map.half_window
        reach = "all" if window is None else f"\N{PLUS-MINUS SIGN}{window}"
        axes.text(
            1.01,
            row + 0.5,
            f"{reach}\n\N{GREEK SMALL LETTER THETA} {layer_map.theta:,.0f}",
            transform=beside,
            fontsize=7.5,
            color=FAINT,
            va="center",
        )
