"""Pictures of a rectangle of attention maps: some queries by some keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbexplore.analysis.tile import Tile
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    kind_colours,
    label_tokens,
    name_bar,
    name_figure,
    name_head,
    plain_axes,
    weight_scale,
)

SIDE = {1: 6.0, 4: 4.0}
"""Inches of the longer side of a map, by how many there are at most; beyond that `LEAST`."""
LEAST = 3.0


def plot_part(
    tiles: Sequence[Tile],
    names: Sequence[str],
    hues: Sequence[str],
    kind: LayerKind,
    title: str,
    model: str,
) -> Figure:
    """The same part of the maps of some heads of a layer, on one scale.

    Args:
        tiles: one a head, all of the same queries and keys.
        names: of them.
        hues: of their heads.
        kind: of the layer.
        title: what the layer is, in one line.
        model: name for the title.
    """
    rows, columns = tiles[0].weights.shape
    side = next((inches for count, inches in SIDE.items() if len(tiles) <= count), LEAST)
    cell = side / max(rows, columns)
    wide = max(columns * cell, 0.2 * side)
    tall = max(rows * cell, 0.2 * side)
    across = math.ceil(math.sqrt(len(tiles)))
    down = math.ceil(len(tiles) / across)
    size = (max(6.5, across * (wide + 0.9) + 1.2), down * (tall + 1.2) + 0.9)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    queries, keys = tiles[0].queries, tiles[0].keys
    name_figure(
        figure, model, f"{queries.size} looking at {keys.size}{tiles[0].pooled}", title, HUE[kind]
    )
    norm, scale = weight_scale(np.stack([each.weights for each in tiles]))
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(tiles) :]:
        axes.set_visible(False)
    for axes, tile, name, hue in zip(grid.flat, tiles, names, hues, strict=False):
        image = axes.imshow(
            tile.weights, cmap=kind_colours(kind), norm=norm, interpolation="nearest"
        )
        _outline_window(axes, tile)
        _label(axes, tile, (wide, tall))
        name_head(axes, name, hue)
    name_bar(figure.colorbar(image, ax=grid, shrink=0.7, aspect=25, pad=0.02), scale)
    return figure


def _label(axes: Axes, tile: Tile, inches: tuple[float, float]) -> None:
    plain_axes(axes)
    for axis, side, pool, long in (
        ("x", tile.keys, tile.pool[1], inches[0]),
        ("y", tile.queries, tile.pool[0], inches[1]),
    ):
        most = max(1, int(long * 8))
        label_tokens(axes, side.labels, pool, axis, most, 7, side.starts.tolist())
    axes.set_xlabel("key", fontsize=8, color=FAINT)
    axes.set_ylabel("query", fontsize=8, color=FAINT)


def _outline_window(axes: Axes, tile: Tile) -> None:
    """Outside these two lines a local layer can't look."""
    edges = tile.window()
    if edges is None:
        return
    rows, columns = tile.weights.shape
    steps = np.repeat(np.arange(rows + 1) - 0.5, 2)[1:-1]  # both ends of every row
    for side in np.array(edges).T:
        axes.plot(
            np.repeat(side - 0.5, 2), steps, color=INK, linewidth=0.7, linestyle=(0, (4, 3)),
            alpha=0.7,
        )  # fmt: skip
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
