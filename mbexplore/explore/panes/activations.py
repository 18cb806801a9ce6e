"""The neurons of the held layer that write most, token by token, and what they speak for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.segment import Segment

from mbexplore.analysis.neurons import LayerNeurons, Neuron, layer_neurons
from mbexplore.analysis.residual import ResidualNorms, residual_norms
from mbexplore.explore.lines import Line, clip, pad, say
from mbexplore.explore.look import SHADES
from mbexplore.explore.panes.pane import Pane, Picture, Scene, levels_of, on
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.explore.threads import Stop

SHADE = " \N{LIGHT SHADE}\N{MEDIUM SHADE}\N{DARK SHADE}\N{FULL BLOCK}"
NAME, PEAK = 8, 16


@dataclass(frozen=True, eq=False)
class ActivationData:
    """The layer's neurons, and the lengths of the residual stream."""

    neurons: LayerNeurons
    norms: ResidualNorms


def load(scene: Scene, stop: Stop) -> ActivationData:
    """Neurons of the layer; lengths of all layers, once a text."""
    layer, pieces = scene.state.layer, scene.run.pieces
    norms = pieces.get("residual", lambda: residual_norms(scene.recording))
    stop.check()
    found = pieces.get(
        ("neurons", layer), lambda: layer_neurons(scene.run.explorer, scene.recording, layer)
    )
    return ActivationData(found, norms)


def draw(data: ActivationData, scene: Scene) -> Picture:
    """A line a neuron: where it writes over the text, its strongest token, what it promotes."""
    look, state, found = scene.look, scene.state, data.neurons
    size = found.contributions.shape[1]
    columns = max(8, min(size * max(1, 24 // size), scene.width - NAME - PEAK - 24, 72))
    promotes = max(0, scene.width - NAME - columns - PEAK - 3)
    lines: list[Line] = [_stream(data.norms, scene)]
    lines.append([
        say(pad(" neuron", NAME), look.faint),
        say(pad("writes where", columns + 1), look.faint),
        say(pad("most at", PEAK + 1), look.faint),
        say(clip("there it promotes", promotes), look.faint),
    ])  # fmt: skip
    scale = max(float(np.abs(found.contributions).max()), 1e-9)
    for n, neuron in enumerate(found.top[: max(1, scene.height - 2)]):
        line: Line = [say(pad(f"{neuron.neuron:>6}", NAME), look.hue(found.kind))]
        line += _strip(np.abs(found.contributions[n]), scale, columns, scene)
        line.append(say(" "))
        place = f"{pad(word(found.tokens[neuron.position]), PEAK - 7)} {neuron.position}"
        line.append(say(pad(place, PEAK) + " "))
        line.append(say(clip(_speaks_for(neuron), promotes), look.plain))
        lines.append(line)
    count = len(found.firing_rate)
    return Picture(lines, f"{count:,} neurons, the {len(found.top)} that write most"
                   + (f"; token {state.token} marked" if size <= columns else ""))  # fmt: skip


def _stream(norms: ResidualNorms, scene: Scene) -> Line:
    """How long the stream is at the chosen token before and after the layer, and what is added."""
    look, layer, token = scene.look, scene.state.layer, scene.state.token
    parts = [
        ("stream", f"{norms.residual[layer, token]:.1f}"),
        ("+ attention", f"{norms.attention[layer, token]:.1f}"),
        ("+ MLP", f"{norms.mlp[layer, token]:.1f}"),
        ("after", f"{norms.residual[layer + 1, token]:.1f}"),
    ]
    line: Line = [say(" lengths at the token ", look.faint)]
    for name, value in parts:
        line += [say(f"{name} ", look.faint), say(f"{value}  ")]
    return Segment.adjust_line_length(line, scene.width, pad=False)


def _strip(written: npt.NDArray[np.float32], scale: float, columns: int, scene: Scene) -> Line:
    """What one neuron writes over the text, pooled to the columns there are."""
    look, size = scene.look, len(written)
    starts = [i * size // columns for i in range(columns)] if size > columns else list(range(size))
    pooled = np.maximum.reduceat(written, starts)
    times = max(1, columns // len(pooled))
    levels = levels_of(pooled, scale, SHADES)
    line: Line = []
    for i, level in enumerate(levels.tolist()):
        held = size <= columns and i == scene.state.token
        mark = "\N{MIDDLE DOT}" if held else " "
        if look.colour:
            colours = look.colours(scene.kind)
            line.append(say(pad(mark, times), on(colours, level, look)))
        else:
            shade = SHADE[round(level / (SHADES - 1) * 4)]
            line.append(say(pad(mark if shade == " " else shade * times, times)))
    return [*line, say(" " * (columns - times * len(pooled)))]


def _speaks_for(neuron: Neuron) -> str:
    """Tokens whose logits it raises, and lowers."""
    up = " ".join(word(each.token) for each in neuron.promoted)
    down = " ".join(word(each.token) for each in neuron.suppressed)
    return f"{up}  not {down}" if down else up


def view(scene: Scene, stop: Stop) -> Any:
    """`neurons --layer L`."""
    from mbexplore.session import Session
    from mbexplore.views.neurons import NeuronsView

    session = Session(scene.run.explorer, scene.run.encoding, recording=scene.recording)
    return NeuronsView(layer=scene.state.layer, token=scene.state.token).of(session)


PANE = Pane("activations", load, draw, view)
