"""Labels that the fonts at hand can draw."""

from __future__ import annotations

from matplotlib.font_manager import FontProperties, findfont, get_font

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def drawable(text: str) -> str:
    """The text with every character that the font lacks, or that can't be seen, replaced."""
    font = get_font(findfont(FontProperties()))
    shown = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")
    return "".join(
        c if c.isprintable() and font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in shown
    )


def token_label(token: str, most: int = 14) -> str:
    """A token as an axis label: without its leading space, cut if long."""
    shown = drawable(token.removeprefix(" ")) or "\N{OPEN BOX}"
    return shown if len(shown) <= most else shown[: most - 1] + ELLIPSIS
