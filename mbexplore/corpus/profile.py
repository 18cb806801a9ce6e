"""What a finished corpus says of all heads, or of one head."""

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
from mbexplore.corpus.examples import Example, choose, example_of, record
from mbexplore.corpus.reader import Store
from mbexplore.corpus.sources import hash_model
from mbexplore.corpus.summary import Summary, head_summaries
from mbexplore.corpus.tables import METRICS
from mbexplore.errors import ModelError
from mbexplore.explorer import Explorer
from mbexplore.network.config import LayerKind
from mbexplore.recorder import of_layers

ALIKE = 6
"""Similar heads that are listed."""
_HASHES: WeakKeyDictionary[Explorer, str] = WeakKeyDictionary()
"""Of models that a corpus was looked for; the weights of one don't change."""


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
        control: of the same head of the control; None where it wasn't run.
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
        control_distances: the same, of the control; None where that wasn't run.
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
    chosen = choose(store.rows("head_examples", layer=layer, head=head), strongest, sampled)
    recordings = record(explorer, store, chosen, of_layers("attention", layer))
    examples = []
    for one, text in chosen:
        weights = recordings[one["text"]].attention(layer, head, queries=one["query"])
        examples.append(
            example_of(one, text, one["query"], one["key"], one["weight"], weights[0, 0])
        )

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
