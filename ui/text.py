"""The text as chips: how each token is shown, and what a click on one makes of the text."""

from __future__ import annotations

from typing import Any

from mbexplore.checkpoints.tokenizer import Encoding

MASK = "[MASK]"


def label(token: str) -> str:
    """A token as the page shows it: nothing in it is invisible, its leading space is dropped."""
    bare = token.removeprefix(" ")
    if not bare.strip():
        return bare.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}").replace(
            "\t", "\N{RIGHTWARDS ARROW TO BAR}"
        ).replace(" ", "\N{OPEN BOX}") or "\N{OPEN BOX}"  # fmt: skip
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in bare
    )


def chips(encoding: Encoding) -> list[dict[str, Any]]:
    """What the page draws for each token; pieces of a word are `joined` to the one before."""
    masks, words = set(encoding.mask_positions), encoding.words
    return [
        {
            "text": label(token),
            "joined": i > 0 and words[i] is not None and words[i] == words[i - 1],
            "special": encoding.offsets[i] == (0, 0) and encoding.words[i] is None,
            "mask": i in masks,
        }
        for i, token in enumerate(encoding.tokens)
    ]


def toggled(
    encoding: Encoding, first: int, last: int, hidden: list[str], answers: list[str]
) -> tuple[str, list[str]]:
    """The text with a range of tokens masked; or, if all of them are masks, unmasked.

    Args:
        encoding: the text as it is.
        first: one end of the range.
        last: the other end, included.
        hidden: the word behind each mask, in the text's order; "" where nobody knows it.
        answers: what to put where nobody knows.

    Returns:
        The new text, and the word behind each of its masks.
    """
    order = {position: n for n, position in enumerate(encoding.mask_positions)}
    known = [*hidden, *[""] * len(order)]
    low, high = sorted((first, last))
    wanted = [i for i in range(low, high + 1) if encoding.offsets[i][1] > encoding.offsets[i][0]]
    unmask = all(i in order for i in wanted)
    pieces: list[str] = []
    words: list[str] = []
    end = 0
    for i, (start, stop) in enumerate(encoding.offsets):
        piece = encoding.text[start:stop]
        space = piece[: len(piece) - len(piece.lstrip())] if piece.strip() else ""
        if i in wanted and unmask:
            n = order[i]
            pieces += [encoding.text[end:start], space, known[n] or answers[n]]
        elif i in wanted and i not in order:
            pieces += [encoding.text[end:start], space, MASK]
            words.append(piece.removeprefix(space))
        else:
            if i in order:
                words.append(known[order[i]])
            continue
        end = stop
    return "".join([*pieces, encoding.text[end:]]), words
