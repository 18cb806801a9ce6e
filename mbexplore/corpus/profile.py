"""What a finished corpus says of all heads, of one head, or of one neuron.

Weights and activations of the examples are computed again by the model that built the corpus, so
a store needs to hold no map.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from mbexplore.corpus import VARIABLE
from mbexplore.corpus.reader import Store
from mbexplore.corpus.sources import hash_model
from mbexplore.corpus.summary import Summary, head_summaries, neuron_summary
from mbexplore.corpus.tables import METRICS
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.network.config import LayerKind
from mbexplore.recorder import of_layers
from mbexplore.recording import Recording, check_index

ALIKE = 6
"""Similar heads that are listed."""
_HASHES: WeakKeyDictionary[Explorer, str] = WeakKeyDictionary()
"""Of models that a corpus was looked for; the weights of one don't change."""


@dataclass(frozen=True, eq=False)
class Example:
    """One use of a head or a neuron.

    Attributes:
        interval: "strongest", or from which strength on.
        id: of the text in its file.
        tokens: of the text.
        position: of the query, or of the token where the neuron fires.
        key: of the key; None for a neuron.
        value: the weight, or the activation.
        values: (seq,) the query's weights, or the neuron's activations.
    """

    interval: str
    id: str
    tokens: tuple[str, ...]
    position: int
    key: int | None
    value: float
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Overview:
    """Every head by every metric.

    Attributes:
        manifest: what the corpus is of.
        heads: a row a head, as heads.parquet has it.
        summaries: what the strongest uses of each have in common.
    """

    manifest: dict[str, Any]
    heads: tuple[dict[str, Any], ...]
    summaries: tuple[Summary, ...]

    def square(self, name: str) -> npt.NDArray[np.float64]:
        """A metric, (layers, heads); NaN where no query could send weight there."""
        layers = self.heads[-1]["layer"] + 1
        values = [np.nan if one[name] is None else one[name] for one in self.heads]
        return np.array(values, dtype=np.float64).reshape(layers, -1)


@dataclass(frozen=True)
class MetricRank:
    """A metric of one head beside all others.

    Attributes:
        name: one of `METRICS`.
        value: of the head.
        rank: 1 for the largest.
        heads: how many have the metric.
        median: over these.
        control: of the same head freshly initialised; None where it wasn't run.
        queries: over which the value is a mean.
    """

    name: str
    value: float
    rank: int
    heads: int
    median: float
    control: float | None
    queries: int


@dataclass(frozen=True)
class SimilarHead:
    """A head that does much the same over the corpus.

    Attributes:
        layer: from 0.
        head: from 0.
        kind: "global" or "local".
        distance: root mean square, over the metrics that all heads have, of the differences in
            standard deviations over all heads.
    """

    layer: int
    head: int
    kind: LayerKind
    distance: float


@dataclass(frozen=True, eq=False)
class HeadProfile:
    """One head over a corpus.

    Attributes:
        overview: all heads of the corpus.
        layer: from 0.
        head: from 0.
        kind: "global" or "local".
        half_window: of the layer; None for a global one.
        line: what its strongest uses have in common.
        queries: of the corpus.
        metrics: those that it has.
        distances: share of weight in each of the manifest's bins.
        largest: share of queries in each interval of their largest weight.
        control_distances: the same, freshly initialised; None where that wasn't run.
        control_largest: likewise.
        similar: the most similar heads first.
        tokens: rows of head_tokens.parquet.
        examples: the strongest first, then by interval.
    """

    overview: Overview
    layer: int
    head: int
    kind: LayerKind
    half_window: int | None
    line: str
    queries: int
    metrics: tuple[MetricRank, ...]
    distances: tuple[float, ...]
    largest: tuple[float, ...]
    control_distances: tuple[float, ...] | None
    control_largest: tuple[float, ...] | None
    similar: tuple[SimilarHead, ...]
    tokens: tuple[dict[str, Any], ...]
    examples: tuple[Example, ...]

    @property
    def manifest(self) -> dict[str, Any]:
        """What the corpus is of."""
        return self.overview.manifest


