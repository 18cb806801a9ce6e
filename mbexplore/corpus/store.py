"""A finished corpus in a folder: Parquet tables that any tool reads, and a manifest.

heads.parquet: layer, head, kind, queries, a column for each of `METRICS`, the same with control_
before it where a control was run, distances (share of weight by bin of key less query, the bins in
the manifest) and largest (share of queries by interval of their largest weight).
head_examples.parquet: layer, head, interval ("strongest", or from which weight on), rank, text,
query, key, query_token, key_token, weight.
head_tokens.parquet: layer, head, role (query or key), rank, token_id, token, occurrences, weight:
summed over a query's largest weights, or over all weight that keys get.
neurons.parquet: layer, neuron, tokens, threshold, firing_rate, firing (shares of tokens above the
thresholds of the manifest), mean, root_mean_square, largest, smallest.
neuron_examples.parquet: layer, neuron, interval, rank, text, position, token, activation.
states.parquet: state, mean_norm. channel_examples.parquet: state, rank, text, position, token,
channel, value.
texts.parquet: text (its number in the corpus, from 0), id, content, tokens, of the examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mbexplore import __version__
from mbexplore.corpus.sketch import (
    COUNTS,
    EMPTY,
    EXAMPLES,
    FIRING_EDGES,
    HEAD_SUMS,
    SCALE,
    SCALES,
    VALUE,
    WEIGHT,
    WEIGHT_EDGES,
    Ints,
    Sketch,
)
from mbexplore.errors import ModelError, OutputError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.files import write_beside, write_whole
from mbexplore.prompts import Prompts

METRICS = (*HEAD_SUMS[:-1], "distance_variance")
"""Columns of a head: means over the queries that could send weight there."""
TABLES = (
    "heads", "head_examples", "head_tokens", "neurons", "neuron_examples", "states",
    "channel_examples", "texts",
)  # fmt: skip
MANIFEST = "manifest.json"
TOP_TOKENS = 20
"""Tokens listed of each head."""
STRONGEST = "strongest"

Columns = dict[str, Any]


def arrow() -> tuple[Any, Any]:
    """The package that reads and writes Parquet.

    Raises:
        UsageError: it isn't installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("A corpus needs pyarrow; pip install 'mbexplore[corpus]'.") from None
    return pyarrow, parquet


def head_metrics(sketch: Sketch) -> dict[str, Any]:
    """The mean of each of `METRICS`, (layers, heads); not a number where no query could."""
    sums, rows = sketch.arrays["head_sums"], sketch.arrays["head_rows"]
    scales = np.array([SCALES.get(name, SCALE) for name in HEAD_SUMS])
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / scales / rows[:, None]
    found = {name: means[..., i] for i, name in enumerate(HEAD_SUMS)}
    squared = found.pop("distance_squared")
    found["distance_variance"] = np.maximum(squared - found["distance"] ** 2, 0.0)
    return found


def write_store(
    folder: Path,
    explorer: Explorer,
    prompts: Prompts,
    sketch: Sketch,
    thresholds: Sequence[float],
    control: Sketch | None = None,
) -> None:
    """Writes all tables and, last, the manifest.

    Args:
        folder: is there.
        explorer: whose model ran.
        prompts: the texts, read once more for the examples'.
        sketch: of all blocks.
        thresholds: of each layer's neurons.
        control: the same of the model freshly initialised.

    Raises:
        OutputError: a file can't be written.
        UsageError: pyarrow is missing.
    """
    texts = _texts(explorer, prompts, sketch)
    tables = {
        "heads": _heads(explorer, sketch, control),
        "head_examples": _head_examples(sketch, texts),
        "head_tokens": _head_tokens(explorer, sketch),
        "neurons": _neurons(sketch, thresholds),
        "neuron_examples": _neuron_examples(sketch, texts),
        "states": _states(sketch, control),
        "channel_examples": _channel_examples(sketch, texts),
        "texts": {
            "text": list(texts),
            "id": [one["id"] for one in texts.values()],
            "content": [one["content"] for one in texts.values()],
            "tokens": [one["tokens"] for one in texts.values()],
        },
    }
    for name, columns in tables.items():
        _write_table(folder / f"{name}.parquet", columns)
    manifest = json.dumps(_manifest(explorer, sketch, control), indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, manifest.encode())


def _write_table(path: Path, columns: Columns) -> None:
    pyarrow, parquet = arrow()
    table, how = pyarrow.table(columns), {"compression": "zstd", "compression_level": 19}
    try:
        write_beside(path, lambda beside: parquet.write_table(table, beside, **how))
    except OSError as error:
        raise OutputError(
            f"{path} can't be written ({error.strerror}); make room and build again."
        ) from None


