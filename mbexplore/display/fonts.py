"""Labels that the fonts at hand can draw: matplotlib's own, or any that is installed."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache

from matplotlib import rc_context, rcParams
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from mbexplore.errors import UsageError

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
BOX = "\N{WHITE SQUARE}"
UNUSABLE = ("Color Emoji", "LastResort", "Last Resort", "Adobe Blank")
"""Parts of the names of fonts that hold pictures, which matplotlib can't draw, or boxes alone."""
PACKAGES = {
    ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "IDEOGRAPHIC", "FULLWIDTH"): (
        "Noto Sans CJK (Debian: fonts-noto-cjk)"
    ),
    ("ARABIC", "HEBREW", "DEVANAGARI", "BENGALI", "TAMIL", "THAI", "ETHIOPIC"): (
        "Noto Sans (Debian: fonts-noto-core)"
    ),
}
OTHERS = "Symbola (Debian: fonts-symbola)"

_missing: dict[str, None] = {}
"""Characters that no font could draw, since `explain_missing` was called last."""


@cache
def family_of(character: str) -> str | None:
    """The font to draw a character with: "" for matplotlib's own, None where none has it."""
    if get_font(findfont(FontProperties())).get_char_index(ord(character)):
        return ""
    fonts = {font.name: font.fname for font in reversed(fontManager.ttflist)}
    asked = FontProperties().get_family()  # a person's own settings may name a second font
    # Sans before others before serif: labels are in a sans.
    order = sorted(
        fonts, key=lambda name: (name not in asked, "Sans" not in name, "Serif" in name, name)
    )
    for name in order:
        if not any(part in name for part in UNUSABLE) and _has(fonts[name], character):
            return name
    return None


@contextmanager
def named_font(family: str | None) -> Iterator[None]:
    """Draws with a family of fonts in the block, and with matplotlib's own where it has no glyph.

    Raises:
        UsageError: it isn't installed.
    """
    if family is None:
        yield
        return
    known = {font.name.casefold(): font.name for font in fontManager.ttflist}
    if family.casefold() not in known:
        near = get_close_matches(family.casefold(), known, 3) or sorted(known)[:3]
        raise UsageError(
            f"There is no font {family!r} here; install it, or choose one that is here, such as "
            f"{', '.join(known[name] for name in near)}."
        )
    with rc_context({"font.family": [known[family.casefold()], *rcParams["font.family"]]}):
        family_of.cache_clear()
        try:
            yield
        finally:
            family_of.cache_clear()


def _has(path: str, character: str) -> bool:
    try:
        return bool(get_font(path).get_char_index(ord(character)))
    except (OSError, RuntimeError):  # a font that matplotlib lists and can't open
        return False


def drawable(text: str) -> str:
    """The text with every character that no font has, or that can't be seen, replaced."""
    shown = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")
    return "".join(map(_drawable, shown))


def _drawable(character: str) -> str:
    if not character.isprintable():
        return BOX
    if family_of(character) is None:
        _missing[character] = None
        return BOX
    return character


def use_fonts(figure: Figure) -> None:
    """Gives every text of a figure the fonts that its characters need, after its own."""
    for text in figure.findobj(Text):
        needed = dict.fromkeys(filter(None, map(family_of, text.get_text())))
        if needed:
            text.set_fontfamily([*text.get_fontfamily(), *needed])


@contextmanager
def without_font_notices() -> Iterator[None]:
    """Keeps matplotlib from telling, in the block, that a font has no face of the weight asked."""
    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def explain_missing() -> str:
    """Which characters were drawn as boxes since the last call, and the remedy; "" for none."""
    characters, first = "".join(_missing), next(iter(_missing), "")
    _missing.clear()
    if not first:
        return ""
    script = unicodedata.name(first, "").partition(" ")[0].partition("-")[0]
    package = next((one for scripts, one in PACKAGES.items() if script in scripts), OTHERS)
    some = characters[:8] + ELLIPSIS * (len(characters) > 8)
    return f"No font here has {some}, so the picture has boxes; install {package}."


def token_label(token: str, most: int = 14) -> str:
    """A token as an axis label: without its leading space, cut if long."""
    shown = drawable(token.removeprefix(" ")) or "\N{OPEN BOX}"
    return shown if len(shown) <= most else shown[: most - 1] + ELLIPSIS
