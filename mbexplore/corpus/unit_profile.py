"""What a finished corpus says of one neuron, or of one feature of a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mbexplore.analysis.neurons import (
    largest_changes,
    last_state,
    logit_changes,
    neuron_directions,
)
from mbexplore.analysis.target import upcast
from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.examples import Example, choose, example_of, record
from mbexplore.corpus.reader import Store
from mbexplore.corpus.summary import unit_summary
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.recorder import of_layers
from mbexplore.recording import Recording, check_index


@dataclass(frozen=True, eq=False)
class UnitProfile:
    """One neuron, or one feature of a dictionary, over a corpus.

    Attributes:
        manifest: what the corpus is of.
        layer: of the neuron, from 0; None for a feature.
        unit: "neuron" or "feature".
        number: of it, from 0.
        row: of neurons.parquet or features.parquet.
        line: what its strongest uses have in common.
        others: rows of all neurons of the layer, or of all features.
        examples: the strongest first, then by interval.
        promoted: tokens whose logits it raises most at its strongest use; () without an MLM head.
        suppressed: those it lowers.
    """

    manifest: dict[str, Any]
    layer: int | None
    unit: str
    number: int
    row: dict[str, Any]
    line: str
    others: tuple[dict[str, Any], ...]
    examples: tuple[Example, ...]
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]


def read_unit(
    explorer: Explorer, store: Store, place: Mapping[str, int], *, strongest: int, sampled: int
) -> UnitProfile:
    """One neuron or feature, with its activations on its examples.

    Args:
        explorer: of the model that built the corpus.
        store: the corpus.
        place: its layer and neuron, or its feature.
        strongest: examples at the top.
        sampled: of each interval.

    Raises:
        RangeError: there is no such neuron or feature.
        ModelError: the corpus was built without a dictionary.
    """
    [unit] = place.keys() - {"layer"}
    values_of = _activations(explorer, store, place)
    others = tuple(store.rows(f"{unit}s", **{name: place[name] for name in place if name != unit}))
    check_index(unit, place[unit], len(others))
    chosen = choose(store.rows(f"{unit}_examples", **place), strongest, sampled)
    texts = record(explorer, store, chosen, (last_state(explorer.model.config), *values_of.keep))
    examples = []
    for one, text in chosen:
        values = values_of(texts[one["text"]])
        examples.append(example_of(one, text, one["position"], None, one["activation"], values))
    changes = None
    if chosen:
        first = chosen[0][0]
        part = first["activation"] * upcast(values_of.direction)
        changes = logit_changes(explorer, texts[first["text"]], first["position"], part)
    promoted, suppressed = (
        tuple(one.token for one in largest_changes(explorer, changes, sign)) for sign in (1, -1)
    )
    line = unit_summary(store, place).line
    [row] = [one for one in others if one[unit] == place[unit]]
    return UnitProfile(
        store.manifest, place.get("layer"), unit, place[unit], row, line, others, tuple(examples),
        promoted, suppressed,
    )  # fmt: skip


@dataclass(frozen=True)
class _Values:
    """How activations are computed again.

    Attributes:
        keep: of a recording, besides its last state.
        direction: what is written to the residual stream for an activation of 1, (hidden,); for a
            feature of what isn't that, what it stands for.
        of: the activations over a recorded text, (seq,).
    """

    keep: tuple[str, ...]
    direction: Tensor
    of: Callable[[Recording], Tensor]

    def __call__(self, recording: Recording) -> Tensor:
        return self.of(recording)


def _activations(explorer: Explorer, store: Store, place: Mapping[str, int]) -> _Values:
    """Of a neuron or a feature, once it is known to be there."""
    model = explorer.model
    if (feature := place.get("feature")) is None:
        layer, neuron = place["layer"], place["neuron"]
        check_index("layer", layer, model.config.num_hidden_layers)
        check_index("neuron", neuron, model.config.intermediate_size)
        keep = of_layers("neurons", layer)
        return _Values(
            keep, neuron_directions(explorer, layer)[:, neuron],
            lambda recording: recording.neurons(layer)[:, neuron],
        )  # fmt: skip
    if not store.dictionary.exists():
        raise ModelError(
            f"The corpus in {store.folder} was built without a dictionary, so it has no features; "
            "build one with --dictionary."
        )
    dictionary = Dictionary.load(store.dictionary).to(model.device)
    check_index("feature", feature, dictionary.features)
    direction = dictionary.tensors["W_dec"][feature]
    if dictionary.tap.endswith(".mlp_post"):  # of neurons: through the layer's output
        direction = neuron_directions(explorer, int(dictionary.tap.split(".")[1])) @ direction
    return _Values(
        (), direction, lambda recording: dictionary.run(model, recording.encoding.ids)[:, feature]
    )
