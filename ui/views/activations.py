"""Activations: the residual stream by its lengths, and the neurons that write to it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mbexplore.analysis import neurons, similarity
from mbexplore.analysis.neurons import Change, LayerNeurons, Neuron, layer_neurons, token_neurons
from mbexplore.analysis.residual import ResidualNorms, residual_norms
from mbexplore.views.activations import view_layer_neurons, view_stream, view_token_neurons

from ..parts import cell, heat, line, lines, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import depth_heat, held_or_first, signed, state_names, token_names, window

What = Literal["residual stream", "neurons of the layer", "neurons at the token"]
MOST_TOKENS = 300
"""Columns of a map that are drawn large."""


def show(
    desk: Desk,
    layer: int = 0,
    token: int = -1,
    what: What = "residual stream",
    count: int = neurons.DEFAULT_NEURONS,
    first: int = -1,
) -> Shown:
    """The residual stream, the neurons of a layer, or those that write most at a token.

    Args:
        desk: the text and the model.
        layer: whose neurons are shown.
        token: the one whose lengths or neurons are shown; the first mask by default.
        what: the stream, the layer's neurons, or the token's.
        count: neurons named.
        first: of a long text's tokens, the first in a map; by default the held one is inside.
    """
    place = held_or_first(desk, token)
    seen = window(first, place, len(desk.encoding), MOST_TOKENS)
    if what == "residual stream":
        return _stream(desk, place, seen)
    if what == "neurons of the layer":
        return _layer(desk, layer, place, count, seen)
    return _token(desk, place, count)


def _stream(desk: Desk, place: int, seen: slice) -> Shown:
    norms = desk.once("residual norms", lambda: residual_norms(desk.recording))
    alike = desk.once(
        "similarity", lambda: similarity.similarity(desk.recording, desk.progress.move)
    )
    config = desk.explorer.model.config
    parts = [
        _curves(desk, norms, place),
        depth_heat(
            config, norms.residual, columns=token_names(norms.tokens),
            title="Length of the stream at every token", hue="global", log=True,
            hold=("layer", "token"), mark=(None, place), window=seen,
        ),
        side_by_side(
            _alike(desk, alike.cosine, "Cosine of every two states, mean of all tokens"),
            _alike(desk, alike.cka, "Linear CKA of every two states"),
        ),
        note(similarity.LIMITS),
    ]  # fmt: skip
    return Shown(parts, view_stream(desk.explorer, desk.encoding, norms, alike))


def _alike(desk: Desk, values: NDArray[np.float64], title: str) -> Part:
    """Every state of the stream against every other."""
    config = desk.explorer.model.config
    names = state_names(config)
    return depth_heat(
        config, values, columns=names, title=title, hue="global", hold=("layer", "layer"),
        high=1.0, column_hold=[None, *range(config.num_hidden_layers)],
    )  # fmt: skip


def _curves(desk: Desk, norms: ResidualNorms, place: int) -> Part:
    """Lengths by depth: at the held token, and what is added to it there."""
    names = state_names(desk.explorer.model.config)
    token = label(norms.tokens[place])
    stream = lines(
        [
            line(f"at {token}", norms.residual[:, place].tolist(), dots=True),
            line("mean of all tokens", norms.residual.mean(axis=1).tolist(), dashed=True),
        ],
        title=f"Length of the stream at {token}", y="length", ticks=names,
    )  # fmt: skip
    added = lines(
        [
            line("attention", norms.attention[:, place].tolist(), dots=True),
            line("MLP", norms.mlp[:, place].tolist(), dashed=True, dots=True),
        ],
        title="Length of what each layer adds there", y="length", ticks=names[1:],
    )  # fmt: skip
    return side_by_side(stream, added)


def _layer(desk: Desk, layer: int, place: int, count: int, seen: slice) -> Shown:
    desk.explorer.check_layer_and_head(layer)
    found = desk.once(
        ("layer neurons", layer, count),
        lambda: layer_neurons(desk.explorer, desk.recording, layer, count),
    )
    parts = [_written(found, place, seen), _neuron_table(desk, found.top), note(neurons.LIMITS)]
    line = (
        f"Layer {layer} is {found.kind}; these {len(found.top)} of its {len(found.firing_rate):,} "
        "neurons write most over the text."
    )
    view = view_layer_neurons(desk.explorer, desk.encoding, found, count)
    return Shown(parts, view, line)


def _written(found: LayerNeurons, place: int, seen: slice) -> Part:
    return heat(
        found.contributions, rows=[f"{one.layer}.{one.neuron}" for one in found.top],
        columns=token_names(found.tokens), hue="signed",
        title=f"What the strongest neurons of layer {found.layer} write at every token",
        hold=(None, "token"), mark=(None, place), window=seen,
    )  # fmt: skip


def _token(desk: Desk, place: int, count: int) -> Shown:
    found = desk.once(
        ("token neurons", place, count),
        lambda: token_neurons(desk.explorer, desk.recording, place, None, count),
    )
    line = f"The neurons that write most at {label(found.tokens[place])}, token {place}."
    view = view_token_neurons(desk.explorer, desk.encoding, found, count)
    return Shown([_neuron_table(desk, found.neurons), note(neurons.LIMITS)], view, line)


def _neuron_table(desk: Desk, found: tuple[Neuron, ...]) -> Part:
    """A neuron a row, with the tokens it speaks for and against."""
    most = max((one.norm for one in found), default=1.0) or 1.0
    tokens = desk.encoding.tokens
    rows: list[list[Part | str]] = [
        [
            cell(f"{one.layer}.{one.neuron}", layer=one.layer),
            cell(label(tokens[one.position]), token=one.position),
            signed(one.activation),
            cell(f"{one.norm:.2f}", bar=one.norm / most, hue="global"),
            _changes(one.promoted),
            _changes(one.suppressed),
        ]
        for one in found
    ]
    return table(
        ["neuron", "strongest at", "activation", "writes", "promotes", "suppresses"], rows,
        title="The neurons that write most", left=("strongest at", "promotes", "suppresses"),
    )  # fmt: skip


def _changes(changes: tuple[Change, ...]) -> str:
    return " \N{MIDDLE DOT} ".join(label(one.token) for one in changes)


ACTIVATIONS = PageView(
    name="activations",
    title="Activations",
    show=show,
    about="The residual stream by its lengths, and the neurons that write to it.",
    labels={"what": "show", "count": "neurons named"},
    only={
        "layer": {"what": ("neurons of the layer",)},
        "count": {"what": ("neurons of the layer", "neurons at the token")},
    },
)
