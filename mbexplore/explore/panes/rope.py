"""RoPE in the held layer: how fast each pair turns, and how much of its heads lies in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mbexplore.analysis.rope import PairNorms, RopeSpectrum, pair_norms, rope_spectra
from mbexplore.explore.lines import Line, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import Pane, Picture, Scene, levels_of, on

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

LABEL = 13
COLUMNS = " \N{LOWER ONE EIGHTH BLOCK}\N{LOWER ONE QUARTER BLOCK}\N{LOWER THREE EIGHTHS BLOCK}" \
    "\N{LOWER HALF BLOCK}\N{LOWER FIVE EIGHTHS BLOCK}\N{LOWER THREE QUARTERS BLOCK}" \
    "\N{LOWER SEVEN EIGHTHS BLOCK}\N{FULL BLOCK}"  # fmt: skip


@dataclass(frozen=True, eq=False)
class RopeData:
    """The spectrum of the layer's theta, and the norms of its heads in each pair."""

    spectrum: RopeSpectrum
    norms: PairNorms


def load(scene: Scene, stop: Stop) -> RopeData:
    """The layer's spectrum and norms."""
    layer, pieces = scene.state.layer, scene.run.pieces
    spectra = pieces.get("spectra", lambda: rope_spectra(scene.recording.config))
    stop.check()
    norms = pieces.get(("norms", layer), lambda: pair_norms(scene.recording, layer))
    return RopeData(next(each for each in spectra if layer in each.layers), norms)


def draw(data: RopeData, scene: Scene) -> Picture:
    """Wavelengths as columns on a logarithmic scale, the norms of the heads below them."""
    spectrum, look = data.spectrum, scene.look
    pairs = len(spectrum.wavelengths)
    wide = max(1, (scene.width - LABEL - 1) // pairs)
    heads = min(len(data.norms.q), max(1, scene.height - 5))
    tall = max(2, min(24, scene.height - heads - 2))
    lines = _chart(spectrum, wide, tall, scene)
    lines.append([say(pad("|q| x |k|", LABEL), look.faint), *_ruler(spectrum, wide, scene)])
    first = min(max(0, scene.state.head - heads // 2), len(data.norms.q) - heads)
    products = data.norms.q * data.norms.k
    for head in range(first, first + heads):
        lines.append(_strip(products[head], head, data, wide, scene))
    slow, never = len(spectrum.slower_than_width), len(spectrum.slower_than_length)
    remark = f"{slow} of {pairs} pairs never turn in {spectrum.width:,} tokens"
    if scene.width > 110:
        remark += f", {never} never in {spectrum.length:,}"
    return Picture(lines, remark)


def _chart(spectrum: RopeSpectrum, wide: int, tall: int, scene: Scene) -> list[Line]:
    """Columns of eighths; a pair that never turns in the window is faint."""
    look, kind = scene.look, scene.kind
    logs = np.log10(spectrum.wavelengths)
    top = float(np.ceil(logs.max()))
    eighths = np.rint(logs / top * tall * 8).astype(int)
    slow = set(spectrum.slower_than_width)
    gap = 1 if wide > 1 else 0
    marks = {round((tall - 1) * (1 - np.log10(n) / top)): n for n in _decades(top)}
    lines = []
    for y in range(tall):
        name = f"{marks[y]:,}" if y in marks else ""
        name = "tokens/turn" if y == 0 and not name else name
        line: Line = [say(pad(name, LABEL - 1, right=True) + " ", look.faint)]
        for pair, height in enumerate(eighths.tolist()):
            block = COLUMNS[max(0, min(8, height - 8 * (tall - 1 - y)))]
            style = look.faint if pair in slow else look.hue(kind)
            line.append(say(block * (wide - gap) + " " * gap, style))
        lines.append(line)
    return lines


def _decades(top: float) -> list[int]:
    """Powers of ten up the side, every other where there are many."""
    powers = range(0, int(top) + 1, 2 if top > 4 else 1)
    return [10**power for power in powers]


def _ruler(spectrum: RopeSpectrum, wide: int, scene: Scene) -> Line:
    """Pair numbers under their columns."""
    cells = [" "] * (len(spectrum.wavelengths) * wide + 3)
    step = max(1, -(-8 // wide))
    for pair in range(0, len(spectrum.wavelengths), step):
        for i, digit in enumerate(str(pair)):
            cells[pair * wide + i] = digit
    return [say("".join(cells).rstrip(), scene.look.faint)]


def _strip(product: object, head: int, data: RopeData, wide: int, scene: Scene) -> Line:
    """One head's norms, a cell a pair."""
    values = np.asarray(product, dtype=np.float32)
    levels = levels_of(values, max(float(values.max()), 1e-9), SHADES)
    look, held = scene.look, head == scene.state.head
    mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if held else " "
    line: Line = [say(pad(f"{mark}head {head}", LABEL), look.strong if held else look.faint)]
    shades = " \N{LIGHT SHADE}\N{MEDIUM SHADE}\N{DARK SHADE}\N{FULL BLOCK}"
    for level in levels.tolist():
        if look.colour:
            line.append(say(" " * wide, on(look.colours(data.norms.kind), level, look)))
        else:
            line.append(say(shades[round(level / (SHADES - 1) * 4)] * wide))
    return line


def view(scene: Scene, stop: Stop) -> Any:
    """`rope-score` of the layer and head, at the chosen token."""
    from mbexplore.session import Session
    from mbexplore.views.rope_score import RopeScoreView

    state = scene.state
    session = Session(scene.run.explorer, scene.run.encoding, recording=scene.recording)
    return RopeScoreView(layer=state.layer, head=state.head, token=state.token).of(session)


PANE = Pane("rope", load, draw, view)
