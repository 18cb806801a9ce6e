"""What is kept of a corpus: integers that can be added, compared and merged in any order.

Every sum is of whole numbers, every list of examples holds the smallest rows of a fixed order, and
samples are the rows with the smallest keyed hashes, so no random state is carried. `merge` is
therefore associative and commutative to the bit. Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import Tensor
from typing_extensions import Self

from mbexplore.analysis.head_masses import COUNTED
from mbexplore.corpus.token_classes import CLASSES
from mbexplore.errors import ModelError, UsageError
from mbexplore.files import write_beside
from mbexplore.network.config import ModernBertConfig
from mbexplore.recording import to_float64

Ints: TypeAlias = npt.NDArray[np.int64]

COUNTS = ("texts", "tokens", "empty", "unusable", "broken")
"""Texts that were run, their tokens, and what was left out: texts without a word or too long, and
rows that can't be read."""

HEAD_SUMS = (
    *COUNTED, "left", "right", "duplicate", "induction", "entropy", "nats", "distance",
    "distance_squared",
)  # fmt: skip
"""What is summed over the rows of a head's maps. The first are masses of `heads`; "duplicate" is
the weight on other occurrences of the query's token and "induction" on the tokens after them;
"entropy" is relative to the log of the keys that are visible, "nats" is not."""

SCALES = {"distance": 2**10, "distance_squared": 2**4}
"""Units of a sum in one: sums of a billion rows of 8,192 tokens fit in 64 bits."""
SCALE = 2**20
WEIGHT = 2**24
"""Units of a weight in 1, as examples hold it."""
VALUE = 2**16
"""Units of an activation in 1."""
PLACED = 2**8
"""Units of an activation times its position in 1."""
NUMBERS = 2**32
"""Texts that one source may have: the key of a text is its source's, times this, and its number."""

WEIGHT_EDGES = (0.2, 0.4, 0.6, 0.8)
"""Between the intervals of a query's largest weight."""
EDGES = {"neuron": (1.0, 2.0, 4.0, 8.0), "feature": (0.0, 1.0, 2.0, 4.0)}
"""Lower ends of the intervals of |activation|, in thresholds: a feature fires as soon as it isn't
0, a neuron where it is beyond its threshold."""

TOP_HEADS, SAMPLED_HEADS = 16, 4
"""Examples of a head: the strongest, and a sample of each interval."""
TOP_UNITS, SAMPLED_UNITS = 8, 2
EMPTY = np.iinfo(np.int64).max
"""What fills the rows of examples that are not there."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a sketch.

    Attributes:
        layers: of the model.
        heads: of a layer.
        neurons: of a layer.
        hidden: channels of the residual stream.
        vocab: tokens.
        half_windows: of each layer; -1 for a global one.
        positions: the most tokens of a text.
        features: of a dictionary; 0 without one.
    """

    layers: int
    heads: int
    neurons: int
    hidden: int
    vocab: int
    half_windows: tuple[int, ...]
    positions: int
    features: int = 0

    @classmethod
    def of(cls, config: ModernBertConfig, features: int = 0) -> Self:
        """The sizes of a model, and of a dictionary."""
        windows = [config.half_window(i) for i in range(config.num_hidden_layers)]
        return cls(
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
            config.hidden_size,
            config.vocab_size,
            tuple(-1 if window is None else window for window in windows),
            config.max_position_embeddings,
            features,
        )

    @property
    def units(self) -> dict[str, tuple[int, int]]:
        """What is looked at alike, by name: layers, or 1, and how many there are in each."""
        features = {"feature": (1, self.features)} if self.features else {}
        return {"neuron": (self.layers, self.neurons), **features}

    @property
    def distance_bins(self) -> tuple[tuple[int, int], ...]:
        """First and last offset, key less query, of each bin; those at the window's edge alone."""
        starts = {0, 1, 2, 3, *(2**n + 1 for n in range(2, 40))}
        for window in set(self.half_windows) - {-1}:
            starts |= {window, window + 1}
        rising = sorted(start for start in starts if start < self.positions)
        right = [
            (low, high - 1) for low, high in zip(rising, [*rising[1:], self.positions], strict=True)
        ]
        return (*((-high, -low) for low, high in reversed(right[1:])), *right)


