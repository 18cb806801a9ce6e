"""A small corpus, and a script that does with every map in memory what `corpus build` does."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

TEXTS = 32
METRICS = ("self", "previous", "next", "left", "distance", "nats")
"""Compared of every head before anything is timed."""
EXAMPLES = 16
BATCH = 8
"""Texts of a batch on transformers' side, whose maps are in memory together: as Neuronpedia's
pipeline for HeadVis runs every model. Its default is 4, its example of one model has 16."""

FRESH = """
import shutil, sys
shutil.rmtree(sys.argv.pop(1), ignore_errors=True)
from mbexplore.cli import main
main()
"""
"""`mbexplore` after a folder is removed: a finished corpus isn't written over."""

SCRIPT = f"""
import json, sys, torch
from pathlib import Path
from transformers import AutoModel, AutoTokenizer
model = AutoModel.from_pretrained(sys.argv[1], attn_implementation="eager", dtype=torch.float32)
model.eval()
tokenizer, folder = AutoTokenizer.from_pretrained(sys.argv[1]), Path(sys.argv[3])
lines = Path(sys.argv[2]).read_text().splitlines()
layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
names, longest = {METRICS}, model.config.max_position_embeddings
sums = torch.zeros(layers, heads, len(names), dtype=torch.float64)
rows = torch.zeros(len(names), dtype=torch.float64)
distances = torch.zeros(layers, heads, 2 * longest - 1, dtype=torch.float64)
best = [[[] for _ in range(heads)] for _ in range(layers)]
for start in range(0, len(lines), {BATCH}):
    batch = tokenizer(lines[start : start + {BATCH}], return_tensors="pt", padding=True)
    with torch.inference_mode():
        maps = model(**batch, output_attentions=True).attentions
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    for row, length in enumerate(lengths):
        places = torch.arange(length)
        offsets = places - places[:, None]
        rows += torch.tensor([length, length - 1, length - 1, length - 1, length, length])
        tokens = tokenizer.convert_ids_to_tokens(batch["input_ids"][row, :length].tolist())
        for layer in range(layers):
            map_ = maps[layer][row, :, :length, :length]
            away = map_ * offsets.abs()
            left, entropy = map_.tril(-1), torch.special.entr(map_)
            at = [map_.diagonal(of, 1, 2).double().sum(1) for of in (0, -1, 1)]
            at += [one.double().sum((1, 2)) for one in (left, away, entropy)]
            sums[layer] += torch.stack(at, dim=1)
            flat = (offsets + longest - 1).flatten()
            distances[layer].index_add_(1, flat, map_.flatten(1).double())
            for head, most in enumerate(map_.amax(dim=(1, 2)).tolist()):
                kept = best[layer][head]
                if len(kept) < {EXAMPLES} or most > kept[-1]["weight"]:
                    some = (map_[head] > 0.02).nonzero()
                    weights = [[q, k, round(float(map_[head, q, k]), 4)] for q, k in some.tolist()]
                    kept.append(dict(weight=most, tokens=tokens, weights=weights))
                    kept.sort(key=lambda one: -one["weight"])
                    del kept[{EXAMPLES}:]
means = (sums / rows).tolist()
(folder / "heads").mkdir(parents=True, exist_ok=True)
(folder / "config.json").write_text(json.dumps(dict(layers=layers, heads=heads)))
(folder / "scatter_data.json").write_text(json.dumps([
    dict(layer=layer, head=head, **dict(zip(names, means[layer][head])))
    for layer in range(layers) for head in range(heads)
]))
for layer in range(layers):
    for head in range(heads):
        found = dict(distances=distances[layer, head].tolist(), examples=best[layer][head])
        (folder / "heads" / f"L{{layer}}H{{head}}.json").write_text(json.dumps(found))
"""
"""How a tree like HeadVis's (Anthropic 2026, github.com/anthropics/headvis) is filled with eager
attention: config.json, scatter_data.json and a file a head with its strongest examples."""

_WORDS = (
    ("The", "This", "Every", "Our", "A"),
    ("river", "harbour", "village", "teacher", "king", "ship", "old bridge", "small island"),
    ("is", "was", "comes from", "lies near", "belongs to"),
    ("the north", "the old town", "the sea", "a long time", "every year"),
)
_TOKENS = 7.6
"""Of such a sentence in the bundled vocabulary, about."""


def make_texts(tokens: int, count: int = TEXTS) -> list[str]:
    """Texts of about so many tokens, none twice.

    Args:
        tokens: of each.
        count: how many.
    """
    sentences = [" ".join(words) + "." for words in product(*_WORDS)]
    draw = Random(tokens)
    most = max(1, round(tokens / _TOKENS))
    return [" ".join(draw.choices(sentences, k=most)) for _ in range(count)]


def read_ours(folder: Path) -> NDArray[np.float64]:
    """`METRICS` (head, metric) of a store."""
    from pyarrow import parquet

    rows = parquet.read_table(folder / "heads.parquet", columns=list(METRICS)).to_pylist()
    return np.array([[row[name] for name in METRICS] for row in rows], dtype=np.float64)


def read_theirs(folder: Path) -> NDArray[np.float64]:
    """The same of what `SCRIPT` wrote."""
    rows = json.loads((folder / "scatter_data.json").read_text())
    return np.array([[row[name] for name in METRICS] for row in rows], dtype=np.float64)
