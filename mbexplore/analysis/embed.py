"""Sentence vectors: the encoder's last hidden states pooled, and how near the texts are.

Each text is run alone, so its vector does not depend on the others. Works on any checkpoint, with
a head or without; the folder of a sentence-transformers model says itself how it pools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.sentence_transformers import (
    POOLINGS,
    SentenceModel,
    read_sentence_model,
)
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer, check_finite
from mbexplore.text import quoted

DEFAULT_POOLING = "mean"


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The vectors of some texts.

    Attributes:
        texts: as they were given.
        encodings: one a text, with the prompt before it.
        pooling: the pooling, or all steps that the model's folder asks for.
        is_own: whether they are those of the model's folder.
        prompt: name of the prompt before each text; None for none.
        vectors: (text, hidden), float32 or wider, normalised only where the folder says so.
    """

    texts: tuple[str, ...]
    encodings: tuple[Encoding, ...]
    pooling: str
    vectors: Tensor
    is_own: bool = False
    prompt: str | None = None

    @property
    def cosine(self) -> Tensor:
        """Cosine between every two texts (text, text), from -1 to 1."""
        unit = torch.nn.functional.normalize(self.vectors, dim=-1)
        return (unit @ unit.T).clamp(-1.0, 1.0)


def embed(
    explorer: Explorer,
    texts: Sequence[str],
    pooling: str | None = None,
    *,
    prompt: str | None = None,
    truncate: bool = False,
) -> Embeddings:
    """The sentence vectors of texts.

    Args:
        explorer: any model of the family.
        texts: one or more.
        pooling: one of `POOLINGS` over all tokens, the special ones too, and nothing after it;
            None for what the model's folder says (sentence-transformers' modules.json, with its
            dense layers and normalisation), or "mean" where it says nothing.
        prompt: name of a prompt of the folder to put before each text; None for its default.
        truncate: whether to cut a text that is longer than the model takes.

    Raises:
        RangeError: there is no such pooling or prompt.
        TextError: there is no text, or one is empty or too long.
        ModelError: the model's numbers are not finite, or its folder asks for what is not computed.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise RangeError(f"There is no pooling {quoted(pooling)}; choose {', '.join(POOLINGS)}.")
    if not texts:
        raise TextError("No text was given; give at least one.")
    own = read_sentence_model(explorer.files.folder) if pooling is None else None
    model = own or SentenceModel((pooling or DEFAULT_POOLING,))
    name, before = _find_prompt(model, prompt)
    start = 0 if model.includes_prompt or not before else _prompt_length(explorer, before)
    encodings = tuple(
        # As sentence-transformers does, which strips the spaces around a text.
        _encode(explorer, model, (before + text).strip() if own else text, truncate)
        for text in texts
    )
    vectors = [model.vector(_hidden_states(explorer, one), start) for one in encodings]
    return Embeddings(
        tuple(texts), encodings, model.description, torch.stack(vectors), own is not None, name
    )


def _find_prompt(model: SentenceModel, name: str | None) -> tuple[str | None, str]:
    """The prompt's name and its text."""
    name = model.default_prompt if name is None else name
    if name is None:
        return None, ""
    if name not in model.prompts:
        there = ", ".join(map(quoted, model.prompts)) or "none"
        raise RangeError(f"There is no prompt {quoted(name)}; the model has {there}.")
    return name, model.prompts[name]


def _prompt_length(explorer: Explorer, prompt: str) -> int:
    """Tokens of a prompt by itself, the special one at its end left out."""
    encoding = explorer.encode(prompt)
    return len(encoding) - (encoding.ids[-1] == encoding.sep_id)


def _encode(explorer: Explorer, model: SentenceModel, text: str, truncate: bool) -> Encoding:
    encoding = explorer.encode(text, truncate=truncate)
    if model.most_tokens is None or len(encoding) <= model.most_tokens:
        return encoding
    return explorer.tokenizer.encode(text, limit=model.most_tokens, truncate=truncate)


def _hidden_states(explorer: Explorer, encoding: Encoding) -> Tensor:
    """After the final norm, (seq, hidden)."""
    ids = torch.tensor([encoding.ids], device=explorer.model.device)
    with torch.no_grad():
        hidden_states: Tensor = explorer.model.encoder(ids)[0]
    check_finite(explorer.model, hidden_states)
    return hidden_states
