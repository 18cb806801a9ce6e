"""What the views that explain an answer ask about: one token at one position.

Knows no view: `lens`, `knockout`, `patch` and `attribute` share it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer, Prediction
from mbexplore.model import ModernBertForMaskedLM
from mbexplore.recording import Recording, check_index
from mbexplore.tokenizer import Encoding, Tokenizer

Source = str | Encoding | Recording
"""What an analysis looks at: a text, its tokens, or what was recorded over it before."""


@dataclass(frozen=True)
class Target:
    """The answer that is asked about: token `token_id` at `position` of the text."""

    position: int
    token: str
    token_id: int


@dataclass(frozen=True)
class Standing:
    """How a token stands among all of the vocabulary: rank 1 is the likeliest."""

    logit: float
    probability: float
    rank: int


def recorded(explorer: Explorer, source: Source, keep: Collection[str]) -> Recording:
    """The recording itself, or one made now with what is to be kept."""
    return source if isinstance(source, Recording) else explorer.record(source, keep=keep)


def find_position(encoding: Encoding, position: int | None) -> int:
    """The position asked about: the one given, or the first mask.

    Raises:
        RangeError: there is no such token.
        TextError: none was given and the text has no mask.
    """
    if position is not None:
        return check_index("token", position, len(encoding))
    if not encoding.mask_positions:
        raise TextError(
            "The text has no [MASK]; put [MASK] where a word is to be predicted, or name a token "
            f"from 0 to {len(encoding) - 1} with --at."
        )
    return encoding.mask_positions[0]


def find_token(tokenizer: Tokenizer, name: str) -> int:
    """Id of the one token that a word is, with a space before it if the vocabulary has that.

    Raises:
        RangeError: the word is several tokens.
    """
    pieces: list[str] = []
    for spelling in (f" {name.strip()}", name):
        encoding = tokenizer.encode(spelling)
        pairs = zip(encoding.ids, encoding.words, strict=True)
        ids = [token for token, word in pairs if word is not None]
        if len(ids) == 1:
            return ids[0]
        pieces = pieces or [tokenizer.token(token) for token in ids]
    raise RangeError(
        f"{name!r} is {len(pieces)} tokens ({' '.join(map(repr, pieces))}) and an answer is one; "
        "name a shorter or more common word."
    )


def find_target(
    explorer: Explorer, encoding: Encoding, position: int | None = None, answer: str | None = None
) -> Target:
    """The token asked about, by default the model's own answer at the first mask.

    Raises:
        TextError: there is neither a position nor a mask.
        RangeError: the position is outside, or the answer is no single token.
        ModelError: the model has no MLM head.
    """
    model, place = explorer.masked_lm(), find_position(encoding, position)
    if answer is not None:
        token_id = find_token(explorer.tokenizer, answer)
    else:
        ids = torch.tensor([encoding.ids], device=model.device)
        token_id = int(answer_logits(model, ids, place)[0].argmax())
    return Target(place, explorer.tokenizer.token(token_id), token_id)


def answer_logits(model: ModernBertForMaskedLM, input_ids: Tensor, position: int) -> Tensor:
    """Logits at one position of each text of a batch, whatever hooks are on the model.

    Args:
        model: with an MLM head.
        input_ids: (batch, seq).
        position: the same in every text.

    Returns:
        (batch, vocab), float32 or wider.
    """
    with torch.inference_mode():
        hidden_states = model.encoder(input_ids)  # all rows, so that taps have their full shapes
        return widened(model.logits(hidden_states[:, position]))


def likeliest(explorer: Explorer, logits: Tensor, top_k: int) -> tuple[Prediction, ...]:
    """The `top_k` likeliest tokens of logits (vocab,), falling."""
    probabilities, name = logits.softmax(dim=-1), explorer.tokenizer.token
    return tuple(
        Prediction(name(i), i, float(probabilities[i]), float(logits[i]))
        for i in logits.topk(top_k).indices.tolist()
    )


def widened(values: Tensor) -> Tensor:
    """Values in float32 or wider, for sums over a vocabulary."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def standings(logits: Tensor, token_id: int) -> list[Standing]:
    """How a token stands in each row of logits (batch, vocab)."""
    own = logits[:, token_id]
    probabilities = logits.softmax(dim=-1)[:, token_id]
    ranks = 1 + (logits > own[:, None]).sum(dim=-1)
    rows = zip(own.tolist(), probabilities.tolist(), ranks.tolist(), strict=True)
    return [Standing(*row) for row in rows]
