"""Masking a token of the text and putting back what was there. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import TextError
from mbexplore.text import word

MASK = "[MASK]"


@dataclass(frozen=True)
class Draft:
    """A text being worked on.

    Attributes:
        text: as it stands.
        masked_words: what stood where a mask is now, one entry a mask of the text; None where the
            text came with it.
    """

    text: str
    masked_words: tuple[str | None, ...] = ()


def toggle_mask(
    draft: Draft, encoding: Encoding, start: int, stop: int, answer: str | None
) -> Draft:
    """The text with those tokens masked, or with the mask there taken away.

    Args:
        draft: what `encoding` is of.
        encoding: the text's tokens.
        start: first token.
        stop: the token after the last.
        answer: what to put where nothing is known to have stood: the model's own answer.

    Raises:
        TextError: no text holds that token, or nothing is known to put there.
    """
    masks = encoding.mask_positions
    before = sum(mask < start for mask in masks)
    hidden = (*draft.masked_words, *(None,) * (len(masks) - len(draft.masked_words)))
    first, last = encoding.offsets[start][0], encoding.offsets[stop - 1][1]
    span = draft.text[first:last]
    first += len(span) - len(span.lstrip())
    if first >= last:
        raise TextError(
            f"{word(encoding.tokens[start])} at {start} is not in the text itself and can't be "
            "masked; choose a word."
        )
    if start in masks:
        what = hidden[before] or answer
        if what is None:
            raise TextError("There is no answer yet to put for this mask; press enter first.")
        hidden = hidden[:before] + hidden[before + 1 :]
        return Draft(draft.text[:first] + what + draft.text[last:], hidden)
    inside = sum(start <= mask < stop for mask in masks)
    hidden = (*hidden[:before], draft.text[first:last], *hidden[before + inside :])
    return Draft(draft.text[:first] + MASK + draft.text[last:], hidden)
