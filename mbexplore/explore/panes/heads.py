"""The layer's heads side by side as small maps; the held one is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mbexplore.analysis.maps import LayerMap, layer_map
from mbexplore.explore.lines import Line, fill, pad, say
from mbexplore.explore.panes.map import outlined
from mbexplore.explore.panes.pane import (
    Pane,
    Picture,
    Scene,
    attention_of,
    axis_key,
    axis_of,
    heat,
    shown_tokens,
)

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

GAP = 2


def grid(heads: int, width: int, height: int) -> tuple[int, int, int]:
    """Columns, lines of a cell and pixels of a side that make the maps largest."""
    best = (1, height, 1)
    for columns in range(1, heads + 1):
        rows = -(-heads // columns)
        lines = height // rows
        side = min((width + GAP) // columns - GAP, 2 * (lines - 1))
        if side > best[2]:
            best = (columns, lines, side)
    return best


def load(scene: Scene, stop: Stop) -> LayerMap:
    """Every head's map at the size of its cell."""
    layer, axis = scene.state.layer, axis_of(scene)
    *_, side = grid(scene.bounds.heads, scene.width, scene.height)
    key = ("map", layer, None, max(2, side), axis_key(axis))
    return scene.run.pieces.get(
        key, lambda: layer_map(scene.recording, layer, None, max(2, side), axis)
    )


def draw(data: LayerMap, scene: Scene) -> Picture:
    """Maps in rows, each under its name."""
    columns, height, side = grid(len(data.heads), scene.width, scene.height)
    size = data.weights.shape[-1]
    times = max(1, side // size)
    width = min(scene.width, max(size * times, 8))
    lines: list[Line] = []
    for first in range(0, len(data.heads), columns):
        row = range(first, min(first + columns, len(data.heads)))
        blocks = [_cell(data, head, times, width, scene) for head in row]
        for y in range(max(map(len, blocks))):
            line: Line = []
            for block in blocks:
                line += [*fill(block[y] if y < len(block) else [], width), say(" " * GAP)]
            lines.append(line)
        if first + columns < len(data.heads) and height > 1 + -(-size * times // 2):
            lines.append([])
    pool, unit = data.pool, data.axis.unit
    return Picture(lines, "" if pool == 1 else f"{pool} {unit} to a pixel, the largest shows")


def _cell(data: LayerMap, head: int, times: int, width: int, scene: Scene) -> list[Line]:
    look, held = scene.look, head == scene.state.head
    levels, colours = outlined(data, head, scene)
    picture = heat(levels.repeat(times, 0).repeat(times, 1), colours, look, " \N{MIDDLE DOT}")
    mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if held else " "
    name = pad(f"{mark}head {head}", width)
    return [[say(name, look.strong if held else look.faint)], *picture]


def view(scene: Scene, stop: Stop) -> Any:
    """`attention --layer L`, of what is shown."""
    return attention_of(scene, every_head=True, words=scene.state.words, tokens=shown_tokens(scene))


PANE = Pane("heads", load, draw, view)