def _arrays(shape: Shape) -> dict[str, tuple[tuple[int, ...], int]]:
    """The size of each array and what it is filled with at first."""
    heads = (shape.layers, shape.heads)
    states, strong = shape.layers + 1, len(WEIGHT_EDGES) + 1
    return {
        "counts": ((len(COUNTS),), 0),
        "token_counts": ((shape.vocab,), 0),
        "class_counts": ((len(CLASSES),), 0),
        "position_sums": ((2,), 0),
        "head_rows": ((shape.layers, len(HEAD_SUMS)), 0),
        "head_sums": ((*heads, len(HEAD_SUMS)), 0),
        "distances": ((*heads, len(shape.distance_bins)), 0),
        "largest": ((*heads, strong), 0),
        "query_tokens": ((shape.vocab, *heads), 0),
        "key_tokens": ((shape.vocab, *heads), 0),
        "head_top": ((*heads, TOP_HEADS, 5), EMPTY),
        "head_sample": ((*heads, strong, SAMPLED_HEADS, 5), EMPTY),
        "norm_sums": ((states,), 0),
        "norm_most": ((states,), 0),
        "channel_most": ((states, shape.hidden), 0),
        "channel_top": ((states, TOP_HEADS, 5), EMPTY),
        **{
            f"{unit}_{name}": ((*places, *size), value)
            for unit, places in shape.units.items()
            for name, (size, value) in _UNIT_ARRAYS.items()
        },
    }


_UNIT_ARRAYS: dict[str, tuple[tuple[int, ...], int]] = {
    "fired": ((4,), 0),
    "sums": ((2,), 0),
    "classes": ((len(CLASSES),), 0),
    "positions": ((), 0),
    "extremes": ((2,), -EMPTY),
    "top": ((TOP_UNITS, 4), EMPTY),
    "sample": ((4, SAMPLED_UNITS, 4), EMPTY),
}
"""Of each neuron or feature; `EDGES` has four of either."""


TOKEN_TABLES = ("query_tokens", "key_tokens")
"""Arrays of which most rows are empty: files hold the others alone, and memory that nothing was
written to isn't taken up."""
MAXIMA = ("_extremes", "_most")
EXAMPLES = ("_top", "_sample")
"""How the names of arrays end that aren't added. Of examples the smallest rows are kept, in rising
order: an order (less the strength, or a hash), the text's key, the query or token, and for heads
the key and the weight, for neurons and features the activation, for channels the channel and its
value."""


def rounded(values: Tensor, scale: float | Sequence[int]) -> Ints:
    """Numbers in whole units, of which `scale` make 1."""
    units = torch.as_tensor(scale, dtype=torch.float64)
    found: Ints = (to_float64(values) * units).round().long().numpy()
    return found


def smallest(rows: Ints, count: int) -> Ints:
    """The first rows in lexicographic order, (..., count, columns); those missing are `EMPTY`.

    Args:
        rows: (..., rows, columns).
        count: how many are kept.
    """
    missing = count - rows.shape[-2]
    if missing > 0:
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 2) + [(0, missing), (0, 0)],
                      constant_values=EMPTY)  # fmt: skip
    order = np.lexsort([rows[..., column] for column in reversed(range(3))])
    kept: Ints = np.take_along_axis(rows, order[..., :count, None], axis=-2)
    return kept


def hashes(seed: int, place: Ints | int, text: Ints, position: Ints) -> Ints:
    """Hashes of uses, whole numbers below 2**63: a sample is the uses with the smallest.

    The finaliser of SplitMix64 (Steele et al. 2014) over all four, so a use has the hash that it
    has in any block, on any machine.

    Args:
        seed: of the sample.
        place: of the head or the neuron in the model.
        text: key of the text.
        position: of the token.
    """
    state = _mixed(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15))
    for part in (text, position, place):
        state = _mixed(np.asarray(part).astype(np.uint64) ^ state)
    found: Ints = (state >> np.uint64(1)).astype(np.int64)
    return found


def _mixed(x: Any) -> Any:
    with np.errstate(over="ignore"):
        x = (x + np.uint64(0x9E3779B97F4A7C15)).astype(np.uint64)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


