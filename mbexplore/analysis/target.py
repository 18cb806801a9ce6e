"""The answer that a view explains, and how a person names it: a position and a token.

Knows no view and no head: `readout` has those.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding, Tokenizer
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.recording import Recording, check_index

Source = str | Encoding | Recording
"""What an analysis looks at: a text, its tokens, or what was recorded over it before."""


@dataclass(frozen=True)
class Target:
    """The answer that is asked about.

    Attributes:
        position: of the token that it is about; None where it is the whole text.
        token: its name: a token of the vocabulary, or a label.
        token_id: its number among the logits.
    """

    position: int | None
    token: str
    token_id: int

    @property
    def spelling(self) -> str:
        """Its name as an answer that means this token and no other: in quotes, spaces and all."""
        return f'"{self.token}"'

    @property
    def place(self) -> str:
        """What it is about, in words."""
        return "for the whole text" if self.position is None else f"at token {self.position}"


@dataclass(frozen=True)
class OptionScore:
    """An option's logit, probability and rank among all options.

    Attributes:
        logit: of the option; less that of the contrast, where there is one.
        probability: of the option.
        rank: 1 is the likeliest.
    """

    logit: float
    probability: float
    rank: int


def as_recording(explorer: Explorer, source: Source, keep: Collection[str]) -> Recording:
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
            f"from 0 to {len(encoding) - 1}."
        )
    return encoding.mask_positions[0]


def find_token(
    tokenizer: Tokenizer, name: str, encoding: Encoding | None = None, position: int | None = None
) -> int:
    """Id of the one token that a word is.

    Many words are two tokens, with a space before them and without. Of a plain word the one is
    taken that fits the text there: without a space where the text starts or none comes before, with
    one elsewhere; if that is no token, the other. A name that starts with a space is the token with
    a space, and one in double quotes is taken letter by letter.

    Args:
        tokenizer: of the model.
        name: the word.
        encoding: the text that it stands in; None for no text, where a space comes before.
        position: of the token that it stands for.

    Raises:
        RangeError: the word is several tokens.
    """
    found = [_spelled(tokenizer, one) for one in _spellings(name, encoding, position)]
    for ids in found:
        if len(ids) == 1:
            return ids[0]
    pieces = next(([tokenizer.token(token) for token in ids] for ids in found if ids), [])
    raise RangeError(
        f"{name!r} is {len(pieces)} tokens ({' '.join(map(repr, pieces))}) and an answer is one; "
        "name a shorter or more common word."
    )


def find_spelling(
    tokenizer: Tokenizer, name: str, encoding: Encoding, position: int
) -> tuple[int, ...]:
    """Ids of a word as it would stand at a position, one or several; see `find_token`."""
    return _spelled(tokenizer, _spellings(name, encoding, position)[0])


def _spellings(name: str, encoding: Encoding | None, position: int | None) -> list[str]:
    """How a word may be written at a position, the best first."""
    bare = name.strip()
    if len(name) > 2 and name[0] == name[-1] == '"':
        return [name[1:-1]]
    spellings = [f" {bare}", bare]
    if encoding is None or position is None or name[:1].isspace():
        return spellings
    return spellings if follows_space(encoding, position) else spellings[::-1]


def _spelled(tokenizer: Tokenizer, spelling: str) -> tuple[int, ...]:
    """Ids of a text, those around it left out."""
    found = tokenizer.encode(spelling)
    pairs = zip(found.ids, found.words, strict=True)
    return tuple(token for token, word in pairs if word is not None)


def follows_space(encoding: Encoding, position: int) -> bool:
    """Whether the text has a space before a token, or in it at its start."""
    start, stop = encoding.offsets[position]
    if encoding.text[start:stop][:1].isspace():
        return True
    return start not in (0, encoding.pair_start) and encoding.text[start - 1].isspace()


def expected(log_p: Tensor, values: Tensor) -> Tensor:
    """Mean of values (..., outcome) under log-probabilities (..., outcome).

    What can't happen counts for nothing, be its value infinite: a decoder bias of minus infinity
    switches a token off.
    """
    return torch.where(log_p.isneginf(), 0.0, log_p.exp() * values).sum(dim=-1)


def upcast(values: Tensor) -> Tensor:
    """Values in float32 or wider, for sums over a vocabulary."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