def _manifest(explorer: Explorer, sketch: Sketch, control: Sketch | None) -> dict[str, Any]:
    import torch

    counts = dict(zip(COUNTS, sketch.arrays["counts"].tolist(), strict=True))
    return dict(sketch.about) | {
        **counts,
        "control": control is not None,
        "distance_bins": sketch.shape.distance_bins,
        "weight_edges": WEIGHT_EDGES,
        "firing_edges": FIRING_EDGES,
        "versions": {
            "mbexplore": __version__,
            "torch": torch.__version__.partition("+")[0],
            "pyarrow": arrow()[0].__version__,
        },
    }


def _grid(shape: Sequence[int]) -> Iterator[Any]:
    """The indices of every cell, one flat array an axis."""
    yield from (one.ravel() for one in np.indices(tuple(shape)))


def _heads(explorer: Explorer, sketch: Sketch, control: Sketch | None) -> Columns:
    shape, arrays = sketch.shape, sketch.arrays
    layer, head = _grid((shape.layers, shape.heads))
    tokens = int(arrays["counts"][1])
    kinds = explorer.model.config.layer_kinds
    columns: Columns = {"layer": layer, "head": head, "kind": [kinds[i] for i in layer]}
    columns["queries"] = np.full(len(layer), tokens)
    columns |= {name: _nullable(one) for name, one in head_metrics(sketch).items()}
    if control is not None:
        found = head_metrics(control)
        columns |= {f"control_{name}": _nullable(one) for name, one in found.items()}
    distances, largest = arrays["distances"] / SCALE, arrays["largest"]
    columns["distances"] = (distances / max(tokens, 1)).reshape(len(layer), -1).tolist()
    queries = np.maximum(largest.sum(axis=-1, keepdims=True), 1)
    columns["largest"] = (largest / queries).reshape(len(layer), -1).tolist()
    return columns


def _nullable(values: Any) -> Any:
    """Numbers as a column that has nothing where there is none."""
    flat = values.ravel()
    return arrow()[0].array(flat, mask=np.isnan(flat))


def _examples(top: Ints, sample: Ints, edges: Sequence[float]) -> tuple[Any, ...]:
    """Layer, place, interval, rank and row of every example, the strongest of each first."""
    strong, columns = top.shape[2:]
    parts, names = [top[:, :, None]], [STRONGEST, *(f"{edge:g}" for edge in edges)]
    width = max(strong, sample.shape[3])
    parts.append(sample)
    filled = [np.pad(one, [(0, 0)] * 3 + [(0, width - one.shape[3]), (0, 0)],
                     constant_values=EMPTY) for one in parts]  # fmt: skip
    every = np.concatenate(filled, axis=2)
    layer, place, interval, rank = _grid(every.shape[:4])
    rows = every.reshape(-1, columns)
    real = rows[:, 0] != EMPTY
    intervals = np.array(names, dtype=object)[interval[real]]
    return layer[real], place[real], intervals, rank[real], rows[real]


def _head_examples(sketch: Sketch, texts: Mapping[int, Columns]) -> Columns:
    arrays = sketch.arrays
    layer, head, interval, rank, rows = _examples(
        arrays["head_top"], arrays["head_sample"], (0.0, *WEIGHT_EDGES)
    )
    _, text, query, key, weight = rows.T
    return {
        "layer": layer, "head": head, "interval": interval.tolist(), "rank": rank,
        "text": text, "query": query, "key": key,
        "query_token": _tokens(texts, text, query), "key_token": _tokens(texts, text, key),
        "weight": weight / WEIGHT,
    }  # fmt: skip


def _tokens(texts: Mapping[int, Columns], text: Ints, position: Ints) -> list[str]:
    pairs = zip(text.tolist(), position.tolist(), strict=True)
    return [texts[number]["tokens"][place] for number, place in pairs]


def _head_tokens(explorer: Explorer, sketch: Sketch) -> Columns:
    shape, counts = sketch.shape, sketch.arrays["token_counts"]
    most = min(TOP_TOKENS, shape.vocab)
    found: Columns = {name: [] for name in ("layer", "head", "role", "rank", "token_id", "weight")}
    for role in ("query", "key"):
        table = sketch.arrays[f"{role}_tokens"]
        top = np.argsort(-table, axis=-1, kind="stable")[..., :most]
        layer, head, rank = _grid(top.shape)
        ids = top.ravel()
        weight = table[layer, head, ids]
        real = weight > 0
        for name, values in (("layer", layer), ("head", head), ("rank", rank), ("token_id", ids),
                             ("weight", weight / SCALE)):  # fmt: skip
            found[name] += values[real].tolist()
        found["role"] += [role] * int(real.sum())
    ids = found["token_id"]
    names = {one: explorer.tokenizer.token(one) for one in set(ids)}
    return found | {"token": [names[one] for one in ids], "occurrences": counts[ids]}