@dataclass
class Sketch:
    """What some blocks of a corpus gave.

    Attributes:
        shape: of the model.
        about: what it depends on, as JSON holds it: model, seed.
        sources: what its texts are from, by the source's key.
        blocks: keys of the blocks that are in it.
        arrays: by name, see `_arrays`; all of int64.
    """

    shape: Shape
    about: Mapping[str, Any]
    sources: dict[str, Any] = field(default_factory=dict)
    blocks: set[int] = field(default_factory=set)
    arrays: dict[str, Ints] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (size, value) in _arrays(self.shape).items():
            if name not in self.arrays:
                self.arrays[name] = np.zeros(size, dtype=np.int64)
                if value:
                    self.arrays[name].fill(value)

    def keep(self, name: str, place: Any, order: Ints, *columns: Ints) -> None:
        """Takes in examples: the smallest of these and of those that are there.

        Args:
            name: of the array.
            place: the layer, or what is indexed before groups and rows.
            order: (groups, rows), the first column; `EMPTY` where there is no example.
            columns: the others, of that shape or broadcast to it.
        """
        there = self.arrays[name][place]
        count = there.shape[-2]
        edge = there[:, -1, :1]  # once there are many texts, few rows come before the last one
        if order.shape[1] > 4 * count:
            edge = np.minimum(edge, np.partition(order, count - 1, axis=1)[:, count - 1 : count])
        inside = (order <= edge) & (order != EMPTY)  # ties are decided by text and position
        chosen = np.flatnonzero(inside.any(axis=1))
        if not len(chosen):
            return
        first = np.where(inside[chosen], order[chosen], EMPTY)
        most = int(inside[chosen].sum(axis=1).max())
        picked = np.argpartition(first, most - 1, axis=1)[:, :most]
        rows = [np.take_along_axis(first, picked, axis=1)]
        for column in columns:
            wide = np.broadcast_to(column, order.shape)[chosen]
            rows.append(np.where(rows[0] == EMPTY, EMPTY, np.take_along_axis(wide, picked, axis=1)))
        both = np.concatenate((there[chosen], np.stack(rows, axis=-1)), axis=-2)
        there[chosen] = smallest(both, count)

    def add(self, other: Sketch) -> None:
        """Takes in what other blocks gave, of the same texts or of others.

        Raises:
            UsageError: it is of another model, or has a block that is in this one.
        """
        if (self.shape, dict(self.about)) != (other.shape, dict(other.about)):
            raise UsageError(
                "The two sketches are of different models, options or versions; build both anew."
            )
        if twice := self.blocks & other.blocks:
            source = self.sources.get(str(min(twice) // NUMBERS), {"file": "a source"})
            raise UsageError(
                f"Texts of {source['file']} are in both sketches; merge those of different texts."
            )
        self.sources |= other.sources
        for name, mine in self.arrays.items():
            theirs = other.arrays[name]
            if name in TOKEN_TABLES:
                seen = np.flatnonzero(other.arrays["token_counts"])
                mine[seen] += theirs[seen]
            elif name.endswith(EXAMPLES):
                both = np.concatenate((mine, theirs), axis=-2)
                self.arrays[name] = smallest(both, mine.shape[-2])
            elif name.endswith(MAXIMA):
                np.maximum(mine, theirs, out=mine)
            else:
                mine += theirs
        self.blocks |= other.blocks

    def save(self, path: Path, names: Collection[str] | None = None) -> None:
        """Writes it whole, the same bytes for the same content.

        Args:
            path: of the file.
            names: of the arrays that are kept; None for all.

        Raises:
            OSError: it can't be written.
        """
        kept = [name for name in self.arrays if names is None or name in names]
        tensors = {name: self.arrays[name] for name in kept if name not in TOKEN_TABLES}
        for name in (name for name in TOKEN_TABLES if name in kept):
            seen = np.flatnonzero(self.arrays["token_counts"])
            tensors |= {f"{name}.ids": seen, name: self.arrays[name][seen]}
        tensors["blocks"] = np.array(sorted(self.blocks), dtype=np.int64)
        # One entry: safetensors writes several in any order.
        header = {"sketch": json.dumps([self.about, self.sources], sort_keys=True)}
        write_beside(path, lambda beside: save_file(tensors, beside, header))

    @classmethod
    def load(cls, path: Path, shape: Shape) -> Self:
        """Opens what `save` wrote.

        Raises:
            ModelError: it holds no sketch of this shape.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                about, sources = json.loads(file.metadata()["sketch"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            blocks = set(arrays.pop("blocks").tolist())
            for name in (name for name in TOKEN_TABLES if name in arrays):
                ids, dense = arrays.pop(f"{name}.ids"), np.zeros(_arrays(shape)[name][0], np.int64)
                dense[ids] = arrays[name]
                arrays[name] = dense
            if any(
                arrays[n].shape != size for n, (size, _) in _arrays(shape).items() if n in arrays
            ):
                raise ValueError("of another size")
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, IndexError) as error:
            raise ModelError(
                f"{path} holds no sketch of this model ({error}); remove it and build it again."
            ) from None
        return cls(shape, about, sources, blocks, arrays)

    @staticmethod
    def read_blocks(path: Path) -> set[int]:
        """The keys of the blocks that a file has; nothing else of it is read.

        Raises:
            ModelError: it holds no sketch.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                return set(file.get_tensor("blocks").tolist())
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} holds no sketch ({error}); remove it.") from None


def merge(sketches: Iterable[Sketch], empty: Callable[[], Sketch]) -> Sketch:
    """All blocks of some sketches in one; the same to the bit in any order.

    Args:
        sketches: of different blocks.
        empty: makes one that has no block.

    Raises:
        UsageError: see `Sketch.add`.
    """
    whole = empty()
    for sketch in sketches:
        whole.add(sketch)
    return whole
