"""Sentence vectors: the encoder's last hidden states pooled, and how near the texts are.

Each text is run alone, so its vector does not depend on the others. Works on any checkpoint, with
a head or without; the folder of a sentence-transformers model says itself how it pools.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.sentence_transformers import (
    POOLINGS,
    SentenceModel,
    read_sentence_model,
)
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.checks import VECTORS, check_blank
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer, check_finite
from mbexplore.network.packing import run_packed
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
    if not texts:
        raise TextError("No text was given; give at least one.")
    how = _build(explorer, pooling, prompt)
    encodings = tuple(how.encode(text, truncate) for text in texts)
    vectors = [how.vector(_hidden_states(explorer, one)) for one in encodings]
    return Embeddings(
        tuple(texts), encodings, how.model.description, torch.stack(vectors), how.is_own, how.prompt
    )


def embed_many(
    explorer: Explorer,
    texts: Sequence[str],
    pooling: str | None = None,
    *,
    prompt: str | None = None,
    truncate: bool = False,
) -> Iterator[Tensor]:
    """The vectors (hidden) of many texts, packed side by side; see `embed`.

    Each is the one that the text has alone, to rounding.
    """
    how = _build(explorer, pooling, prompt)
    ids = [how.encode(text, truncate).ids for text in texts]
    for hidden_states in run_packed(explorer.model.encoder, ids):
        check_finite(explorer.model, hidden_states)
        yield how.vector(hidden_states)


@dataclass(frozen=True, eq=False)
class _Embedder:
    """How texts become vectors.

    Attributes:
        explorer: whose hidden states they are made of.
        model: the steps after them.
        is_own: whether they are those of the model's folder.
        prompt: its name; None for none.
        before: its text.
        start: the first token that is pooled.
    """

    explorer: Explorer
    model: SentenceModel
    is_own: bool
    prompt: str | None
    before: str
    start: int

    def encode(self, text: str, truncate: bool) -> Encoding:
        # As sentence-transformers does, which strips the spaces around a text.
        text = (self.before + text).strip() if self.is_own else text
        return _encode(self.explorer, self.model, text, truncate)

    def vector(self, hidden_states: Tensor) -> Tensor:
        return self.model.vector(hidden_states, self.start)


def _build(explorer: Explorer, pooling: str | None, prompt: str | None) -> _Embedder:
    """Reads what the model's folder says.

    Raises:
        RangeError: there is no such pooling or prompt.
        ModelError: the folder asks for what is not computed.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise RangeError(f"There is no pooling {quoted(pooling)}; choose {', '.join(POOLINGS)}.")
    own = read_sentence_model(explorer.files.folder) if pooling is None else None
    model = own or SentenceModel((pooling or DEFAULT_POOLING,))
    name, before = _find_prompt(model, prompt)
    start = 0 if model.includes_prompt or not before else _prompt_length(explorer, before)
    check_blank(explorer.model, VECTORS)
    return _Embedder(explorer, model, own is not None, name, before, start)


def _find_prompt(model: SentenceModel, name: str | None) -> tuple[str | None, str]:
    """The prompt's name and its text."""
    name = model.default_prompt if name is None else name
    if name is None:
        return None, ""
    if name not in model.prompts:
        there = ", ".join(map(quoted, model.prompts))
        remedy = f"choose one of {there}" if there else "leave it out, the model has none"
        raise RangeError(f"There is no prompt {quoted(name)}; {remedy}.")
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
