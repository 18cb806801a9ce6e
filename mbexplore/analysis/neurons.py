"""GeGLU neurons: how often and how strongly each fires, and which tokens it promotes.

A neuron is one of the `intermediate` products act(inner) * gate; its column of Wo is the direction
in which it writes to the residual stream (Geva et al. 2021, "Transformer Feed-Forward Layers Are
Key-Value Memories", arXiv:2012.14913). The gate has either sign, so a neuron may write along its
direction or against it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mbexplore import limits
from mbexplore.analysis.target import upcast
from mbexplore.errors import RangeError
from mbexplore.explorer import Explorer, check_finite
from mbexplore.hooks import hooked
from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.tap import Action
from mbexplore.recorder import of_layers
from mbexplore.recording import Recording, check_index, to_float64

DEFAULT_NEURONS = 12
Rows = dict[int, Tensor]
"""By layer the activations of all its neurons at one token, (neurons,)."""

NAMED = 4
"""Tokens named on each side of a neuron."""

LIMITS = limits.NEURONS


@dataclass(frozen=True)
class Change:
    """What a neuron does to one token's logit, against the mean over the vocabulary."""

    token: str
    token_id: int
    change: float


@dataclass(frozen=True)
class Neuron:
    """One neuron at one token.

    Attributes:
        layer: from 0.
        neuron: from 0.
        position: which token.
        activation: act(inner) * gate.
        norm: of what it adds to the residual stream, |activation| times the norm of its column
            of Wo.
        promoted: tokens whose logits it raises most, falling; empty without an MLM head.
        suppressed: tokens whose logits it lowers most, rising.
    """

    layer: int
    neuron: int
    position: int
    activation: float
    norm: float
    promoted: tuple[Change, ...]
    suppressed: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class LayerNeurons:
    """The neurons of one layer over a text.

    Attributes:
        tokens: of the text.
        layer: from 0.
        kind: "global" or "local".
        threshold: the root mean square of the layer's activations over this text; a neuron fires
            where its activation is larger than that, of either sign.
        firing_rate: (neurons,) share of the tokens at which it fires.
        norm_when_firing: (neurons,) the mean norm of its contribution where it fires; 0 if it
            never does.
        mean_norm: (neurons,) mean norm of its contribution over all tokens.
        top: the neurons with the largest `mean_norm`, falling, each at the token where it is
            strongest.
        contributions: (top, seq) signed norm of what each of these adds to the residual stream.
    """

    tokens: tuple[str, ...]
    layer: int
    kind: LayerKind
    threshold: float
    firing_rate: npt.NDArray[np.float32]
    norm_when_firing: npt.NDArray[np.float32]
    mean_norm: npt.NDArray[np.float32]
    top: tuple[Neuron, ...]
    contributions: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TokenNeurons:
    """The neurons with the largest contributions at one token.

    Attributes:
        tokens: of the text.
        position: which token.
        layer: the one asked about, None for all.
        neurons: by falling norm.
    """

    tokens: tuple[str, ...]
    position: int
    layer: int | None
    neurons: tuple[Neuron, ...]


def taps(config: ModernBertConfig, layer: int | None = None) -> tuple[str, ...]:
    """What a recording must keep for the neurons of a layer, or of all.

    Args:
        config: of the model.
        layer: from 0; None for all.
    """
    return (*(("neurons",) if layer is None else of_layers("neurons", layer)), last_state(config))


def last_state(config: ModernBertConfig) -> str:
    """The tap that a recording must keep besides `token_activations`."""
    return f"layers.{config.num_hidden_layers - 1}.resid_post"


@contextmanager
def token_activations(model: PretrainedModel, position: int, layer: int | None) -> Iterator[Rows]:
    """Keeps of the pass in the `with` block what `top_neurons` reads, and of one token alone.

    All neurons of all tokens would take 0.8 GB for base at 8,192 tokens, these take 0.1 MB.

    Args:
        model: that runs in the block, all of its layers for all tokens.
        position: which token.
        layer: from 0; None for all.

    Yields:
        The (neurons,) of each layer, filled while the model runs.
    """
    rows: Rows = {}

    def keeper(number: int) -> Action:
        def keep_row(value: Tensor) -> None:
            rows[number] = value[0, position].clone()

        return keep_row

    layers = range(model.config.num_hidden_layers) if layer is None else [layer]
    with hooked(model, {f"layers.{each}.mlp_post": keeper(each) for each in layers}):
        yield rows


def layer_neurons(
    explorer: Explorer, recording: Recording, layer: int, count: int = DEFAULT_NEURONS
) -> LayerNeurons:
    """How often and how strongly each neuron of a layer fires over a text.

    Args:
        explorer: whose model made the recording.
        recording: that kept what `taps` says.
        layer: from 0.
        count: how many neurons are named.

    Raises:
        RangeError: the layer or the count is outside.
    """
    activations = upcast(recording.neurons(layer))  # (seq, neurons)
    count = check_count(count, activations.shape[1])
    columns = _direction_norms(explorer, layer)
    lengths = activations.abs() * columns
    threshold = to_float64(activations.square().mean(dim=0)).mean().sqrt().to(activations)
    fired = activations.abs() > threshold
    often = fired.sum(dim=0)
    mean = lengths.mean(dim=0)
    top = mean.topk(count).indices.tolist()
    peaks = lengths[:, top].argmax(dim=0).tolist()
    places = [(layer, neuron, peak) for neuron, peak in zip(top, peaks, strict=True)]
    return LayerNeurons(
        recording.encoding.tokens,
        layer,
        recording.config.layer_kinds[layer],
        float(threshold),
        _numbers(often / len(recording)),
        _numbers((lengths * fired).sum(dim=0) / often.clamp(min=1)),
        _numbers(mean),
        describe_neurons(explorer, recording, places),
        _numbers((activations * columns)[:, top].T),
    )


