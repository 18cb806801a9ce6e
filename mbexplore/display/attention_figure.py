"""Attention maps and the model view as pictures."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.transforms import ScaledTranslation

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import LayerMap
from mbexplore.analysis.tile import Tile
from mbexplore.display import arcs_figure as arcs_figure  # registers its own
from mbexplore.display.attention_blocks import AttentionMap, ModelView
from mbexplore.display.axes import (
    Size,
    Surface,
    colours_of,
    in_lines,
    name_axes,
    place,
    size_of,
    titled,
)
from mbexplore.display.fonts import token_label
from mbexplore.display.style import faint, ground, head_ink, ink, room

ALONE, FEW, MANY = 5.6, 3.6, 2.7
"""Inches of the longer side of a map alone, among 4 at most, among more."""
BAND = 1.25
"""Height over width of a map by offset."""
PROFILE = 0.24
"""Height of a profile as a part of the map under it."""
BESIDE = 1.2
"""Inches for the colour bar and its name."""
MARGIN, NARROWEST = 0.9, 1.45
"""Inches of names beside maps, and the least of a map among others, with the space beside it."""
NARROW = 6.0
"""Where there is less room than this, the colour bar stands below the maps."""
THUMBNAIL, GAP = 1.0, 0.06
"""Inches of a thumbnail, and the space between two as a part of one."""
READABLE = 0.55
"""Inches of a thumbnail in whose corner a number can stand."""


def _grid(block: AttentionMap) -> tuple[int, int]:
    """Maps down and across."""
    count = len(block.names)
    across = int(min(math.ceil(math.sqrt(count)), max(1, (room() - MARGIN) / NARROWEST)))
    return math.ceil(count / across), across


def _inches(block: AttentionMap) -> Size:
    """Width and height of one map."""
    count, rows, columns = block.tile.weights.shape
    side = ALONE if count == 1 else FEW if count <= 4 else MANY
    beside = MARGIN + (0 if room() < NARROW else BESIDE)
    side = min(side, (room() - beside) / _grid(block)[1] - 0.25)
    if not block.has_keys:
        return side / BAND, side * (1 + PROFILE)
    cell = side / max(rows, columns)
    return max(columns * cell, 0.25 * side), max(rows * cell, 0.25 * side)


@size_of.register
def _(block: AttentionMap) -> Size:
    (down, across), (wide, tall) = _grid(block), _inches(block)
    title = 0.35 if block.title else 0.0
    beside, below = (0.0, 0.6) if room() < NARROW else (BESIDE, 0.0)
    return across * (wide + 0.25) + MARGIN + beside, down * (tall + 0.25) + 0.6 + title + below


@place.register
def _(block: AttentionMap, surface: Surface) -> None:
    tile = block.tile.shrink(512 if len(block.names) == 1 else 256)
    part = titled(surface, block.title, ink(tile.kind))
    down, across = _grid(block)
    heights = [1.0] if block.profile is None else [PROFILE, 1.0]
    grid = part.subplots(down * len(heights), across, squeeze=False, height_ratios=heights * down)
    for axes in grid.flat:
        axes.set_visible(False)
    norm = PowerNorm(1 / block.root, 0.0, block.high)
    hues = [ink()] if tile.is_mean else list(map(head_ink, tile.heads))
    maps = grid[len(heights) - 1 :: len(heights)].ravel()
    for number, axes in enumerate(maps[: len(block.names)]):
        axes.set_visible(True)
        image = axes.imshow(
            tile.weights[number], cmap=colours_of(tile.kind), norm=norm, interpolation="nearest",
            aspect="equal" if block.has_keys else "auto",
        )  # fmt: skip
        lowest = number + across >= len(block.names)
        _label(axes, block, tile, number % across == 0, lowest)
        _outline(axes, block, tile)
        above = axes
        if block.profile is not None:
            above = grid[::2].ravel()[number]
            _draw_profile(above, block, number, hues[number])
        _name(above, block, number, hues[number])
    where = "bottom" if room() < NARROW else "right"
    bar = part.colorbar(image, ax=list(maps), shrink=0.7, aspect=28, pad=0.02, location=where)
    bar.set_label(block.scale, fontsize=8, color=ink())
    bar.ax.tick_params(labelsize=7, colors=ink())
    bar.outline.set_visible(False)


def _name(axes: Axes, block: AttentionMap, number: int, hue: str) -> None:
    """A map's name and largest value over it, and the hue of its head as a bar between the two."""
    if len(block.names) == 1:
        most = block.title_of(number).partition(" \N{MIDDLE DOT} ")[2]
        axes.set_title(most, fontsize=8, color=faint(), pad=3, loc="right")
        return
    axes.set_title(block.title_of(number), fontsize=8.5, color=ink(), pad=5)
    above = ScaledTranslation(0, 2 / 72, axes.figure.dpi_scale_trans)
    bar = Line2D((0, 1), (1, 1), color=hue, linewidth=2, solid_capstyle="butt", clip_on=False)
    bar.set_transform(axes.transAxes + above)
    axes.add_artist(bar)


