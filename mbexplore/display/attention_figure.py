"""Attention maps and the model view as pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mbexplore.display.attention_blocks import AttentionMap, ModelView
from mbexplore.display.axes import (
    Blank,
    Size,
    Surface,
    Words,
    colours_of,
    fit,
    in_lines,
    name_axes,
    place,
    size_of,
)
from mbexplore.display.blocks import Block, Column, Row
from mbexplore.display.figure_heat import Map
from mbexplore.display.style import faint, ground, ink, room

if TYPE_CHECKING:
    from mbexplore.analysis.maps import LayerMap

ALONE, FEW, MANY = 5.6, 3.6, 2.7
"""Inches of the longer side of a map alone, among 4 at most, among more."""
BAND = 1.25
"""Height over width of a map by offset."""
BESIDE, NARROWEST = 2.2, 1.45
"""Inches of names and colours beside maps, and the least of a map among others."""
THUMBNAIL, GAP = 1.0, 0.06
"""Inches of a thumbnail, and the space between two as a part of one."""
READABLE = 0.55
"""Inches of a thumbnail in whose corner a number can stand."""


@fit.register
def _(block: AttentionMap) -> Block:
    """Its maps as matrices, line by line; names of rows stand at the left, of columns below."""
    count, rows, columns = block.tile.weights.shape
    heats = block.heats(512 if count == 1 else 256)
    across = int(min(math.ceil(math.sqrt(count)), max(1, (room() - BESIDE) / NARROWEST)))
    side = ALONE if count == 1 else FEW if count <= 4 else MANY
    side = min(side, (room() - BESIDE) / across - 0.3)
    inches = (side / BAND, side)
    if block.has_keys:
        cell = side / max(rows, columns)
        inches = max(columns * cell, 0.25 * side), max(rows * cell, 0.25 * side)
    maps: list[Block] = []
    for i, one in enumerate(heats):
        is_left, is_lowest = i % across == 0, i + across >= count
        unnamed: dict[str, Any] = {} if is_left else {"rows": ("",) * len(one.rows), "row_axis": ""}
        if not is_lowest:
            unnamed |= {"columns": ("",) * len(one.columns), "column_axis": ""}
        is_last = (i + 1) % across == 0 or i + 1 == count
        title = one.title if count > 1 else block.title
        maps.append(Map(
            **vars(one) | unnamed | {"title": title, "scale": is_last},
            inches=inches, is_square=block.has_keys,
        ))  # fmt: skip
    maps += [Blank(inches)] * (-count % across)
    lines = (Row(tuple(maps[i : i + across])) for i in range(0, len(maps), across))
    above = [Words(((block.title, block.tile.kind),), 10)] if count > 1 and block.title else []
    return Column((*above, *lines))


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
