"""A corpus as the tree that HeadVis reads (Luger, Kamath et al. 2026).

The shapes are those that data_pipeline.py of anthropics/headvis specifies, the names those of
Neuronpedia's public pipeline, which writes the same tree (utils/neuronpedia-utils/
neuronpedia_utils/headvis in hijohnnylin/neuronpedia). What an encoder has otherwise is said in
docs/corpus.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mbexplore.corpus.reader import Store
from mbexplore.corpus.tables import METRICS
from mbexplore.display.data import to_json
from mbexplore.explorer import Explorer
from mbexplore.files import write_whole, writing
from mbexplore.recorder import of_layers
from mbexplore.recording import Recording

NAMES = {
    "self": ("self_attention_score", "Mean attention of a query to itself."),
    "previous": ("prev_token_score", "Mean attention to the token before."),
    "nats": ("pattern_entropy", "Mean Shannon entropy of a row, in nats."),
    "distance": ("qk_distance", "Mean |q - k| weighted by attention."),
    "distance_variance": ("qk_distance_variance", "Variance of |q - k| weighted by attention."),
    "induction": (
        "induction_score",
        "Mean attention to the tokens after other occurrences of the query's token, on both sides.",
    ),
}
"""What HeadVis calls these of `METRICS`; the others keep their names."""
KEYS, LEAST = 8, 0.005
"""Of a query, the most keys whose weights are written, and the least weight."""
RECORDED = 16
"""Texts that are held at a time."""

Advance = Callable[[int, int], None]


def write_headvis(
    explorer: Explorer, store: Store, folder: Path, advance: Advance = lambda done, total: None
) -> int:
    """Writes the tree, config.json last.

    Args:
        explorer: of the model that built the corpus: the weights are computed again.
        store: the corpus.
        folder: is made; what is in it is overwritten.
        advance: called with the layers done and all there are.

    Returns:
        How many files it wrote.

    Raises:
        OutputError: the folder or a file can't be written.
    """
    heads = store.rows("heads")
    files: dict[str, Any] = {
        "scatter_data.json": [_scatter(one, _metrics(heads)) for one in heads],
        "server_config.json": {},
        "attributions/manifest.json": {},
    }
    layers = sorted({one["layer"] for one in heads})
    with writing(folder, "; choose another folder."):
        for name in ("attributions", "heads"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    for layer in layers:
        rows = [one for one in heads if one["layer"] == layer]
        sequences = _sequences(explorer, store, layer, len(rows))
        for row in rows:
            path = folder / "heads" / f"L{layer}H{row['head']}.json"
            write_whole(path, to_json(_head(store, row, sequences[row["head"]])))
        advance(layer + 1, len(layers))
    for name, content in (files | {"config.json": _config(explorer, store, heads)}).items():
        write_whole(folder / name, to_json(content))
    return len(files) + 1 + len(heads)


def _name(metric: str) -> str:
    return NAMES[metric][0] if metric in NAMES else metric


def _metrics(heads: Sequence[dict[str, Any]]) -> list[str]:
    """Those that some head has."""
    return [name for name in METRICS if any(one[name] is not None for one in heads)]


def _scatter(row: dict[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    """A row of numbers: the front end offers what the first one has as numbers."""
    values = {_name(name): round(row[name] or 0.0, 4) for name in metrics}
    return {"layer": row["layer"], "head": row["head"], **values}


def _config(explorer: Explorer, store: Store, heads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    manifest, config = store.manifest, explorer.model.config
    name, dataset = manifest["model"]["name"], manifest["corpus"]["file"]
    metrics = _metrics(heads)
    about = "Mean over queries; see docs/corpus.md of mbexplore."
    return {
        "model_name": name,
        "dataset_name": dataset,
        "heads": [[one["layer"], one["head"]] for one in heads],
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "n_intervals": len(manifest["weight_edges"]) + 1,
        "metrics": [_name(one) for one in metrics],
        "metric_descriptions": {
            _name(one): NAMES[one][1] if one in NAMES else about for one in metrics
        },
        "head_data_pattern": "L{layer}H{head}.json",
        "has_umap": False,
        "umap_heads": [],
        "custom_plots": [
            {"key": "qk_distance_histogram", "label": "Q-K distance"},
            {"key": "histogram", "label": "Largest weight of a query"},
        ],
        "custom_tables": [
            {"key": "top_query_tokens", "label": "Top query tokens"},
            {"key": "top_key_tokens", "label": "Top key tokens"},
        ],
        "statistics_display": {
            "n_samples": {"label": "Texts kept", "format": "default"},
            "n_queries": {"label": "Queries", "format": "default"},
        },
        "pipeline_config": {
            "model_name": name,
            "dataset_name": dataset,
            "n_sequences": manifest["texts"],
            "seq_len": config.max_position_embeddings,
            "dtype": manifest["model"]["dtype"],
            "attn_implementation": "mbexplore",
            "sparse_topk_per_row": KEYS,
            "sparse_threshold": LEAST,
            "manifest": manifest,
        },
    }


def _head(store: Store, row: dict[str, Any], sequences: list[dict[str, Any]]) -> dict[str, Any]:
    tokens = store.rows("head_tokens", layer=row["layer"], head=row["head"])
    found: dict[str, Any] = {
        f"top_{role}_tokens": [
            {"token": one["token"], "weight": round(one["weight"], 4)}
            for one in tokens
            if one["role"] == role
        ]
        for role in ("query", "key")
    }
    edges = [0.0, *store.manifest["weight_edges"], 1.0]
    return {
        "sequences": sequences,
        "qk_distance_histogram": _distances(store.manifest["distance_bins"], row["distances"]),
        **found,
        "histogram": {
            "bin_edges": edges,
            "bin_values": [round(one * row["queries"]) for one in row["largest"]],
        },
        "statistics": {"n_samples": len(sequences), "n_queries": row["queries"]},
    }


def _distances(bins: Sequence[Sequence[int]], shares: Sequence[float]) -> dict[str, Any]:
    """Both sides together: |q - k| from each edge to the next."""
    whole: dict[int, float] = {}
    for (low, high), share in zip(bins, shares, strict=True):
        first = min(abs(low), abs(high))
        whole[first] = whole.get(first, 0.0) + share
    last = max(high for _, high in bins) + 1
    return {
        "bin_edges": [*sorted(whole), last],
        "bin_values": [round(whole[one], 4) for one in sorted(whole)],
    }


def _sequences(
    explorer: Explorer, store: Store, layer: int, heads: int
) -> list[list[dict[str, Any]]]:
    """Of each head of a layer, the texts of its examples with its weights on them."""
    edges = store.manifest["weight_edges"]
    wanted: dict[int, dict[int, float]] = {}  # by text, the largest weight that each head keeps
    for one in store.rows("head_examples", layer=layer):
        by_head = wanted.setdefault(one["text"], {})
        by_head[one["head"]] = max(by_head.get(one["head"], 0.0), one["weight"])
    found: list[list[dict[str, Any]]] = [[] for _ in range(heads)]
    for text, recording in _recorded(explorer, store, sorted(wanted), layer):
        for head, largest in wanted[text["text"]].items():
            indices, values = _sparse(recording, layer, head)
            found[head].append({
                "sequence_id": text["text"],
                "interval": 1 + int(np.searchsorted(edges, largest, side="right")),
                "tokens": text["tokens"],
                "attention_indices": indices,
                "attention_values": values,
                "seq_len": len(text["tokens"]),
                "max_activation": round(largest, 4),
            })  # fmt: skip
    return [sorted(one, key=lambda s: (-s["max_activation"], s["sequence_id"])) for one in found]


def _recorded(
    explorer: Explorer, store: Store, numbers: Sequence[int], layer: int
) -> Iterator[tuple[dict[str, Any], Recording]]:
    """Texts by their numbers, each with a recording of one layer's queries and keys."""
    waiting = iter(numbers)
    while some := list(islice(waiting, RECORDED)):
        texts = sorted(store.rows("texts", text=some), key=lambda one: int(one["text"]))
        recordings = explorer.record_many(
            [one["content"] for one in texts], keep=of_layers("attention", layer),
            truncate=bool(store.manifest["truncate"]),
        )  # fmt: skip
        yield from zip(texts, recordings, strict=True)


def _sparse(recording: Recording, layer: int, head: int) -> tuple[list[int], list[float]]:
    """The largest weights of each query, by query * length + key, rising."""
    length, indices, values = len(recording), [], []
    for first, low, weights in recording.attention_rows(layer, head):
        block = weights[0].float()
        top = block.topk(min(KEYS, block.shape[1]), dim=-1)
        keep = top.values >= LEAST
        queries = np.arange(first, first + len(block))[:, None]
        flat = (queries * length + low + top.indices.cpu().numpy())[keep.cpu().numpy()]
        order = np.argsort(flat)
        indices += flat[order].tolist()
        values += top.values[keep].cpu().numpy()[order].round(4).astype(float).tolist()
    return indices, [round(one, 4) for one in values]
