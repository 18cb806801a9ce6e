"""The texts both sides run: made from numbers alone, so that both have the same. Loads nothing."""

from __future__ import annotations

from random import Random

FEATURES, LOGITS = "features.onnx", "logits.onnx"
"""Files of the exported encoder, and of the model with its head at some positions."""

LOWEST_ID = 5  # the special tokens of every model here are below it, or far above


def make_ids(tokens: int, vocabulary: int) -> list[int]:
    """Token ids of one text."""
    return Random(tokens).choices(range(LOWEST_ID, vocabulary), k=tokens)


def make_batch(longest: int, vocabulary: int, texts: int = 64) -> list[list[int]]:
    """Token ids of texts whose lengths are spread evenly from 10 to `longest`."""
    draw = Random(longest)
    lengths = [draw.randint(min(10, longest), longest) for _ in range(texts)]
    return [draw.choices(range(LOWEST_ID, vocabulary), k=length) for length in lengths]
