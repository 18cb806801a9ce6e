"""Sentence vectors: the encoder's last hidden states pooled, and how near the texts are.

Each text is run alone, so its vector does not depend on the others. Works on any checkpoint, with
a head or without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer, check_finite

POOLINGS = ("mean", "cls")


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The vectors of some texts.

    Attributes:
        encodings: one a text.
        pooling: "mean" or "cls".
        vectors: (text, hidden), float32 or wider, not normalised.
    """

    encodings: tuple[Encoding, ...]
    pooling: str
    vectors: Tensor

    @property
    def cosine(self) -> Tensor:
        """Cosine between every two texts (text, text), from -1 to 1."""
        unit = torch.nn.functional.normalize(self.vectors, dim=-1)
        return (unit @ unit.T).clamp(-1.0, 1.0)


def embed(
    explorer: Explorer, texts: Sequence[str], pooling: str = "mean", *, truncate: bool = False
) -> Embeddings:
    """The sentence vectors of texts.

    Args:
        explorer: any model of the family.
        texts: one or more.
        pooling: "mean" over all tokens, the special ones too, as sentence-transformers takes it;
            or "cls", the first token's. A checkpoint wants the one it was trained with.
        truncate: whether to cut a text that is longer than the model takes.

    Raises:
        RangeError: there is no such pooling.
        TextError: there is no text, or one is empty or too long.
        ModelError: the model's numbers are not finite.
    """
    if pooling not in POOLINGS:
        raise RangeError(f"There is no pooling {pooling!r}; choose {' or '.join(POOLINGS)}.")
    if not texts:
        raise TextError("No text was given; give at least one.")
    encodings = tuple(explorer.encode(text, truncate=truncate) for text in texts)
    vectors = [pool(_hidden_states(explorer, encoding), pooling) for encoding in encodings]
    return Embeddings(encodings, pooling, torch.stack(vectors))


def pool(hidden_states: Tensor, pooling: str) -> Tensor:
    """One vector (hidden) of a text's hidden states (seq, hidden)."""
    wide = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
    return wide[0] if pooling == "cls" else wide.mean(dim=0)


def _hidden_states(explorer: Explorer, encoding: Encoding) -> Tensor:
    """After the final norm, (seq, hidden)."""
    ids = torch.tensor([encoding.ids], device=explorer.model.device)
    with torch.inference_mode():
        hidden_states: Tensor = explorer.model.encoder(ids)[0]
    check_finite(explorer.model, hidden_states)
    return hidden_states
