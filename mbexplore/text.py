"""Text and figures as a terminal may show them. Knows no skin and no model."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """Text made safe for a terminal: control and direction characters as escapes."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def word(token: str) -> str:
    """A token by itself: without its leading space, safe for a terminal."""
    return shown(token.removeprefix(" ")) or "\N{OPEN BOX}"


def bar(share: float, width: int) -> str:
    """A bar of `width` cells for a share from 0 to 1, to an eighth of a cell."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return "\N{FULL BLOCK}" * int(whole) + " ▏▎▍▌▋▊▉"[int(eighths)].strip()


def state_name(state: int) -> str:
    """Where in the depth a state of the residual stream is."""
    return "embeddings" if state == 0 else f"layer {state - 1}"
