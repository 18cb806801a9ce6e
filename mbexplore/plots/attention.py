"""Pictures of attention maps."""

from __future__ import annotations

import math
from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure, SubFigure

from mbexplore.analysis.maps import LayerMap
from mbexplore.plots.style import FAINT, HUE, INK, drawable, kind_colours, label_tokens


def plot_layer_maps(maps: list[LayerMap], model: str) -> Figure:
    """Every head of each layer given, side by side: the layer asked for and one for contrast.

    Rows are queries, columns keys; the window of a local layer is outlined. The colour scale is
    the square root of the weight, so that faint links show, and is shared within a layer.

    Args:
        maps: one entry a layer, all of the same text.
        model: name for the title.
    """
    heads = len(maps[0].heads)
    columns = math.ceil(math.sqrt(heads))
    rows = math.ceil(heads / columns)
    cell = 5.0 if heads == 1 else 2.6
    width = len(maps) * (columns * cell + 1.4)
    figure = Figure(figsize=(width, rows * cell + 1.9), facecolor="white", layout="constrained")
    tokens, pool = len(maps[0].axis), maps[0].pool
    pooled = f", {pool} tokens to a pixel (the largest weight shows)" if pool > 1 else ""
    figure.suptitle(
        drawable(f"{PurePath(model).name}: who looks at whom, {tokens:,} tokens{pooled}"),
        color=INK,
        fontsize=12,
    ).set_parse_math(False)
    for part, layer_map in zip(
        figure.subfigures(1, len(maps), squeeze=False)[0], maps, strict=True
    ):
        _draw_layer(part, layer_map, rows, columns, cell)
    return figure


def layer_title(layer_map: LayerMap) -> str:
    """What a layer is, in one line."""
    window = layer_map.half_window
    reach = "sees every token" if window is None else f"sees {window} tokens each side"
    return (
        f"Layer {layer_map.layer} \N{MIDDLE DOT} {layer_map.kind} \N{MIDDLE DOT} {reach} "
        f"\N{MIDDLE DOT} \N{GREEK SMALL LETTER THETA} = {layer_map.theta:,.0f}"
    )


def _draw_layer(part: SubFigure, layer_map: LayerMap, rows: int, columns: int, cell: float) -> None:
    part.suptitle(layer_title(layer_map), color=HUE[layer_map.kind], fontsize=11)
    norm = PowerNorm(0.5, vmin=0.0, vmax=float(layer_map.weights.max()))
    most = int(cell * 9)
    grid = part.subplots(rows, columns, squeeze=False)
    image = None
    for place, axes in enumerate(grid.flat):
        if place >= len(layer_map.heads):
            axes.set_visible(False)
            continue
        image = axes.imshow(
            layer_map.weights[place],
            cmap=kind_colours(layer_map.kind),
            norm=norm,
            interpolation="nearest",
        )
        axes.set_title(f"head {layer_map.heads[place]}", fontsize=9, color=INK, pad=3)
        _outline_window(axes, layer_map)
        is_left, is_bottom = place % columns == 0, place + columns >= len(layer_map.heads)
        _label(axes, layer_map, most, is_left, is_bottom)
    assert image is not None
    bar = part.colorbar(image, ax=grid, shrink=0.6, aspect=30, pad=0.02)
    bar.set_label("attention weight (square-root scale)", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)


def _label(axes: Axes, layer_map: LayerMap, most: int, is_left: bool, is_bottom: bool) -> None:
    axes.tick_params(length=0, colors=INK, pad=2)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
    size = 6.5 if most > 30 else 5.5
    if is_left:
        label_tokens(axes, layer_map.axis.labels, layer_map.pool, "y", most, size)
        axes.set_ylabel("query", fontsize=8, color=FAINT)
    else:
        axes.set_yticks([])
    if is_bottom:
        label_tokens(axes, layer_map.axis.labels, layer_map.pool, "x", most, size)
        axes.set_xlabel("key", fontsize=8, color=FAINT)
    else:
        axes.set_xticks([])


def _outline_window(axes: Axes, layer_map: LayerMap) -> None:
    """Two steps of a diagonal: outside them a local layer can't look."""
    if layer_map.half_window is None:
        return
    size = layer_map.weights.shape[-1]
    reach = (layer_map.half_window + 0.5) / layer_map.pool
    along = np.array([-0.5, size - 0.5])
    for side in (-reach, reach):
        axes.plot(along, along + side, color=INK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.7)
    axes.set_xlim(-0.5, size - 0.5)
    axes.set_ylim(size - 0.5, -0.5)
