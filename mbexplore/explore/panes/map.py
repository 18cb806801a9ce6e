"""The held head's map with the window outlined; zooms down to its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import LayerMap, layer_map
from mbexplore.explore.lines import Line, beside, clip, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import (
    Pane,
    Picture,
    Scene,
    attention_of,
    axis_key,
    axis_of,
    figure,
    heat,
    is_exact,
    levels_of,
    links_at,
    on,
    place_name,
    shown_tokens,
)
from mbexplore.text import bar, word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.links import Link
    from mbexplore.display.half_blocks import Ramp
    from mbexplore.explore.threads import Stop

LABEL = 13
"""Cells of a row's label."""

FIGURE = 6
"""Cells of a figure and the space around it."""

LIST = 36
"""Cells of the list beside the map, at most."""


@dataclass(frozen=True, eq=False)
class MapData:
    """The map, and what the chosen token looks at over the whole text."""

    map: LayerMap
    axis: Axis
    links: tuple[Link, ...]


def load(scene: Scene, stop: Stop) -> MapData:
    """The map at the size there is room for."""
    state, exact = scene.state, is_exact(scene)
    lines = max(1, scene.height - 1)
    span = max(1, min(lines, (scene.width - LABEL - 1) // FIGURE)) if exact else None
    axis = axis_of(scene, span)
    pixels = max(2, min(2 * lines, scene.width - LABEL - 1)) if not exact else len(axis)
    key = ("map", state.layer, state.head, pixels, axis_key(axis))
    found = scene.run.pieces.get(
        key, lambda: layer_map(scene.recording, state.layer, state.head, pixels, axis)
    )
    stop.check()
    return MapData(found, *links_at(scene, state.head, max(4, lines)))


def draw(data: MapData, scene: Scene) -> Picture:
    """Rows are the tokens that look, columns those looked at."""
    if is_exact(scene):
        return Picture(_figures(data.map, scene), "weights as figures")
    lines, width = _picture(data.map, scene)
    room = scene.width - width - 3
    if room >= 22:
        listed = _list(data, scene, min(room, LIST))
        lines = beside(lines, listed, width, gap=3)
    pool, unit = data.map.pool, data.map.axis.unit
    return Picture(lines, "" if pool == 1 else f"{pool} {unit} to a pixel, the largest shows")


def outlined(found: LayerMap, head: int, scene: Scene) -> tuple[NDArray[np.intp], Ramp]:
    """Levels of one map with the window's edge and what lies outside it as levels of their own."""
    levels = levels_of(found.weights[head], found.scale, SHADES)
    window = found.window()
    if window is not None:
        columns = np.arange(levels.shape[1])
        before, after = columns < window[:, :1], columns >= window[:, 1:]
        levels = np.where(before | after, SHADES, levels)
        edge = (columns == window[:, :1] - 1) | (columns == window[:, 1:])
        levels = np.where(edge, SHADES + 1, levels)
    outside = (13, 18, 24) if scene.look.dark else (240, 241, 242)
    line = (86, 101, 115) if scene.look.dark else (150, 158, 166)
    return levels, (*scene.look.colours(found.kind), outside, line)


def _picture(found: LayerMap, scene: Scene) -> tuple[list[Line], int]:
    """The map with its labels, and the cells it takes."""
    levels, colours = outlined(found, 0, scene)
    size, lines = len(levels), max(1, scene.height - 1)
    times = max(1, min(2 * lines // size, (scene.width - LABEL - 1) // size))
    times -= times % 2 * (times > 1)  # whole lines to a row
    picture = heat(levels.repeat(times, 0).repeat(times, 1), colours, scene.look, " \N{MIDDLE DOT}")
    axis, token = found.axis, scene.state.token
    chosen = int(axis.indices_of(np.array([token]))[0]) // found.pool
    drawn = [_columns(found, times, chosen, scene)]
    for y, line in enumerate(picture):
        row, last = 2 * y // times, min((2 * y + 1) // times, size - 1)
        holds = row <= chosen <= last
        first_line = y == 0 or 2 * (y - 1) // times != row
        place = min((chosen if holds else row) * found.pool, len(axis) - 1)
        name = place_name(axis, axis.index_of(token) if holds else place, LABEL - 1)
        label = name if first_line or (holds and 2 * y // times == chosen) else " " * (LABEL - 1)
        style = scene.look.strong if holds else scene.look.faint
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if holds and first_line else " "
        drawn.append([say(label, style), say(mark, style), *line])
    return drawn, LABEL + size * times


def _columns(found: LayerMap, times: int, chosen: int, scene: Scene) -> Line:
    """The line above: positions of columns, and where the chosen token is."""
    width = len(found.weights[0]) * times
    cells = [" "] * width
    axis, step = found.axis, 10
    for at in range(0, width - 3, step):
        number = str(int(axis.starts[min(at // times * found.pool, len(axis) - 1)]))
        for i, digit in enumerate(number):
            cells[at + i : at + i + 1] = [digit]
    text = "".join(cells)[:width]
    line = [say(pad("looks at", LABEL, right=False), scene.look.faint)]
    at = chosen * times
    if chosen < 0:
        return [*line, say(text, scene.look.faint)]
    mark = say("\N{BLACK DOWN-POINTING SMALL TRIANGLE}", scene.look.strong)
    return [*line, say(text[:at], scene.look.faint), mark, say(text[at + 1 :], scene.look.faint)]


def _list(data: MapData, scene: Scene, width: int) -> list[Line]:
    """What the chosen token looks at, the strongest first."""
    look, place = scene.look, data.axis.index_of(scene.state.token)
    name = f"{word(data.axis.labels[place])} {scene.state.token} looks at"
    lines = [[say(clip(name, width), look.strong)]]
    room = max(6, min(18, width - 18))
    bars = max(0, width - room - 6)
    for link in data.links[: scene.height - 1]:
        style = look.strong if link.key == place else look.plain
        lines.append([
            say(place_name(data.axis, link.key, room), style), say(" "),
            say(figure(link.weight)), say(" "),
            say(bar(link.weight, bars), look.hue(scene.kind)),
        ])  # fmt: skip
    return lines


def _figures(found: LayerMap, scene: Scene) -> list[Line]:
    """Weights as figures on the colours of the map."""
    axis, look = found.axis, scene.look
    levels = levels_of(found.weights[0], found.scale, SHADES)
    colours = look.colours(found.kind)
    chosen = int(axis.indices_of(np.array([scene.state.token]))[0])
    window = found.window()
    size = min(len(axis), (scene.width - LABEL - 1) // FIGURE)
    head: Line = [say(pad("looks at", LABEL), look.faint)]
    for column in range(size):
        style = look.strong if column == chosen else look.faint
        head += [say(pad(word(axis.labels[column]), FIGURE - 1, right=True), style), say(" ")]
    lines = [head]
    for row in range(min(len(axis), scene.height - 1)):
        style = look.strong if row == chosen else look.faint
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if row == chosen else " "
        line: Line = [say(place_name(axis, row, LABEL - 1) + mark, style)]
        for column in range(size):
            inside = window is None or window[row, 0] <= column < window[row, 1]
            text = figure(float(found.weights[0, row, column])) if inside else "\N{MIDDLE DOT}"
            cell = on(colours, int(levels[row, column]), look) if inside else look.rule
            line.append(say(f"{text:>5} ", cell))
        lines.append(line)
    return lines


def view(scene: Scene, stop: Stop) -> Any:
    """`attention --layer L --head H`, of what is shown."""
    return attention_of(scene, words=scene.state.words, tokens=shown_tokens(scene))


PANE = Pane("map", load, draw, view)
