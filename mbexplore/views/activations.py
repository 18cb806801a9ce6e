"""Activations in every form: the residual stream, a layer's neurons, a token's neurons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mbexplore.analysis import neurons, similarity
from mbexplore.analysis.neurons import LayerNeurons, Neuron, TokenNeurons
from mbexplore.analysis.residual import ResidualNorms
from mbexplore.analysis.similarity import Similarity
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_LENGTHS = ("residual", "attention", "mlp")
_ALIKE = ("steps", "cosine", "cka")
_NEURON = ("layer", "neuron", "position", "token", "activation", "norm", "promoted", "suppressed")


def view_stream(
    explorer: Explorer, encoding: Encoding, norms: ResidualNorms, alike: Similarity
) -> View:
    """The residual stream: its length, what is added to it, and how alike its states are."""
    kinds, info = explorer.model.config.layer_kinds, explorer.info

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(info),
            "tokens": list(norms.tokens),
            "kinds": list(kinds),
            **{name: getattr(norms, name).tolist() for name in _LENGTHS},
            **{name: getattr(alike, name).tolist() for name in _ALIKE},
            "cka_tokens": alike.cka_tokens,
            "not_shown": similarity.LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.activations import plot_stream

        return plot_stream(norms, alike, kinds, info.name)

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        lengths = {name: getattr(norms, name) for name in _LENGTHS}
        compared = {name: getattr(alike, name) for name in _ALIKE}
        return {"tokens": np.array(norms.tokens), **lengths, **compared}

    def rows() -> Iterator[list[object]]:
        yield ["state", "position", "token", "residual", "attention", "mlp", "cosine_to_previous"]
        for state, lengths in enumerate(norms.residual.tolist()):
            for i, length in enumerate(lengths):
                added = (norms.attention, norms.mlp, alike.steps)
                new = [float(each[state - 1, i]) if state else "" for each in added]
                yield [state, i, norms.tokens[i], length, *new]

    command = build_command("activations", info, encoding)
    return View("activations", command, payload, draw, arrays, rows)


def view_layer_neurons(
    explorer: Explorer, encoding: Encoding, found: LayerNeurons, count: int
) -> View:
    """Every neuron of a layer, and the `count` that write most."""

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "tokens": list(found.tokens),
            "layer": found.layer,
            "kind": found.kind,
            "threshold": found.threshold,
            **{name: values.tolist() for name, values in _by_neuron(found).items()},
            "top": [dataclasses.asdict(one) for one in found.top],
            "contributions": found.contributions.tolist(),
            "not_shown": neurons.LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.activations import plot_layer_neurons

        return plot_layer_neurons(found, explorer.info.name)

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        top = np.array([one.neuron for one in found.top])
        named = {"tokens": np.array(found.tokens), "top": top, "contributions": found.contributions}
        return {**named, **_by_neuron(found)}

    def rows() -> Iterator[list[object]]:
        table = _by_neuron(found)
        yield ["neuron", *table]
        for neuron, row in enumerate(zip(*(each.tolist() for each in table.values()), strict=True)):
            yield [neuron, *row]

    name = f"activations-layer{found.layer}"
    command = build_command("activations", explorer.info, encoding, layer=found.layer, top=count)
    return View(name, command, payload, draw, arrays, rows)


def view_token_neurons(
    explorer: Explorer, encoding: Encoding, found: TokenNeurons, count: int
) -> View:
    """The `count` neurons that write most at a token."""

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            **dataclasses.asdict(found),
            "not_shown": neurons.LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.activations import plot_token_neurons

        kinds = explorer.model.config.layer_kinds
        return plot_token_neurons(found, kinds, explorer.info.name)

    def rows() -> Iterator[list[object]]:
        yield list(_NEURON)
        for one in found.neurons:
            yield _neuron_row(one, found.tokens)

    name = f"activations-token{found.position}"
    command = build_command(
        "activations", explorer.info, encoding, at=found.position, layer=found.layer, top=count
    )
    return View(name, command, payload, draw, rows=rows)


def _by_neuron(found: LayerNeurons) -> dict[str, NDArray[Any]]:
    """What is known of every neuron of a layer, (neurons,) each."""
    names = ("firing_rate", "norm_when_firing", "mean_norm")
    return {name: getattr(found, name) for name in names}


def _neuron_row(one: Neuron, tokens: tuple[str, ...]) -> list[object]:
    own = [one.layer, one.neuron, one.position, tokens[one.position], one.activation, one.norm]
    sides = (one.promoted, one.suppressed)
    return [*own, *(" ".join(each.token.strip() for each in side) for side in sides)]
