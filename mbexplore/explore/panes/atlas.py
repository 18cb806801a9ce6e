"""The atlas of heads: what every head of the model does over this text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mbexplore.analysis.heads import HeadRow, head_atlas
from mbexplore.explore.lines import Line, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import Pane, Picture, Scene, on
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

NAME = 11
SHORT = {
    "previous": "prev", "separator": "sep", "punctuation": "punct",
    "unclassified": "\N{MIDDLE DOT}",
}  # fmt: skip

Atlas = tuple[HeadRow, ...]


def load(scene: Scene, stop: Stop) -> Atlas:
    """One row a head, over this text."""
    return scene.run.pieces.get(
        "atlas", lambda: head_atlas([scene.recording], lambda done, of: stop.check())
    )


def draw(data: Atlas, scene: Scene) -> Picture:
    """Layers downwards, heads across; below, the held head in words."""
    look, state, heads = scene.look, scene.state, scene.bounds.heads
    width = max(5, min(16, (scene.width - NAME) // heads))
    shown = min(heads, (scene.width - NAME) // width)
    left = min(max(0, state.head - shown // 2), heads - shown)
    room = max(1, scene.height - 3)
    layers = len(scene.bounds.kinds)
    first = min(max(0, state.layer - room // 2), max(0, layers - room))
    title: Line = [say(pad(" layer", NAME), look.faint)]
    title += [say(pad(f" head {h}" if width > 7 else f" {h}", width), look.faint)
              for h in range(left, left + shown)]  # fmt: skip
    lines = [title]
    for layer in range(first, min(first + room, layers)):
        kind, held = scene.bounds.kinds[layer], layer == state.layer
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if held else " "
        style = look.hue(kind) + look.strong if held else look.hue(kind)
        line: Line = [say(pad(f"{mark}{layer:>2} {kind}", NAME), style)]
        for head in range(left, left + shown):
            row = data[layer * heads + head]
            line += _cell(row, width, held and head == state.head, scene)
        lines.append(line)
    own = data[state.layer * heads + state.head]
    return Picture([*lines, *_about(own, scene)], f"head {own.layer}.{own.head}: {own.label}")


def _cell(row: HeadRow, width: int, held: bool, scene: Scene) -> Line:
    look = scene.look
    name = SHORT.get(row.label, row.label)
    level = 0 if row.label == "unclassified" else round(row.score * (SHADES - 1) * 0.8)
    text = (
        pad(f" {name}", width - 6) + f"{row.score:4.2f} " if width >= 11 else pad(name, width - 1)
    )
    style = look.chosen if held else on(look.colours(row.kind), level, look)
    return [say(text, style), say(" ")]


def _about(row: HeadRow, scene: Scene) -> list[Line]:
    """The held head in two lines: where its weight goes, how widely, and its sink."""
    look, masses = scene.look, sorted(row.masses.items(), key=lambda item: -item[1])
    line: Line = [say(f" {row.layer}.{row.head} ", look.strong)]
    line += [say(f"{name} {mass:.0%}  ", look.plain if mass >= 0.1 else look.faint)
             for name, mass in masses if mass >= 0.005]  # fmt: skip
    sink = row.sink
    second = (
        f" entropy {row.entropy:.2f}, mean distance {row.distance:.1f}; most weight on "
        f"{word(sink.token)} at {sink.position} ({sink.weight:.2f})"
    )
    return [line, [say(second, look.faint)]]


def view(scene: Scene, stop: Stop) -> Any:
    """`heads`, over this text."""
    from mbexplore.session import Session
    from mbexplore.views.heads import HeadsView

    session = Session(scene.run.explorer, scene.run.encoding, recording=scene.recording)
    return HeadsView().of(session)


PANE = Pane("atlas", load, draw, view)
