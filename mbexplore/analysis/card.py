"""The model card of a checkpoint, from its config and the header of its weights alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod

from mbexplore.checkpoints.folder import checkpoint_files
from mbexplore.checkpoints.hub import ModelFiles
from mbexplore.checkpoints.weights import Checkpoint
from mbexplore.errors import RangeError
from mbexplore.network.config import LayerKind, ModernBertConfig

FLOAT32 = 4
"""Bytes of a float32, the type that maps are derived in."""

_PARTS = {
    "tok_embeddings": "token embeddings",
    "attn": "attention",
    "mlp": "MLP",
    "head": "prediction head",
    "decoder": "decoder",
}


@dataclass(frozen=True)
class LayerCard:
    """One layer: what it can see, and its size.

    Attributes:
        layer: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        half_window: tokens seen on each side, None for a global layer.
        parameters: numbers in its weights, norms included.
    """

    layer: int
    kind: LayerKind
    theta: float
    half_window: int | None
    parameters: int


@dataclass(frozen=True)
class MapMemory:
    """Bytes in float32 that attention takes for a text of `length` tokens.

    Attributes:
        length: tokens.
        one_map: one head of one layer, dense.
        one_layer: every head of one layer, dense.
        one_band: every head of one local layer, straightened.
        all_maps: every layer and head, dense: what `output_attentions=True` allocates.
        recorded: the rotated queries and keys of every layer, from which any part is derived.
    """

    length: int
    one_map: int
    one_layer: int
    one_band: int
    all_maps: int
    recorded: int


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint is.

    Attributes:
        name: as the user wrote it.
        source: "bundled", the hub id, or the folder.
        config: its dimensions and constants.
        has_head: whether the file holds the MLM head.
        parameters: numbers in all weights; a tied decoder counts once.
        parts: the same by part of the model; they add up to `parameters`.
        dtypes: on disk, with the parameters stored in each.
        file_bytes: size of the weights on disk.
        layers: one entry a layer.
        memory: of attention at a length.
    """

    name: str
    source: str
    config: ModernBertConfig
    has_head: bool
    parameters: int
    parts: dict[str, int]
    dtypes: dict[str, int]
    file_bytes: int
    layers: tuple[LayerCard, ...]
    memory: MapMemory


def read_card(files: ModelFiles, length: int | None = None) -> ModelCard:
    """The card of a checkpoint; no weight is read, only the header that names them.

    Args:
        files: where the model lies.
        length: tokens to count memory for; None for the most that the model takes.

    Raises:
        ModelError: a file is missing or can't be read.
        RangeError: the length is outside 1 .. `max_position_embeddings`.
    """
    config = ModernBertConfig.from_folder(files.folder)
    with Checkpoint(files.folder) as checkpoint:
        shapes, dtypes = dict(checkpoint.shapes), dict(checkpoint.dtypes)
    if config.tie_word_embeddings:
        shapes.pop("decoder.weight", None)  # the embeddings once more
    parts, stored, in_layer = Counter[str](), Counter[str](), Counter[int]()
    for key, shape in shapes.items():
        size, names = prod(shape), key.removeprefix("model.").split(".")
        parts[_part(names)] += size
        stored[str(dtypes[key]).removeprefix("torch.")] += size
        if names[0] == "layers" and names[1:2] and names[1].isdecimal():
            in_layer[int(names[1])] += size
    return ModelCard(
        name=files.name,
        source=files.source,
        config=config,
        has_head="head.dense.weight" in shapes and "classifier.weight" not in shapes,
        parameters=sum(parts.values()),
        parts=dict(parts.most_common()),
        dtypes=dict(stored.most_common()),
        file_bytes=sum(path.stat().st_size for path in checkpoint_files(files.folder)),
        layers=tuple(
            LayerCard(i, kind, config.theta(i), config.half_window(i), in_layer[i])
            for i, kind in enumerate(config.layer_kinds)
        ),
        memory=map_memory(config, length),
    )


def map_memory(config: ModernBertConfig, length: int | None = None) -> MapMemory:
    """What attention takes at a length, in bytes; see `MapMemory`.

    Raises:
        RangeError: the length is outside 1 .. `max_position_embeddings`.
    """
    limit = config.max_position_embeddings
    seq = limit if length is None else length
    if not 1 <= seq <= limit:
        raise RangeError(f"The length is {seq:,}; choose 1 to {limit:,}, the model's limit.")
    heads, layers = config.num_attention_heads, config.num_hidden_layers
    one_map = seq * seq * FLOAT32
    return MapMemory(
        length=seq,
        one_map=one_map,
        one_layer=heads * one_map,
        one_band=heads * seq * (2 * (config.local_attention // 2) + 1) * FLOAT32,
        all_maps=layers * heads * one_map,
        recorded=2 * layers * seq * config.hidden_size * FLOAT32,
    )


def _part(names: list[str]) -> str:
    if any("norm" in name for name in names):
        return "norms"
    return next((_PARTS[name] for name in names if name in _PARTS), "other")