@dataclass(frozen=True, eq=False)
class NeuronProfile:
    """One neuron over a corpus.

    Attributes:
        manifest: what the corpus is of.
        layer: from 0.
        neuron: from 0.
        row: of neurons.parquet.
        line: what its strongest uses have in common.
        others: rows of all neurons of the layer.
        examples: the strongest first, then by interval.
        promoted: tokens whose logits it raises most at its strongest use; () without an MLM head.
        suppressed: those it lowers.
    """

    manifest: dict[str, Any]
    layer: int
    neuron: int
    row: dict[str, Any]
    line: str
    others: tuple[dict[str, Any], ...]
    examples: tuple[Example, ...]
    promoted: tuple[str, ...]
    suppressed: tuple[str, ...]


def bundled_folder() -> Path:
    """Where the corpus of the bundled model lies."""
    return Path(str(files("mbexplore_assets"))) / "corpus"


def find_store(explorer: Explorer, folder: str | None = None) -> Store:
    """The corpus named, or that of `$MBEXPLORE_CORPUS`, or the bundled one.

    Raises:
        ModelError: there is none, or it is of another model.
    """
    named = folder or os.environ.get(VARIABLE, "")
    folders = [Path(one) for one in ([folder] if folder else named.split(os.pathsep)) if one]
    folders += [bundled_folder()] if not folder and explorer.info.source == "bundled" else []
    if not folders:
        raise ModelError(
            f"No corpus of {explorer.info.name} was named; build one with mbexplore corpus build, "
            f"and name its folder or set ${VARIABLE}."
        )
    stores = [Store(one) for one in folders]
    if explorer not in _HASHES:
        _HASHES[explorer] = hash_model(explorer)
    for store in stores:
        if store.manifest["model"]["sha256"] == _HASHES[explorer]:
            return store
    first = stores[0]
    raise ModelError(
        f"The corpus in {first.folder} is of {first.manifest['model']['name']} and not of "
        f"{explorer.info.name}; open that model, or build a corpus of this one."
    )


def known_lines(
    explorer: Explorer, heads: Sequence[tuple[int, int]]
) -> tuple[int, dict[tuple[int, int], str]]:
    """What some heads do over the corpus of the model, a line each, and how many texts it has.

    Returns:
        0 and nothing where there is no corpus of this model.
    """
    try:
        store = find_store(explorer)
    except ModelError:
        return 0, {}
    found = head_summaries(store, heads)
    return store.manifest["texts"], {place: one.line for place, one in found.items()}


def read_overview(store: Store) -> Overview:
    """Every head."""
    heads = tuple(store.rows("heads"))
    places = [(one["layer"], one["head"]) for one in heads]
    found = head_summaries(store, places)
    return Overview(store.manifest, heads, tuple(found[place] for place in places))


def read_head(
    explorer: Explorer, store: Store, overview: Overview, layer: int, head: int, *,
    strongest: int, sampled: int,
) -> HeadProfile:  # fmt: skip
    """One head, with the weights of its examples.

    Args:
        explorer: of the model that built the corpus.
        store: the corpus.
        overview: all its heads.
        layer: from 0.
        head: from 0.
        strongest: examples at the top.
        sampled: of each interval.

    Raises:
        RangeError: there is no such head.
    """
    explorer.check_layer_and_head(layer, head)
    [row] = [one for one in overview.heads if (one["layer"], one["head"]) == (layer, head)]
    chosen = _chosen(store.rows("head_examples", layer=layer, head=head), strongest, sampled)
    recordings = _record(explorer, store, chosen, of_layers("attention", layer))
    examples = []
    for one, text in chosen:
        weights = recordings[one["text"]].attention(layer, head, queries=one["query"])
        examples.append(_example(one, text, one["query"], one["key"], one["weight"], weights[0, 0]))

    def shares(name: str) -> tuple[float, ...] | None:
        return tuple(row[name]) if row.get(name) is not None else None

    return HeadProfile(
        overview, layer, head, row["kind"], explorer.model.config.half_window(layer),
        overview.summaries[overview.heads.index(row)].line, row["queries"],
        tuple(rank_metrics(overview, row)), tuple(row["distances"]), tuple(row["largest"]),
        shares("control_distances"), shares("control_largest"),
        tuple(similar_heads(overview, row)[:ALIKE]),
        tuple(store.rows("head_tokens", layer=layer, head=head)), tuple(examples),
    )  # fmt: skip


