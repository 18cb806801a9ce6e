"""What the chosen token looks at: the text shaded by it, and each head's strongest keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from rich.style import Style

from mbexplore.analysis.links import MASS, Arcs, arcs
from mbexplore.explore.above import laid_out
from mbexplore.explore.lines import Line, clip, fill, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import (
    Pane,
    Picture,
    Scene,
    attention_of,
    axis_key,
    axis_of,
    figure,
    levels_of,
    on,
    place_name,
)
from mbexplore.text import bar, word

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

COLUMN = 36
"""Cells of one head's list, at least."""


def load(scene: Scene, stop: Stop) -> Arcs:
    """The links of the chosen token in every head of the layer."""
    axis = axis_of(scene, whole=True)
    layer, place = scene.state.layer, axis.index_of(scene.state.token)
    key = ("arcs", layer, place, axis_key(axis))
    return scene.run.pieces.get(
        key, lambda: arcs(scene.recording, layer, None, place, axis, mass=MASS)
    )


def draw(data: Arcs, scene: Scene) -> Picture:
    """The held head first, then the others, as many as there is room for."""
    text = _shaded(data, scene, min(3, max(1, scene.height // 5)))
    held = scene.state.head
    order = [held, *(head for head in data.heads if head != held)]
    columns = max(1, min(len(order), scene.width // COLUMN))
    width = scene.width // columns
    lists = [_list(data, head, scene, width - 2) for head in order[:columns]]
    lines = [*text, []]
    for y in range(scene.height - len(lines)):
        line: Line = []
        for block in lists:
            line += [*fill(block[y] if y < len(block) else [], width - 2), say("  ")]
        lines.append(line)
    assert data.query is not None
    name = word(data.axis.labels[data.query])
    return Picture(lines, f"{clip(name, 12)} looks at the shaded, head {held}")


def _shaded(data: Arcs, scene: Scene, height: int) -> list[Line]:
    """The lines of the text around the chosen token, each token on its weight's colour."""
    assert data.rows is not None
    look, row = scene.look, data.rows[scene.state.head]
    levels = levels_of(row, max(float(row.max()), 1e-9), SHADES)
    colours = look.colours(data.kind)
    layout = laid_out(scene.run, scene.state, scene.width)
    held = max(
        (n for n, each in enumerate(layout) if each[0].start <= scene.state.token), default=0
    )
    top = min(max(0, held - height // 2), max(0, len(layout) - height))
    lines = []
    for cells in layout[top : top + height]:
        line: Line = [say(" ")]
        for cell in cells:
            place = int(data.axis.indices_of(np.array([cell.start]))[0])
            level = int(levels[place]) if place >= 0 else 0
            style = on(colours, level, look)
            if place == data.query:
                style += Style(bold=True, underline=True)
            line += [say(cell.lead), say(cell.text, style)]
        lines.append(line)
    return lines


def _list(data: Arcs, head: int, scene: Scene, width: int) -> list[Line]:
    """One head's strongest keys."""
    assert data.rows is not None and data.query is not None
    look, row, held = scene.look, data.rows[head], head == scene.state.head
    needed = sum(link.head == head for link in data.links)
    mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if held else " "
    keys = "key holds" if needed == 1 else "keys hold"
    lines: list[Line] = [[
        say(f"{mark}head {head}", look.strong if held else look.faint),
        say(f"  {needed} {keys} {data.mass:.0%}", look.faint),
    ]]  # fmt: skip
    name = max(8, min(16, width - 16))
    bars = max(0, width - name - 13)
    for place in np.argsort(-row, kind="stable")[: scene.height].tolist():
        if row[place] <= 0:
            break
        far = int(data.axis.starts[place]) - scene.state.token
        lines.append([
            say(" "), say(place_name(data.axis, place, name)),
            say(f" {far:+5d} " if far else "     0 ", look.faint), say(figure(float(row[place]))),
            say(" "), say(bar(float(row[place]), bars), look.hue(data.kind)),
        ])  # fmt: skip
    return lines


def view(scene: Scene, stop: Stop) -> Any:
    """`attention --picture arcs --token`, of the held head."""
    state = scene.state
    return attention_of(scene, picture="arcs", words=state.words, token=state.token)


PANE = Pane("links", load, draw, view)
