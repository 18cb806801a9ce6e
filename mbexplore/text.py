"""Text and figures as a terminal may show them: the one place where foreign text is made printable.

Knows no front end and no model.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff\ufff9-\ufffb]"
)
"""Control characters, what turns the writing direction, and lone surrogates, which no stream
takes."""
_OTHER_MASK = re.compile(r"[\[<{(]\s*(?:mask|blank)\s*[\]>})]|<extra_id_0>|_{2,}", re.IGNORECASE)
"""Masks of other models, and how people leave a word out."""
_CUT = " [...] "
_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxdict, _REPR.maxlist, _REPR.maxtuple = 3, 3, 4, 4
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


def shown(text: str) -> str:
    """Text made safe for a terminal: control and direction characters as escapes."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def shortened(text: str, most: int) -> str:
    """Text of at most `most` characters: a longer one loses its middle, so both its ends stay."""
    if len(text) <= most:
        return text
    tail = (most - len(_CUT)) * 2 // 5
    return text[: most - len(_CUT) - tail] + _CUT + text[len(text) - tail :]


def quoted(value: object) -> str:
    """A foreign value as a sentence may name it: its repr, short, whatever it is."""
    try:
        return shown(_REPR.repr(value))
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"


def json_line(payload: Any) -> str:
    """JSON on one line that any terminal and parser takes.

    What `shown` escapes is escaped as JSON does, and a number that is not finite, of which JSON
    knows none, is null.
    """
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(payload), ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


_SIGNS = str.maketrans({
    "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW TO BAR}",
    " ": "\N{OPEN BOX}",
})  # fmt: skip


@lru_cache(maxsize=1 << 16)
def word(token: str) -> str:
    """A token by itself: without its leading space, and with nothing in it invisible."""
    bare = token.removeprefix(" ") or " "
    bare = bare if bare.strip() else bare.translate(_SIGNS)
    escaped = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in bare)
    return shown("".join(escaped))


def said(token: str) -> str:
    """A token in a sentence: as `word`, in quotes where it would be read as a mark of ours."""
    bare = word(token)
    return bare if any(map(str.isalnum, bare)) else f"'{bare}'"


def said_at(tokens: Sequence[str], position: int) -> str:
    """A token of a text in a sentence, with its position: "France (4)"."""
    return f"{said(tokens[position])} ({position})"


def bar(share: float, width: int) -> str:
    """A bar of `width` cells for a share from 0 to 1, to an eighth of a cell."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return "\N{FULL BLOCK}" * int(whole) + " ▏▎▍▌▋▊▉"[int(eighths)].strip()


def find_other_mask(text: str, mask: str | None) -> str | None:
    """What a text has for a mask in the spelling of other models, or in none; None for nothing."""
    found = _OTHER_MASK.search(text)
    return None if found is None or found[0] == mask else found[0]


def state_name(state: int) -> str:
    """Where in the depth a state of the residual stream is."""
    return "embeddings" if state == 0 else f"layer {state - 1}"