def token_neurons(
    explorer: Explorer,
    recording: Recording,
    position: int,
    layer: int | None = None,
    count: int = DEFAULT_NEURONS,
) -> TokenNeurons:
    """The neurons with the largest contributions at one token, of one layer or of all.

    Args:
        explorer: whose model made the recording.
        recording: that kept what `taps` says.
        position: which token.
        layer: from 0; None for all.
        count: how many.

    Raises:
        RangeError: the position, the layer or the count is outside.
    """
    check_index("token", position, len(recording))
    layers = range(recording.config.num_hidden_layers) if layer is None else [layer]
    rows = {each: recording.neurons(each)[position] for each in layers}
    return top_neurons(explorer, recording, rows, position, layer, count)


def top_neurons(
    explorer: Explorer,
    recording: Recording,
    rows: Rows,
    position: int,
    layer: int | None = None,
    count: int = DEFAULT_NEURONS,
) -> TokenNeurons:
    """The same as `token_neurons`, of what `token_activations` kept.

    `rows` are the activations of each layer at the token.

    Raises:
        RangeError: the count is less than 1.
    """
    layers = list(rows)
    lengths = torch.stack(
        [upcast(row).abs() * _direction_norms(explorer, each) for each, row in rows.items()]
    )  # (layers, neurons)
    best = lengths.flatten().topk(check_count(count, lengths.numel())).indices.tolist()
    pairs = [divmod(place, lengths.shape[1]) for place in best]
    found = tuple(
        _describe(explorer, recording, (layers[row], neuron, position), rows[layers[row]][neuron])
        for row, neuron in pairs
    )
    return TokenNeurons(recording.encoding.tokens, position, layer, found)


def describe_neurons(
    explorer: Explorer, recording: Recording, places: Sequence[tuple[int, int, int]]
) -> tuple[Neuron, ...]:
    """What each neuron adds at a token, and the tokens it promotes there.

    Args:
        explorer: whose model made the recording.
        recording: that kept what `taps` says.
        places: (layer, neuron, position) each.
    """
    return tuple(
        _describe(explorer, recording, place, recording.neurons(place[0])[place[2], place[1]])
        for place in places
    )


def _describe(
    explorer: Explorer, recording: Recording, place: tuple[int, int, int], activation: Tensor
) -> Neuron:
    layer, neuron, position = place
    part = upcast(activation) * upcast(neuron_directions(explorer, layer)[:, neuron])  # (hidden,)
    changes = logit_changes(explorer, recording, position, part)
    return Neuron(
        layer,
        neuron,
        position,
        float(activation),
        float(part.norm()),
        largest_changes(explorer, changes),
        largest_changes(explorer, changes, -1),
    )


def logit_changes(
    explorer: Explorer, recording: Recording, position: int, part: Tensor
) -> Tensor | None:
    """What a part of a token's last state does to its logits: with it, less without it.

    Through the final norm and the whole of the head, so for a neuron of the last layer this is
    exactly what leaving it out would change.

    Args:
        explorer: whose model made the recording.
        recording: that kept the last state.
        position: which token.
        part: what to take out, (hidden,).

    Returns:
        (vocab,) less its mean, which no softmax sees; None without an MLM head.
    """
    model = explorer.model
    if not isinstance(model, ModernBertForMaskedLM):
        return None
    state = recording.hidden_states(recording.config.num_hidden_layers)[position]
    with torch.no_grad():
        both = torch.stack((state, (upcast(state) - part).to(state.dtype)))
        logits = model.logits(model.encoder.final_norm(both))
        check_finite(model, logits)
        with_it, without = upcast(logits)
    changes = torch.where(with_it == without, 0.0, with_it - without)  # both may be switched off
    return changes - changes.mean()


def largest_changes(
    explorer: Explorer, changes: Tensor | None, sign: int = 1
) -> tuple[Change, ...]:
    """The `NAMED` tokens whose logits change most upwards, or with -1 downwards."""
    if changes is None:
        return ()
    best = (sign * changes).topk(min(NAMED, len(changes))).indices.tolist()
    return tuple(Change(explorer.tokenizer.token(i), i, float(changes[i])) for i in best)


def neuron_directions(explorer: Explorer, layer: int) -> Tensor:
    """Columns of Wo, the directions that a layer's neurons write in: (hidden, neurons)."""
    check_index("layer", layer, explorer.model.config.num_hidden_layers)
    return explorer.model.encoder.get_parameter(f"layers.{layer}.mlp.Wo.weight").detach()


def _direction_norms(explorer: Explorer, layer: int) -> Tensor:
    norms: Tensor = upcast(neuron_directions(explorer, layer)).norm(dim=0)  # (neurons,)
    return norms


def check_count(count: int, most: int) -> int:
    """How many neurons are named: `count`, or all there are.

    Raises:
        RangeError: it is less than 1.
    """
    if count < 1:
        raise RangeError(f"{count} neurons can't be named; choose at least 1.")
    return min(count, most)


def _numbers(values: Tensor) -> npt.NDArray[np.float32]:
    numbers: npt.NDArray[np.float32] = values.float().cpu().numpy()
    return numbers