def _neurons(sketch: Sketch, thresholds: Sequence[float]) -> Columns:
    arrays, tokens = sketch.arrays, max(int(sketch.arrays["counts"][1]), 1)
    layer, neuron = _grid(arrays["fired"].shape[:2])
    fired = arrays["fired"].reshape(len(layer), -1) / tokens
    mean, square = (arrays["neuron_sums"].reshape(-1, 2) / VALUE / tokens).T
    largest, smallest = arrays["neuron_extremes"].reshape(-1, 2).T / VALUE
    return {
        "layer": layer, "neuron": neuron, "tokens": np.full(len(layer), tokens),
        "threshold": np.array(thresholds)[layer], "firing_rate": fired[:, 0],
        "firing": fired.tolist(), "mean": mean, "root_mean_square": np.sqrt(square),
        "largest": largest, "smallest": -smallest,
    }  # fmt: skip


def _neuron_examples(sketch: Sketch, texts: Mapping[int, Columns]) -> Columns:
    arrays = sketch.arrays
    layer, neuron, interval, rank, rows = _examples(
        arrays["neuron_top"], arrays["neuron_sample"], FIRING_EDGES
    )
    _, text, position, value = rows.T
    return {
        "layer": layer, "neuron": neuron, "interval": interval.tolist(), "rank": rank,
        "text": text, "position": position, "token": _tokens(texts, text, position),
        "activation": value / VALUE,
    }  # fmt: skip


def _states(sketch: Sketch, control: Sketch | None) -> Columns:
    def norms(one: Sketch) -> Any:
        return one.arrays["norm_sums"] / VALUE / max(int(one.arrays["counts"][1]), 1)

    columns = {"state": np.arange(sketch.shape.layers + 1), "mean_norm": norms(sketch)}
    return columns if control is None else columns | {"control_mean_norm": norms(control)}


def _channel_examples(sketch: Sketch, texts: Mapping[int, Columns]) -> Columns:
    top = sketch.arrays["channel_top"]
    state, rank = _grid(top.shape[:2])
    rows = top.reshape(-1, top.shape[-1])
    real = rows[:, 0] != EMPTY
    _, text, position, channel, value = rows[real].T
    return {
        "state": state[real], "rank": rank[real], "text": text, "position": position,
        "token": _tokens(texts, text, position), "channel": channel, "value": value / VALUE,
    }  # fmt: skip


def _texts(explorer: Explorer, prompts: Prompts, sketch: Sketch) -> dict[int, Columns]:
    """The texts that examples are of, by their number."""
    arrays = sketch.arrays
    named = [arrays[name][..., 1].ravel() for name in EXAMPLES]
    wanted = set(np.concatenate(named).tolist()) - {EMPTY}
    found = {}
    for number, prompt in enumerate(prompts):
        if number in wanted:
            encoding = explorer.encode(prompt.text, truncate=bool(sketch.about["truncate"]))
            tokens = list(encoding.tokens)
            found[number] = {"id": str(prompt.id), "content": prompt.text, "tokens": tokens}
    return found


class Store:
    """A finished corpus, read from its folder.

    Attributes:
        folder: where it is.
        manifest: what it is of.
    """

    def __init__(self, folder: Path) -> None:
        """Opens it.

        Raises:
            ModelError: there is none, or it isn't finished.
        """
        self.folder = folder
        try:
            self.manifest = json.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise ModelError(
                f"{folder} holds no finished corpus; build one with mbexplore corpus build."
            ) from None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"{folder / MANIFEST} can't be read ({error}); build it again."
            ) from None

    def rows(self, table: str, filters: Any = None, columns: Sequence[str] | None = None) -> Any:
        """Rows of a table, as dictionaries.

        Args:
            table: one of `TABLES`.
            filters: as pyarrow takes them, [("layer", "=", 3)].
            columns: those wanted; None for all.

        Raises:
            ModelError: the table is missing or broken.
        """
        pyarrow, parquet = arrow()
        path = self.folder / f"{table}.parquet"
        try:
            found = parquet.read_table(path, filters=filters, columns=columns)
        except (OSError, pyarrow.ArrowException) as error:
            raise ModelError(f"{path} can't be read ({error}); build it again.") from None
        return found.to_pylist()