def similar_heads(overview: Overview, row: dict[str, Any]) -> list[SimilarHead]:
    """All other heads, the most similar first; see `SimilarHead.distance`."""
    names = [n for n in METRICS if all(one[n] is not None for one in overview.heads)]
    values = np.array([[one[n] for n in names] for one in overview.heads], dtype=np.float64)
    spread = values.std(axis=0)
    own = np.array([row[n] for n in names], dtype=np.float64)
    apart = (values - own)[:, spread > 0] / spread[spread > 0]
    found = [
        SimilarHead(one["layer"], one["head"], one["kind"], float(np.sqrt(np.mean(each**2))))
        for one, each in zip(overview.heads, apart, strict=True)
        if one is not row
    ]
    return sorted(found, key=lambda one: (one.distance, one.layer, one.head))


def rank_metrics(overview: Overview, row: dict[str, Any]) -> list[MetricRank]:
    """Where a head stands among all, in each metric that it has."""
    found = []
    for name in METRICS:
        values = [one[name] for one in overview.heads if one[name] is not None]
        if row[name] is None:
            continue
        rank = 1 + sum(value > row[name] for value in values)
        control = row.get(f"control_{name}")
        middle, queries = float(np.median(values)), row.get(f"queries_{name}", row["queries"])
        found.append(MetricRank(name, row[name], rank, len(values), middle, control, queries))
    return found


def read_neuron(
    explorer: Explorer, store: Store, layer: int, neuron: int, *, strongest: int, sampled: int
) -> NeuronProfile:
    """One neuron, with its activations on its examples.

    Args:
        explorer: of the model that built the corpus.
        store: the corpus.
        layer: from 0.
        neuron: from 0.
        strongest: examples at the top.
        sampled: of each interval.

    Raises:
        RangeError: there is no such neuron.
    """
    from mbexplore.analysis.neurons import describe_neurons, last_state

    config = explorer.model.config
    check_index("layer", layer, config.num_hidden_layers)
    check_index("neuron", neuron, config.intermediate_size)
    others = tuple(store.rows("neurons", layer=layer))
    [row] = [one for one in others if one["neuron"] == neuron]
    rows = store.rows("neuron_examples", layer=layer, neuron=neuron)
    chosen = _chosen(rows, strongest, sampled)
    keep = (*of_layers("neurons", layer), last_state(config))
    recordings = _record(explorer, store, chosen, keep)
    examples = []
    for one, text in chosen:
        values = recordings[one["text"]].neurons(layer)[:, neuron]
        examples.append(_example(one, text, one["position"], None, one["activation"], values))
    promoted: tuple[str, ...] = ()
    suppressed: tuple[str, ...] = ()
    if chosen:
        first = chosen[0][0]
        places = [(layer, neuron, first["position"])]
        [at] = describe_neurons(explorer, recordings[first["text"]], places)
        promoted = tuple(one.token for one in at.promoted)
        suppressed = tuple(one.token for one in at.suppressed)
    line = neuron_summary(store, layer, neuron).line
    return NeuronProfile(
        store.manifest, layer, neuron, row, line, others, tuple(examples), promoted, suppressed
    )


Chosen = list[tuple[dict[str, Any], dict[str, Any]]]


def _chosen(rows: Sequence[dict[str, Any]], strongest: int, sampled: int) -> Chosen:
    """The examples that are shown, the strongest first; their texts follow in `_record`."""
    most = {"strongest": strongest}
    return [(one, {}) for one in rows if one["rank"] < most.get(one["interval"], sampled)]


def _record(
    explorer: Explorer, store: Store, chosen: Chosen, keep: Sequence[str]
) -> dict[int, Recording]:
    """A recording of each example's text; fills in the texts of `chosen`."""
    numbers = sorted({one["text"] for one, _ in chosen})
    if not numbers:
        return {}
    texts = {one["text"]: one for one in store.rows("texts", text=numbers)}
    for one, text in chosen:
        text.update(texts[one["text"]])
    contents = [texts[number]["content"] for number in numbers]
    truncate = bool(store.manifest["truncate"])
    made = explorer.record_many(contents, keep=keep, truncate=truncate)
    return dict(zip(numbers, made, strict=True))


def _example(
    row: dict[str, Any], text: dict[str, Any], position: int, key: int | None, value: float,
    values: Any,
) -> Example:  # fmt: skip
    numbers = values.float().cpu().numpy()
    tokens = tuple(text["tokens"])
    return Example(row["interval"], text["id"], tokens, position, key, value, numbers)