def _label(axes: Axes, block: AttentionMap, tile: Tile, is_left: bool, is_lowest: bool) -> None:
    name_axes(axes, "", block.column_axis if is_lowest else "", "query" if is_left else "")
    wide, tall = _inches(block)
    if is_left:
        ticks, labels = _names(tile.queries, tile.pool[0], tall * 7, block.mark)
        axes.set_yticks(ticks, labels, fontsize=7, parse_math=False)
        for tick, label in zip(ticks, axes.get_yticklabels(), strict=True):
            if block.mark is not None and tick == block.mark // tile.pool[0]:
                label.set_fontweight("bold")
    else:
        axes.set_yticks([])
    if not is_lowest:
        axes.set_xticks([])
    elif block.has_keys:
        ticks, labels = _names(tile.keys, tile.pool[1], wide * 7, None)
        axes.set_xticks(ticks, labels, rotation=90, fontsize=7, parse_math=False)
    else:
        reach = int(tile.keys.starts[-1])
        offsets = sorted({-reach, -(reach // 2), 0, reach // 2, reach})
        names = [tile.keys.labels[offset + reach] for offset in offsets]
        axes.set_xticks([(offset + reach) // tile.pool[1] for offset in offsets], names)


def _names(axis: Axis, pool: int, most: float, mark: int | None) -> tuple[list[int], list[str]]:
    """Pixels that are named, thinned to at most `most`, and their names; the mark is among them."""
    pixels = -(-len(axis) // pool)
    step = max(1, math.ceil(pixels / most))
    ticks = list(range(0, pixels, step))
    if mark is not None and mark // pool not in ticks:
        ticks = sorted([t for t in ticks if abs(t - mark // pool) >= step] + [mark // pool])
    first = [mark if mark is not None and t == mark // pool else t * pool for t in ticks]
    if pool * step == 1:
        return ticks, [token_label(axis.labels[i]) for i in first]
    # A label among hundreds needs its position.
    return ticks, [f"{token_label(axis.labels[i], 10)} {axis.starts[i]}" for i in first]


def _outline(axes: Axes, block: AttentionMap, tile: Tile) -> None:
    """The window's two edges, outside of which no weight is, and the marked row."""
    _, rows, columns = tile.weights.shape
    edges = tile.window()
    if edges is not None:
        steps = np.repeat(np.arange(rows + 1) - 0.5, 2)[1:-1]  # both ends of every row
        for side in np.array(edges).T:
            axes.plot(np.repeat(side - 0.5, 2), steps, color=ink(), linewidth=0.7, alpha=0.7,
                      linestyle=(0, (4, 3)))  # fmt: skip
    if block.mark is not None:
        row = block.mark // tile.pool[0]
        axes.add_patch(Rectangle((-0.5, row - 0.5), columns, 1, fill=False, edgecolor=ink(),
                                 linewidth=1.2, clip_on=False))  # fmt: skip
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)


def _draw_profile(axes: Axes, block: AttentionMap, number: int, hue: str) -> None:
    assert block.profile is not None
    axes.set_visible(True)
    profile = block.profile[number]
    axes.fill_between(range(len(profile)), profile, step="mid", color=hue, alpha=0.85, lw=0)
    axes.set_xlim(-0.5, len(profile) - 0.5)
    axes.set_ylim(0, 1.08 * max(float(block.profile.max()), 1e-9))
    name_axes(axes, "", "", "mean" if number % _grid(block)[1] == 0 else "")
    axes.set_xticks([])
    if number % _grid(block)[1]:
        axes.set_yticks([])


@size_of.register
def _(block: ModelView) -> Size:
    side = _thumbnail(block)
    across = max(len(block.maps[0].weights) * side, 3.0)
    return min(across + 2.1, room()), len(block.maps) * side + 0.8


def _thumbnail(block: ModelView) -> float:
    """Inches of a thumbnail."""
    return min(THUMBNAIL, (room() - 1.1) / len(block.maps[0].weights))


@place.register
def _(block: ModelView, surface: Surface) -> None:
    axes = surface.subplots()
    maps = block.maps
    columns, rows = len(maps[0].weights), len(maps)
    for each in maps:
        _draw_row(axes, each, rows - 1 - each.layer, _thumbnail(block) >= READABLE)
        for column in (i for i in range(columns) if block.is_off(each.layer, i)):
            _cross_out(axes, column, rows - 1 - each.layer)
    axes.set_xlim(-GAP, columns + GAP)
    axes.set_ylim(rows + GAP, -GAP)
    axes.set_aspect("equal")
    name_axes(axes, block.title)
    axes.xaxis.tick_top()
    names = [name.removeprefix("head ") for name in maps[0].names]
    axes.set_xticks(np.arange(columns) + 0.5, names, fontsize=9)
    layers = [f"{each.layer} {each.kind}" for each in reversed(maps)]
    axes.set_yticks(np.arange(rows) + 0.5, layers, fontsize=9)
    for label, each in zip(axes.get_yticklabels(), reversed(maps), strict=True):
        label.set_color(ink(each.kind))
        label.set_fontweight("bold" if each.kind == "global" else "normal")
    below = "head; rows of a map are queries, columns keys;", block.scale
    lines = (in_lines(one, 8, room() - 1.0) for one in below)
    axes.set_xlabel("\n".join(lines), fontsize=8, color=faint())
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_row(axes: Axes, each: LayerMap, row: int, with_weights: bool) -> None:
    """A layer's thumbnails, each with its largest weight in the corner where there is room."""
    colours = colours_of(each.kind)
    for column, weights in enumerate(each.weights):
        highest = max(float(weights.max()), 1e-9)
        left, right = column + GAP / 2, column + 1 - GAP / 2
        top, bottom = row + GAP / 2, row + 1 - GAP / 2
        axes.imshow(colours(np.sqrt(weights / highest)), extent=(left, right, bottom, top),
                    interpolation="nearest")  # fmt: skip
        axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False,
                                 edgecolor=ink(each.kind), linewidth=0.5))  # fmt: skip
        if not with_weights:
            continue
        axes.text(right - 0.02, top + 0.03, f"{highest:.2f}", fontsize=5.5, va="top", ha="right",
                  color=ink(), bbox={"facecolor": ground(), "edgecolor": "none", "pad": 0.8,
                                   "alpha": 0.75})  # fmt: skip


def _cross_out(axes: Axes, column: int, row: int) -> None:
    """A thumbnail of a head that is switched off."""
    left, right, top, bottom = column, column + 1, row, row + 1
    for ends in ((top, bottom), (bottom, top)):
        axes.plot((left + GAP, right - GAP), ends, color=ink(), linewidth=1.5)
