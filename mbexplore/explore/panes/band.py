"""A local layer's map straightened: every query by the offset of its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.band import BandMap, band_map
from mbexplore.errors import RangeError
from mbexplore.explore.lines import Line, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import (
    Pane,
    Picture,
    Scene,
    attention_of,
    axis_key,
    heat,
    levels_of,
    place_name,
    shown_tokens,
    window_of,
)

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

LABEL = 13
PROFILE = " \N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}" \
    "\N{LOWER HALF BLOCK}\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}" \
    "\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"  # fmt: skip


def band_axis(scene: Scene) -> Axis:
    """The queries shown: tokens, since an offset counts in them."""
    bounds, hide = window_of(scene.state, scene.bounds), not scene.state.specials
    return scene.run.pieces.get(
        ("axis", bounds, False, hide),
        lambda: build_axis(scene.run.encoding, bounds, hide_special=hide),
    )


def load(scene: Scene, stop: Stop) -> BandMap:
    """The band of the held head.

    Raises:
        RangeError: the layer is global.
    """
    state = scene.state
    if scene.kind == "global":
        raise RangeError(
            f"Layer {state.layer} is global and sees every token, so it has no band; l goes to the "
            "nearest local layer."
        )
    axis, pixels = band_axis(scene), max(2, 2 * (scene.height - 2))
    key = ("band", state.layer, state.head, pixels, axis_key(axis))
    return scene.run.pieces.get(
        key, lambda: band_map(scene.recording, state.layer, state.head, pixels, axis)
    )


def draw(data: BandMap, scene: Scene) -> Picture:
    """Rows are queries, columns offsets; below, the mean over the queries shown."""
    look, room = scene.look, max(1, scene.width - LABEL - 1)
    weights = data.weights[0]
    step = -(-weights.shape[1] // room)
    if step > 1:
        weights = np.maximum.reduceat(weights, range(0, weights.shape[1], step), axis=1)
    wide = max(1, room // weights.shape[1])
    tall = max(1, min(2, 2 * (scene.height - 2) // len(weights)))
    levels = levels_of(weights, max(float(weights.max()), 1e-9), SHADES)
    picture = heat(levels.repeat(tall, 0).repeat(wide, 1), look.colours("local"), look)
    places = data.axis.indices_of(np.array([scene.state.token]))
    lines = [_ruler(data, step, wide, scene)]
    for y, line in enumerate(picture):
        row, last = 2 * y // tall, (2 * y + 1) // tall
        holds = row <= int(places[0]) // data.pool <= last and places[0] >= 0
        place = int(places[0]) if holds else min(row * data.pool, len(data.axis) - 1)
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if holds else " "
        style = look.strong if holds else look.faint
        lines.append([say(place_name(data.axis, place, LABEL - 1) + mark, style), *line])
    lines.append([say(pad("mean", LABEL), look.faint), *_profile(data, step, wide, scene)])
    pooled = "" if data.pool == 1 else f", {data.pool} tokens to a pixel"
    return Picture(lines, f"{float(data.edge[0]):.1%} at the window's two edges{pooled}")


def _ruler(data: BandMap, step: int, wide: int, scene: Scene) -> Line:
    """Offsets over their columns: both ends, both middles and the query itself."""
    count = -(-len(data.offsets) // step)
    cells, reach = [" "] * (count * wide), int(data.offsets[-1])
    for offset in (-reach, -reach // 2, 0, reach // 2, reach):
        text = f"{offset:+d}" if offset else "0"
        at = (offset + reach) // step * wide + wide // 2 - len(text) // 2
        at = max(0, min(at, len(cells) - len(text)))
        cells[at : at + len(text)] = text
    return [say(pad("looks at", LABEL), scene.look.faint), say("".join(cells), scene.look.faint)]


def _profile(data: BandMap, step: int, wide: int, scene: Scene) -> Line:
    means = np.maximum.reduceat(data.profile[0], range(0, len(data.offsets), step))
    heights = np.rint(means / max(float(means.max()), 1e-9) * (len(PROFILE) - 1)).astype(int)
    text = "".join(PROFILE[height] * wide for height in heights.tolist())
    return [say(text, scene.look.hue("local"))]


def view(scene: Scene, stop: Stop) -> Any:
    """`attention --picture band`, of what is shown."""
    return attention_of(scene, picture="band", tokens=shown_tokens(scene))


PANE = Pane("band", load, draw, view)
