"""A text as tokens, one of them standing out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mbexplore.text import shown

if TYPE_CHECKING:
    from rich.text import Text

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def marked(tokens: tuple[str, ...], position: int | None, around: int = 12) -> Text:
    """The tokens, the one in question, if any, standing out; cut to what is near it."""
    from rich.text import Text

    middle = around if position is None else position
    low, high = max(0, middle - around), min(len(tokens), middle + around + 1)
    line = Text(ELLIPSIS if low else "")
    for i in range(low, high):
        if i > low and tokens[i].startswith("["):
            line.append(" ")  # special tokens take the space before them into themselves
        line.append(shown(tokens[i]), style="bold reverse" if i == position else "")
    line.append(ELLIPSIS if high < len(tokens) else "")
    line.append("" if position is None else f"  token {position}", style="dim")
    return line
