"""Masking tokens of a text, and putting back what was there. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import regex

from mbexplore.checkpoints.tokenizer import Encoding, Span
from mbexplore.errors import TextError
from mbexplore.text import word

MASK = "[MASK]"


def toggle_masks(
    encoding: Encoding,
    spans: Iterable[Span],
    hidden: Sequence[str],
    answers: Callable[[], Sequence[str]],
) -> tuple[str, list[str]]:
    """The text with tokens masked; or, where all of them are masks, unmasked.

    A mask takes the place of whole graphemes, also where a token holds only a part of one: a letter
    without its accent, or a byte of an emoji. White space before a word stays.

    Args:
        encoding: the text as it is.
        spans: tokens `[start, stop)`, one mask for each span.
        hidden: what stood at each mask of the text, in order; "" where nobody knows.
        answers: gives what to put at each mask where nobody knows; called only then.

    Returns:
        The new text, and what stood at each of its masks.

    Raises:
        TextError: no text holds these tokens, or nothing is known to put back.
    """
    spans, masks = sorted(spans), encoding.mask_positions
    chosen = [i for span in spans for i in range(*span) if _has_text(encoding, i)]
    if not chosen:
        position = spans[0][0]
        raise TextError(
            f"{word(encoding.tokens[position])} at {position} is not in the text itself and can't "
            "be masked; choose a word."
        )
    known = zip(masks, [*hidden, *[""] * len(masks)], strict=False)
    there = {_bare(encoding, mask): what for mask, what in known}
    if set(chosen) <= set(masks):
        edits = {
            span: there.pop(span) or _answer(answers(), masks.index(i))
            for i, span in ((i, _bare(encoding, i)) for i in chosen)
        }
    else:
        groups = [[i for i in range(*span) if i in chosen and i not in masks] for span in spans]
        new = _whole_graphemes(encoding, [group for group in groups if group])
        edits = dict.fromkeys(new, MASK)
        there |= {span: encoding.text[slice(*span)] for span in new}
    text = encoding.text
    for start, stop in sorted(edits, reverse=True):
        text = text[:start] + edits[start, stop] + text[stop:]
    return text, [there[span] for span in sorted(there)]


def _has_text(encoding: Encoding, i: int) -> bool:
    start, stop = encoding.offsets[i]
    return stop > start


def _bare(encoding: Encoding, i: int) -> Span:
    """A token's place in the text without the white space before it."""
    start, stop = encoding.offsets[i]
    piece = encoding.text[start:stop]
    return (start + len(piece) - len(piece.lstrip()), stop) if piece.strip() else (start, stop)


def _answer(answers: Sequence[str], number: int) -> str:
    if number < len(answers) and answers[number]:
        return answers[number]
    raise TextError("There is no answer yet to put for this mask; type a word in its place.")


def _whole_graphemes(encoding: Encoding, groups: list[list[int]]) -> list[Span]:
    """Places in the text that groups of tokens cover, drawn out to whole graphemes and apart.

    A mask that is there already begins and ends one: an accent behind it is none of its own.
    """
    text = encoding.text
    masks = [_bare(encoding, i) for i in encoding.mask_positions]
    cuts = sorted({0, len(text)}.union(*masks))
    ends = [0]
    for start, stop in pairwise(cuts):
        ends += [start + match.end() for match in regex.finditer(r"\X", text[start:stop])]
    found: list[Span] = []
    for group in groups:
        start, stop = _bare(encoding, group[0])[0], _bare(encoding, group[-1])[1]
        start, stop = ends[bisect_right(ends, start) - 1], ends[bisect_left(ends, stop)]
        if found and start < found[-1][1]:  # parts of one grapheme
            start, stop = found[-1][0], max(stop, found[-1][1])
            found.pop()
        found.append((start, stop))
    return found
