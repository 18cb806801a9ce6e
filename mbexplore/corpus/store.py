"""A finished corpus in a folder: Parquet tables that any tool reads, and a manifest.

heads.parquet: layer, head, kind, queries, queries_METRIC (over how many of them a metric is a
mean), a column for each of `METRICS`, distances (share of weight by bin of key less query, the bins
in the manifest) and largest (share of queries by interval of their largest weight); these with
control_ before them where a control was run.
head_examples.parquet: layer, head, interval ("strongest", or from which weight on), rank, text,
query, key, query_token, key_token, weight.
head_tokens.parquet: layer, head, role (query or key), rank, token_id, token, occurrences, weight:
summed over a query's largest weights, or over all weight that keys get.
sinks.parquet: layer, rank, token_id, token, occurrences, share (of the weight of all heads) and
lift (that share over the token's share of the tokens).
neurons.parquet: layer, neuron, tokens, threshold, firing_rate, firing (shares of tokens beyond each
of the manifest's firing_edges, in thresholds), mean, root_mean_square, largest, smallest,
control_firing where a control was run (by its own thresholds), and correlation_ with each of
`CLASSES` and with the position (Pearson's, of the activation; null where one of them is always the
same).
neuron_examples.parquet: layer, neuron, interval, rank, text, position, token, activation.
features.parquet and feature_examples.parquet: the same with feature for layer and neuron, where a
dictionary was given; it is kept as dictionary.safetensors.
states.parquet: state, mean_norm, largest_norm, channels (the largest |value| of each).
channel_examples.parquet: state, rank, text, position, token, channel, value.
texts.parquet: text (its number in the corpus, from 0), id, content, tokens, of the examples.
sketch.safetensors and control.safetensors are what stores are merged from; see `sketch`.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mbexplore import __version__
from mbexplore.corpus.dictionary import FILE as DICTIONARY
from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.sketch import (
    COUNTS,
    EDGES,
    EMPTY,
    EXAMPLES,
    NUMBERS,
    WEIGHT_EDGES,
    Ints,
    Sketch,
)
from mbexplore.corpus.sources import Numbers, Source, describe_corpus
from mbexplore.corpus.tables import METRICS as METRICS
from mbexplore.corpus.tables import Columns, arrow, build_tables
from mbexplore.explorer import Explorer
from mbexplore.files import write_beside, write_whole, writing

TABLES = (
    "heads", "head_examples", "head_tokens", "sinks", "neurons", "neuron_examples", "states",
    "channel_examples", "texts",
)  # fmt: skip
OF_FEATURES = ("features", "feature_examples")
"""Tables that are there where a dictionary was given."""
MANIFEST = "manifest.json"
SKETCH_FILE, CONTROL_FILE = "sketch.safetensors", "control.safetensors"
OF_CONTROL = (
    "counts", "head_rows", "head_sums", "distances", "largest", "norm_sums", "neuron_fired",
    "feature_fired",
)  # fmt: skip
"""What a store says of its control follows from these alone."""
_COMPRESSION = {"compression": "zstd", "compression_level": 19}
_ROWS = 4096
"""Texts that are written together."""


@dataclass(frozen=True)
class Text:
    """A text that examples are of.

    Attributes:
        key: see `sketch.NUMBERS`.
        id: in its source.
        content: the text.
        tokens: of it.
    """

    key: int
    id: str
    content: str
    tokens: Sequence[str]


def write_store(
    folder: Path,
    explorer: Explorer,
    texts: Iterable[Text],
    sketch: Sketch,
    control: Sketch | None = None,
    dictionary: Dictionary | None = None,
) -> None:
    """Writes all tables, the sketches and, last, the manifest.

    Args:
        folder: is there.
        explorer: whose model ran.
        texts: those that examples are of, at least, in the order of the store.
        sketch: of all blocks.
        control: the same of the control.
        dictionary: whose features were looked at.

    Raises:
        OutputError: a file can't be written.
        UsageError: pyarrow is missing.
    """
    numbers = Numbers(sketch.sources)
    tokens = _write_texts(folder / "texts.parquet", texts, sketch, numbers)

    def named(keys: Ints, positions: Ints) -> list[str]:
        return [tokens[pair] for pair in zip(keys.tolist(), positions.tolist(), strict=True)]

    tables = build_tables(explorer, sketch, control, numbers, named)
    for name, columns in tables.items():
        _write_table(folder / f"{name}.parquet", columns)
    save_sketch(sketch, folder / SKETCH_FILE)
    if control is not None:
        save_sketch(control, folder / CONTROL_FILE, OF_CONTROL)
    if dictionary is not None:
        with writing(folder / DICTIONARY, "; make room and build again."):
            dictionary.save(folder / DICTIONARY)
    about = _manifest(sketch, control)
    manifest = json.dumps(about, indent=1, ensure_ascii=False, sort_keys=True)
    write_whole(folder / MANIFEST, manifest.encode())


def save_sketch(sketch: Sketch, path: Path, names: Sequence[str] | None = None) -> None:
    """Writes a sketch whole, or some of its arrays.

    Raises:
        OutputError: it can't be written; what was there before is unharmed.
    """
    with writing(path, "; make room, or choose another folder."):
        sketch.save(path, names)


def _write_texts(
    path: Path, texts: Iterable[Text], sketch: Sketch, numbers: Numbers
) -> dict[tuple[int, int], str]:
    """Writes the texts that examples are of, and names the tokens that examples are at."""
    pyarrow, parquet = arrow()
    wanted = _places(sketch)
    found: dict[tuple[int, int], str] = {}
    strings = pyarrow.list_(pyarrow.string())
    kinds = {"text": pyarrow.int64(), "id": pyarrow.string(), "content": pyarrow.string()}
    schema = pyarrow.schema({**kinds, "tokens": strings})

    def rows() -> Iterator[Columns]:
        for text in texts:
            for position in wanted.get(text.key, ()):
                found[text.key, position] = sys.intern(text.tokens[position])
            if text.key in wanted:
                yield {
                    "text": int(numbers.of(np.array(text.key))), "id": text.id,
                    "content": text.content, "tokens": text.tokens,
                }  # fmt: skip

    def write(beside: Path) -> None:
        waiting = rows()
        with parquet.ParquetWriter(beside, schema, **_COMPRESSION) as writer:
            while some := list(islice(waiting, _ROWS)):  # the same groups, wherever texts are from
                writer.write_table(pyarrow.Table.from_pylist(some, schema))

    with writing(path, "; make room and build again."):
        write_beside(path, write)
    return found


def _places(sketch: Sketch) -> dict[int, list[int]]:
    """The tokens that examples are at, by the key of their text."""
    pairs = []
    for name in (name for name in sketch.arrays if name.endswith(EXAMPLES)):
        rows = sketch.arrays[name].reshape(-1, sketch.arrays[name].shape[-1])
        real = rows[rows[:, 0] != EMPTY]
        pairs += [real[:, 1:3]] + [real[:, [1, 3]]] * name.startswith("head")
    found: dict[int, list[int]] = {}
    for key, position in np.unique(np.concatenate(pairs), axis=0).tolist():
        found.setdefault(key, []).append(position)
    return found


def _write_table(path: Path, columns: Columns) -> None:
    pyarrow, parquet = arrow()
    table = pyarrow.table(columns)
    with writing(path, "; make room and build again."):
        write_beside(path, lambda beside: parquet.write_table(table, beside, **_COMPRESSION))


def _manifest(sketch: Sketch, control: Sketch | None) -> dict[str, Any]:
    counts = dict(zip(COUNTS, sketch.arrays["counts"].tolist(), strict=True))
    return (
        dict(sketch.about)
        | describe_corpus(sketch.sources)
        | {
            **counts,
            "control": None if control is None else sketch.about["control"],
            "distance_bins": sketch.shape.distance_bins,
            "weight_edges": WEIGHT_EDGES,
            "firing_edges": EDGES,
            "versions": {"mbexplore": __version__, "python": platform.python_version()}
            | {name: version(name).partition("+")[0] for name in ("torch", "numpy", "pyarrow")},
        }
    )


def read_texts(explorer: Explorer, sources: Sequence[Source], sketch: Sketch) -> Iterator[Text]:
    """The texts that examples are of, out of their sources once more.

    Raises:
        TextError: one can't be read.
    """
    wanted = _places(sketch)
    for source in sources:
        for key, prompt in enumerate(source.prompts.each(), source.key * NUMBERS):
            if key in wanted:
                encoding = explorer.encode(prompt.text, truncate=bool(sketch.about["truncate"]))
                yield Text(key, str(prompt.id), prompt.text, encoding.tokens)
