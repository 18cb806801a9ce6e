"""The batches to verify on: a text as it is, made long, or beside a shorter one."""

from __future__ import annotations

from collections.abc import Sequence

from mbexplore.network.config import ModernBertConfig

LONG = 1100
"""Tokens from which on all that works block by block has more than one."""

Batch = list[tuple[int, ...]]


def build_batch(
    ids: Sequence[int], config: ModernBertConfig, *, long: bool = False, padded: bool = False
) -> Batch:
    """The batch to verify on: the text itself, made long, or beside its half so that one is padded.

    Args:
        ids: of the text, special tokens included.
        config: says how long a window is.
        long: see `long_batch`.
        padded: see `padded_batch`.
    """
    [text] = long_batch(ids, config) if long else [tuple(ids)]
    return padded_batch(text) if padded else [text]


def long_batch(ids: Sequence[int], config: ModernBertConfig) -> Batch:
    """One text of several windows and blocks, made by repeating a text's tokens.

    At least six windows and `LONG` tokens long, or as long as the model takes; a text that is so
    long stays as it is.
    """
    length = min(config.max_position_embeddings, max(LONG, 6 * config.local_attention))
    if len(ids) >= length:
        return [tuple(ids)]
    inner = tuple(ids[1:-1])
    repeated = inner * (1 + length // max(1, len(inner)))
    return [(ids[0], *repeated[: length - 2], ids[-1])]


def padded_batch(ids: Sequence[int]) -> Batch:
    """The text beside its first half, so that one row is padded, be it of a single token."""
    inner = ids[1:-1]
    return [tuple(ids), (ids[0], *inner[: len(inner) // 2], ids[-1])]
