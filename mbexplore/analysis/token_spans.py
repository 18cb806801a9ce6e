"""What people call a place in a text: a position, a word, a range. Knows no view."""

from __future__ import annotations

import difflib

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.recording import check_index


def find_token_position(encoding: Encoding, name: str) -> int:
    """The token that is meant: a position from 0, or a word that is in the text.

    A word is first looked for as a whole token, then at the first token of a word of several
    pieces; of several places the first is taken. Letter case decides only between equals.

    Raises:
        RangeError: the position is outside, or the word isn't there (says the nearest that is).
    """
    wanted = name.strip()
    if wanted.lstrip("-").isdecimal():
        return check_index("token", int(wanted), len(encoding))
    whole = [token.strip() for token in encoding.tokens]
    starts = word_texts(encoding)
    for spellings in (whole, starts):
        if wanted in spellings:
            return spellings.index(wanted)
    lower = wanted.casefold()
    for spellings in (whole, starts):
        for i, spelling in enumerate(spellings):
            if spelling and spelling.casefold() == lower:
                return i
    there = list(dict.fromkeys(word for word in (*starts, *whole) if word))
    near = difflib.get_close_matches(wanted, there, n=1, cutoff=0.0)
    raise RangeError(
        f"The text has no token or word {wanted!r}; the nearest is {near[0] if near else ''!r}; "
        f"give one of the text's, or a position from 0 to {len(encoding) - 1}."
    )


def word_texts(encoding: Encoding) -> list[str]:
    """At each word's first token the whole word as the text spells it, elsewhere nothing."""
    texts = [""] * len(encoding)
    for start, stop in word_spans(encoding):
        if encoding.words[start] is None:
            texts[start] = encoding.tokens[start].strip()
        else:
            first, last = encoding.offsets[start][0], encoding.offsets[stop - 1][1]
            texts[start] = encoding.text[first:last].strip()
    return texts


def word_spans(encoding: Encoding) -> list[tuple[int, int]]:
    """Bounds `[start, stop)` of every word's tokens; a special token is a word of its own."""
    spans: list[tuple[int, int]] = []
    words = encoding.words
    for i, word in enumerate(words):
        if i and word is not None and word == words[i - 1]:
            spans[-1] = (spans[-1][0], i + 1)
        else:
            spans.append((i, i + 1))
    return spans


def find_token_range(encoding: Encoding, name: str) -> tuple[int, int]:
    """Bounds `[start, stop)` of a range `A:B`, either of which may be left out.

    Raises:
        RangeError: it is no range, is empty, or lies outside the text.
    """
    first, colon, last = name.partition(":")
    seq = len(encoding)
    parts = (first.strip() or "0", last.strip() or str(seq))
    if not colon or not all(part.isdecimal() for part in parts):
        raise RangeError(f"{name!r} is no token range; write A:B, such as 0:{min(seq, 20)}.")
    start, stop = int(parts[0]), int(parts[1])
    if not 0 <= start < stop <= seq:
        raise RangeError(
            f"The token range {name} is empty or outside the text; choose tokens of 0 to "
            f"{seq - 1}, or 0:{seq} for the whole."
        )
    return start, stop
