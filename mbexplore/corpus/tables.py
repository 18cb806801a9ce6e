"""The tables of a corpus out of its sketch, by column; see `store` for what they hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from mbexplore.corpus.sketch import (
    EDGES,
    EMPTY,
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
from mbexplore.corpus.token_classes import CLASSES
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
        control: the same of the control.
        numbers: of the texts.
        named: names the tokens of examples.
    """
    found = {
        "heads": _heads(explorer, sketch, control),
        "head_examples": _head_examples(sketch, numbers, named),
        "head_tokens": _head_tokens(explorer, sketch),
        "sinks": _sinks(explorer, sketch),
        "states": _states(sketch, control),
        "channel_examples": _channel_examples(sketch, numbers, named),
    }
    for unit in sketch.shape.units:
        found[f"{unit}s"] = _units(sketch, control, unit)
        found[f"{unit}_examples"] = _unit_examples(sketch, unit, numbers, named)
    return found


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
    counts = sketch.arrays["token_counts"]
    seen = np.flatnonzero(counts)
    found: Columns = {name: [] for name in ("layer", "head", "role", "rank", "token_id", "weight")}
    for role, layer in product(("query", "key"), range(sketch.shape.layers)):
        table = sketch.arrays[f"{role}_tokens"][seen, layer].T  # (heads, tokens)
        top = np.argsort(-table, axis=-1, kind="stable")[:, :TOP_TOKENS]
        head, rank = _grid(top.shape)
        weight = table[head, top.ravel()]
        real = weight > 0
        for name, values in (("head", head), ("rank", rank), ("token_id", seen[top.ravel()]),
                             ("weight", weight / SCALE)):  # fmt: skip
            found[name] += values[real].tolist()
        found["layer"] += [layer] * int(real.sum())
        found["role"] += [role] * int(real.sum())
    ids = found["token_id"]
    names = {one: explorer.tokenizer.token(one) for one in set(ids)}
    return found | {"token": [names[one] for one in ids], "occurrences": counts[ids]}


def _sinks(explorer: Explorer, sketch: Sketch) -> Columns:
    """The tokens that get most weight of each layer."""
    arrays, shape = sketch.arrays, sketch.shape
    tokens = max(int(arrays["counts"][1]), 1)
    seen = np.flatnonzero(arrays["token_counts"])
    weight = np.stack([arrays["key_tokens"][seen, i].sum(axis=1) for i in range(shape.layers)])
    share = weight / SCALE / (tokens * shape.heads)  # (layers, tokens)
    top = np.argsort(-share, axis=-1, kind="stable")[:, :TOP_TOKENS]
    layer, rank = _grid(top.shape)
    ids, got = seen[top.ravel()], share[layer, top.ravel()]
    counts = arrays["token_counts"][ids]
    return {
        "layer": layer, "rank": rank, "token_id": ids, "occurrences": counts, "share": got,
        "lift": got * tokens / counts,
        "token": [explorer.tokenizer.token(one) for one in ids.tolist()],
    }  # fmt: skip


def _units(sketch: Sketch, control: Sketch | None, unit: str) -> Columns:
    """A row a neuron, or a feature."""
    arrays, tokens = sketch.arrays, max(int(sketch.arrays["counts"][1]), 1)
    layer, number = _grid(sketch.shape.units[unit])
    fired = _fired(sketch, unit)
    mean, square = (arrays[f"{unit}_sums"].reshape(-1, 2) / VALUE / tokens).T
    largest, smallest = arrays[f"{unit}_extremes"].reshape(-1, 2).T / VALUE
    chance = {} if control is None else {"control_firing": _fired(control, unit).tolist()}
    correlations = {f"correlation_{name}": one for name, one in _correlations(sketch, unit).items()}
    return {
        **_named(unit, layer, number), "tokens": np.full(len(layer), tokens),
        "threshold": np.array(sketch.about["thresholds"][unit])[layer], "firing_rate": fired[:, 0],
        "firing": fired.tolist(), "mean": mean, "root_mean_square": np.sqrt(square),
        "largest": largest, "smallest": -smallest,
    } | chance | {name: _nullable(one) for name, one in correlations.items()}  # fmt: skip


def _named(unit: str, layer: Ints, number: Ints) -> Columns:
    """Which neuron of which layer; or which feature of the dictionary."""
    return ({"layer": layer} if unit == "neuron" else {}) | {unit: number}


def _fired(sketch: Sketch, unit: str) -> Any:
    """Shares of tokens beyond each of `EDGES`, (units, edges)."""
    tokens = max(int(sketch.arrays["counts"][1]), 1)
    return sketch.arrays[f"{unit}_fired"].reshape(-1, len(EDGES[unit])) / tokens


def _correlations(sketch: Sketch, unit: str = "neuron") -> dict[str, Any]:
    """Pearson's, of each activation with `CLASSES` and the position, (units,) each."""
    arrays, tokens = sketch.arrays, max(int(sketch.arrays["counts"][1]), 1)
    mean, square = (arrays[f"{unit}_sums"].reshape(-1, 2) / VALUE / tokens).T
    shares = arrays["class_counts"] / tokens
    place, places = arrays["position_sums"] / tokens
    means = dict(zip((*CLASSES, "position"), (*shares, place), strict=True))
    squares = dict(zip((*CLASSES, "position"), (*shares, places), strict=True))
    by_class = arrays[f"{unit}_classes"].reshape(-1, len(CLASSES)).T / VALUE
    products = dict(zip(CLASSES, by_class, strict=True))
    products["position"] = arrays[f"{unit}_positions"].ravel() / PLACED
    found = {}
    for name, both in products.items():
        apart = (square - mean**2) * (squares[name] - means[name] ** 2)
        with np.errstate(invalid="ignore", divide="ignore"):
            one = (both / tokens - mean * means[name]) / np.sqrt(np.maximum(apart, 0.0))
        found[name] = np.where(np.isfinite(one), np.clip(one, -1.0, 1.0), np.nan)
    return found


def _unit_examples(sketch: Sketch, unit: str, numbers: Numbers, named: Named) -> Columns:
    arrays = sketch.arrays
    layer, number, interval, rank, rows = _examples(
        arrays[f"{unit}_top"], arrays[f"{unit}_sample"], EDGES[unit]
    )
    _, text, position, value = rows.T
    return {
        **_named(unit, layer, number), "interval": interval.tolist(), "rank": rank,
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
