"""The logit lens at the chosen token: what the model would answer after each layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mbexplore.analysis.lens import Lens, LensRow, lens
from mbexplore.explore.lines import Line, clip, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import Pane, Picture, Scene, on
from mbexplore.text import state_name, word

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

TOP = 8
"""Tokens asked for after each layer."""

NAME = 12
CELL = 14
RANK, ENTROPY = 15, 8


def load(scene: Scene, stop: Stop) -> Lens:
    """Every state of the residual stream through the head, at the chosen token."""
    place, top = scene.state.token, min(TOP, scene.run.explorer.model.config.vocab_size)
    return scene.run.pieces.get(
        ("lens", place), lambda: lens(scene.run.explorer, scene.recording, place, top_k=top)
    )


def draw(data: Lens, scene: Scene) -> Picture:
    """Layers downwards, the likeliest tokens to the right, the final answer's rank beside them."""
    look = scene.look
    count = max(1, min(TOP, (scene.width - NAME - RANK - ENTROPY) // CELL))
    answer = clip(word(data.target.token), RANK - 8)
    head: Line = [
        say(pad(" after", NAME), look.faint),
        say(pad("would answer", count * CELL), look.faint),
        say(pad(f"rank of {answer}", RANK, right=True), look.faint),
        say(pad("entropy", ENTROPY, right=True), look.faint),
    ]
    room = max(1, scene.height - 1)
    held = scene.state.layer + 1
    first = min(max(0, held - room // 2), max(0, len(data.rows) - room))
    lines = [head, *(_row(row, data, scene, count) for row in data.rows[first : first + room])]
    if data.top1_from is None:
        return Picture(lines, f"{answer} is not first in the end")
    return Picture(lines, f"{answer} is first from {state_name(data.top1_from)} on")


def _row(row: LensRow, data: Lens, scene: Scene, count: int) -> Line:
    look, kinds = scene.look, scene.bounds.kinds
    held = row.state == scene.state.layer + 1
    kind = kinds[row.state - 1] if row.state else None
    mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if held else " "
    style = look.faint if kind is None else look.hue(kind)
    line: Line = [
        say(pad(mark + state_name(row.state), NAME), style + look.strong if held else style)
    ]
    colours = look.colours(kind or "global")
    for prediction in row.predictions[:count]:
        level = round(prediction.probability**0.5 * (SHADES - 1))
        share = f"{prediction.probability:.0%}"
        token = pad(word(prediction.token), CELL - 6)
        is_answer = prediction.token_id == data.target.token_id
        cell = on(colours, level, look)
        line.append(say(f" {token}{share:>4}", cell + look.strong if is_answer else cell))
        line.append(say(" "))
    bold = look.strong if row.rank == 1 else look.plain
    return [
        *line,
        say(f"{row.rank:>{RANK},}", bold),
        say(f"{row.entropy:{ENTROPY}.2f}", look.faint),
    ]


def view(scene: Scene, stop: Stop) -> Any:
    """`lens --token`."""
    from mbexplore.session import Session
    from mbexplore.views.lens import LensView

    session = Session(scene.run.explorer, scene.run.encoding, recording=scene.recording)
    return LensView(token=scene.state.token).of(session)


PANE = Pane("lens", load, draw, view)
