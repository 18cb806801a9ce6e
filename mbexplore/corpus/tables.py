"""The tables of a corpus out of its sketch, by column; see `store` for what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mbexplore.corpus.sketch import (
    CLASSES,
    EMPTY,
    FIRING_EDGES,
    HEAD_SUMS,
    PLACED,
    SCALE,
    SCALES,
    VALUE,
    WEIGHT,
    WEIGHT_EDGES,
    Ints,
    Sketch,
)
from mbexplore.corpus.sources import Numbers
from mbexplore.errors import UsageError
from mbexplore.explorer import Explorer

METRICS = (*HEAD_SUMS[:-1], "distance_variance")
"""Columns of a head: means over the queries that could send weight there."""
TOP_TOKENS = 20
"""Tokens listed of each head."""
STRONGEST = "strongest"

Columns = dict[str, Any]
Named = Callable[[Ints, Ints], list[str]]
"""Tokens by the keys of their texts and their positions."""


def arrow() -> tuple[Any, Any]:
    """The package that reads and writes Parquet.

    Raises:
        UsageError: it isn't installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            "Writing a corpus needs pyarrow; pip install 'mbexplore[corpus]'."
        ) from None
    return pyarrow, parquet


def build_tables(
    explorer: Explorer, sketch: Sketch, control: Sketch | None, numbers: Numbers, named: Named
) -> dict[str, Columns]:
    """Every table but that of the texts.

    Args:
        explorer: whose model ran.
        sketch: of all blocks.
        control: the same of the model freshly initialised.
        numbers: of the texts.
        named: names the tokens of examples.
    """
    return {
        "heads": _heads(explorer, sketch, control),
        "head_examples": _head_examples(sketch, numbers, named),
        "head_tokens": _head_tokens(explorer, sketch),
        "sinks": _sinks(explorer, sketch),
        "neurons": _neurons(sketch),
        "neuron_examples": _neuron_examples(sketch, numbers, named),
        "states": _states(sketch, control),
        "channel_examples": _channel_examples(sketch, numbers, named),
    }


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
    rows = arrays["head_rows"]
    columns |= {f"queries_{name}": rows[layer, i] for i, name in enumerate(HEAD_SUMS[:-1])}
    for before, one in (("", sketch), ("control_", control)):
        if one is not None:
            means = {name: _nullable(values) for name, values in head_metrics(one).items()}
            found = means | _shares(one)
            columns |= {f"{before}{name}": values for name, values in found.items()}
    return columns


def _shares(sketch: Sketch) -> Columns:
    """Of each head, shares of weight by distance and of queries by their largest weight."""
    found: Columns = {}
    for name in ("distances", "largest"):
        counts = sketch.arrays[name]
        shares = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
        found[name] = shares.reshape(-1, counts.shape[-1]).tolist()
    return found


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


def _head_examples(sketch: Sketch, numbers: Numbers, named: Named) -> Columns:
    arrays = sketch.arrays
    layer, head, interval, rank, rows = _examples(
        arrays["head_top"], arrays["head_sample"], (0.0, *WEIGHT_EDGES)
    )
    _, text, query, key, weight = rows.T
    return {
        "layer": layer, "head": head, "interval": interval.tolist(), "rank": rank,
        "text": numbers.of(text), "query": query, "key": key,
        "query_token": named(text, query), "key_token": named(text, key),
        "weight": weight / WEIGHT,
    }  # fmt: skip


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


def _sinks(explorer: Explorer, sketch: Sketch) -> Columns:
    """The tokens that get most weight of each layer."""
    arrays, shape = sketch.arrays, sketch.shape
    tokens = max(int(arrays["counts"][1]), 1)
    share = arrays["key_tokens"].sum(axis=1) / SCALE / (tokens * shape.heads)  # (layers, vocab)
    most = min(TOP_TOKENS, shape.vocab)
    layer, rank = _grid((shape.layers, most))
    ids = np.argsort(-share, axis=-1, kind="stable")[:, :most].ravel()
    counts = arrays["token_counts"][ids]
    real = counts > 0
    columns = {
        "layer": layer, "rank": rank, "token_id": ids, "occurrences": counts,
        "share": share[layer, ids], "lift": share[layer, ids] * tokens / np.maximum(counts, 1),
    }  # fmt: skip
    found = {name: values[real] for name, values in columns.items()}
    return found | {"token": [explorer.tokenizer.token(one) for one in found["token_id"].tolist()]}


