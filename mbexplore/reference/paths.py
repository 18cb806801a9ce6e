"""The other ways to the same values: packed texts, chosen rows, parts of a map, bands.

`predict` packs texts and computes the last layer at the masks alone; `attention` derives tiles,
single rows and bands. Each is compared with the plain forward pass, so that a fault in one of them
is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.network.model import PretrainedModel
from mbexplore.network.packing import PACK, run_packed
from mbexplore.recording import Recording
from mbexplore.reference.forward import ROTATED, Forward

PACKED, ROWS, TILE, BAND = PATHS = (
    "packed texts",
    "chosen rows",
    "part of a map",
    "band of a map",
)


@dataclass(frozen=True, eq=False)
class PathValue:
    """A value computed on another path than the plain forward pass.

    Attributes:
        path: one of `PATHS`.
        place: of the same value in the forward pass; see `forward.places`.
        row: which text of the batch.
        value: what the path gives.
        select: the part of the place's value that it should be.
    """

    path: str
    place: str
    row: int
    value: Tensor
    select: Callable[[Tensor], Tensor]


def path_values(
    model: PretrainedModel,
    batch: Sequence[tuple[int, ...]],
    together: Forward | None,
    alone: Sequence[Forward] = (),
) -> Iterator[PathValue]:
    """What every path gives for a batch.

    Args:
        model: ours, in any dtype.
        batch: token ids of each text.
        together: a forward pass over the padded batch; None where there is one a text.
        alone: forward passes over each text.
    """
    yield from _packed(model, batch)
    yield from _rows(model, batch)
    for row, ids in enumerate(batch):
        passed, at = (alone[row], 0) if together is None else (together, row)
        yield from _maps(model, ids, row, passed, at)


def _packed(model: PretrainedModel, batch: Sequence[tuple[int, ...]]) -> Iterator[PathValue]:
    texts = [*batch, *batch]  # also a single text has a neighbour
    for number, value in enumerate(run_packed(model.encoder, texts)):
        yield PathValue(PACKED, "final_norm", number % len(batch), value, lambda whole: whole)


def _rows(model: PretrainedModel, batch: Sequence[tuple[int, ...]]) -> Iterator[PathValue]:
    chosen = [sorted({0, len(ids) // 2, len(ids) - 1}) for ids in batch]
    # A row to each text, as for one text alone, and then all of them in one.
    for most in (1, PACK):
        for row, value in enumerate(run_packed(model.encoder, batch, chosen, most)):
            yield PathValue(ROWS, "final_norm", row, value, itemgetter(chosen[row]))


def _maps(
    model: PretrainedModel, ids: tuple[int, ...], row: int, passed: Forward, at: int
) -> Iterator[PathValue]:
    """A tile, a single row and the band of every layer."""
    seq, config = len(ids), model.config
    encoding = Encoding("", ids, ("",) * seq, ((0, 0),) * seq, (None,) * seq, (), seq)
    middle, queries, keys = seq // 2, slice(seq // 3, seq), slice(0, seq // 2 + 1)
    for layer in range(config.num_hidden_layers):
        names = [f"layers.{layer}.{tap}" for tap in ROTATED]
        values = {name: passed.tap(name, at) for name in names}
        recording = Recording(encoding, config, values, None)
        place, half_window = f"layers.{layer}.attention", config.half_window(layer)
        tile = recording.attention(layer, 0, queries, keys)
        yield PathValue(TILE, place, row, tile, lambda whole: whole[:1, queries, keys])
        single = recording.attention(layer, None, middle)
        yield PathValue(TILE, place, row, single, lambda whole: whole[:, middle : middle + 1])
        if half_window is not None:
            band = recording.attention_band(layer)
            yield PathValue(BAND, place, row, band, partial(straightened, half_window=half_window))


def straightened(weights: Tensor, half_window: int) -> Tensor:
    """The band of a whole map (heads, query, key): column c is the key at query - half_window + c.

    Zero where that key would lie outside the text.
    """
    padded = torch.nn.functional.pad(weights, (half_window, half_window))
    seq, width = weights.shape[1], 2 * half_window + 1
    columns = torch.arange(seq)[:, None] + torch.arange(width)
    return padded.gather(2, columns.expand(len(weights), -1, -1))