def _neurons(sketch: Sketch) -> Columns:
    arrays, tokens = sketch.arrays, max(int(sketch.arrays["counts"][1]), 1)
    layer, neuron = _grid(arrays["fired"].shape[:2])
    fired = arrays["fired"].reshape(len(layer), -1) / tokens
    mean, square = (arrays["neuron_sums"].reshape(-1, 2) / VALUE / tokens).T
    largest, smallest = arrays["neuron_extremes"].reshape(-1, 2).T / VALUE
    correlations = {f"correlation_{name}": one for name, one in _correlations(sketch).items()}
    return {
        "layer": layer, "neuron": neuron, "tokens": np.full(len(layer), tokens),
        "threshold": np.array(sketch.about["thresholds"])[layer], "firing_rate": fired[:, 0],
        "firing": fired.tolist(), "mean": mean, "root_mean_square": np.sqrt(square),
        "largest": largest, "smallest": -smallest,
    } | {name: _nullable(one) for name, one in correlations.items()}  # fmt: skip


def _correlations(sketch: Sketch) -> dict[str, Any]:
    """Pearson's, of each neuron's activation with `CLASSES` and the position, (neurons,) each."""
    arrays, tokens = sketch.arrays, max(int(sketch.arrays["counts"][1]), 1)
    mean, square = (arrays["neuron_sums"].reshape(-1, 2) / VALUE / tokens).T
    shares = arrays["class_counts"] / tokens
    place, places = arrays["position_sums"] / tokens
    means = dict(zip((*CLASSES, "position"), (*shares, place), strict=True))
    squares = dict(zip((*CLASSES, "position"), (*shares, places), strict=True))
    products = dict(zip(CLASSES, arrays["neuron_classes"].reshape(-1, len(CLASSES)).T / VALUE,
                        strict=True))  # fmt: skip
    products["position"] = arrays["neuron_positions"].ravel() / PLACED
    found = {}
    for name, both in products.items():
        apart = (square - mean**2) * (squares[name] - means[name] ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            one = (both / tokens - mean * means[name]) / np.sqrt(np.maximum(apart, 0.0))
        found[name] = np.where(np.isfinite(one), np.clip(one, -1.0, 1.0), np.nan)
    return found


def _neuron_examples(sketch: Sketch, numbers: Numbers, named: Named) -> Columns:
    arrays = sketch.arrays
    layer, neuron, interval, rank, rows = _examples(
        arrays["neuron_top"], arrays["neuron_sample"], FIRING_EDGES
    )
    _, text, position, value = rows.T
    return {
        "layer": layer, "neuron": neuron, "interval": interval.tolist(), "rank": rank,
        "text": numbers.of(text), "position": position, "token": named(text, position),
        "activation": value / VALUE,
    }  # fmt: skip


def _states(sketch: Sketch, control: Sketch | None) -> Columns:
    def norms(one: Sketch) -> Any:
        return one.arrays["norm_sums"] / VALUE / max(int(one.arrays["counts"][1]), 1)

    columns = {
        "state": np.arange(sketch.shape.layers + 1), "mean_norm": norms(sketch),
        "largest_norm": sketch.arrays["norm_most"] / VALUE,
        "channels": (sketch.arrays["channel_most"] / VALUE).tolist(),
    }  # fmt: skip
    return columns if control is None else columns | {"control_mean_norm": norms(control)}


def _channel_examples(sketch: Sketch, numbers: Numbers, named: Named) -> Columns:
    top = sketch.arrays["channel_top"]
    state, rank = _grid(top.shape[:2])
    rows = top.reshape(-1, top.shape[-1])
    real = rows[:, 0] != EMPTY
    _, text, position, channel, value = rows[real].T
    return {
        "state": state[real], "rank": rank[real], "text": numbers.of(text),
        "position": position, "token": named(text, position), "channel": channel,
        "value": value / VALUE,
    }  # fmt: skip
