"""Numbers in outputs and in prose: read, compared, and proved.

The same command prints the same numbers on another machine but for rounding. So a number with
decimals may differ by one in its last place, and a whole percentage by one; what is below 1e-4 is
mostly a rounding error itself and may differ by a factor of `NOISE`. Other whole numbers are the
same. Versions of packages are not compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

NOISE = 5.0
SMALL = 1e-4
MINUS = "\N{MINUS SIGN}"

_NUMBER = rf"(?<![\w.,\-])[+\-{MINUS}]?\d+(?:,\d{{3}})*(?:\.\d+)?(?:e[+\-{MINUS}]?\d+)?(?:%|\b)"
_VERSION = r"\b\d+\.\d+\.\d+\b"
PIECE = re.compile(rf"(?P<version>{_VERSION})|(?P<number>{_NUMBER})|(?P<word>[^\W\d_]+)")


@dataclass(frozen=True)
class Number:
    """A number as it is written.

    Attributes:
        text: itself.
        value: with its sign; of a percentage, the figure before the sign.
        place: what one in its last digit is worth.
        percent: whether a percent sign follows.
    """

    text: str
    value: float
    place: float
    percent: bool

    @property
    def is_whole(self) -> bool:
        """Whether it counts something."""
        return self.place == 1.0 and not self.percent

    def agrees(self, other: Number) -> bool:
        """Whether it is the other but for what another machine rounds otherwise."""
        if self.percent != other.percent:
            return False
        one, two = abs(self.value), abs(other.value)
        small = SMALL * (100.0 if self.percent else 1.0)
        if 0 < max(one, two) < small:
            return max(one, two) <= NOISE * min(one, two)
        if self.is_whole and other.is_whole:
            return self.value == other.value
        return abs(self.value - other.value) <= 1.001 * max(self.place, other.place)

    def rounds(self, exact: Number) -> bool:
        """Whether it is the exact one rounded to its places; signs may be in words."""
        if self.percent != exact.percent or exact.place > self.place:
            return False
        return abs(abs(self.value) - abs(exact.value)) <= 0.501 * self.place


def number(text: str) -> Number:
    """A number from how it is written: "-1.34", "8,192", "59.0%", "3.1e-5%"."""
    digits = text.rstrip("%").replace(",", "").replace(MINUS, "-")
    mantissa, _, power = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    place = 10.0 ** (int(power or 0) - decimals)
    return Number(text, float(digits), place, text.endswith("%"))


def numbers(text: str) -> list[Number]:
    """Every number of a text, without versions and those inside names, such as float32."""
    return [number(one["number"]) for one in PIECE.finditer(text) if one["number"]]


def differences(shown: str, real: str) -> list[str]:
    """Where an output that is shown is not what the command prints, a line each."""
    one, two = (
        [piece for piece in PIECE.finditer(text) if not piece["version"]] for text in (shown, real)
    )
    found = []
    for a, b in zip(one, two, strict=False):
        if a["number"] and b["number"]:
            if number(a["number"]).agrees(number(b["number"])):
                continue
        elif a[0] == b[0]:
            continue
        found.append(f"{_line(shown, a)!r} has {a[0]!r}, the command prints {b[0]!r}")
    if len(one) != len(two):
        found.append(f"{len(one)} words and numbers, the command prints {len(two)}")
    return found


def _line(text: str, piece: re.Match[str]) -> str:
    start = text.rfind("\n", 0, piece.start()) + 1
    return text[start:].partition("\n")[0].strip()


def unproved(prose: str, proofs: Iterable[str], facts: Iterable[str] = ()) -> list[str]:
    """Numbers of a page's prose that nothing on the page prints, with their lines.

    Args:
        prose: Markdown; blocks of code, links and comments in it are left out.
        proofs: commands and outputs.
        facts: numbers that come from elsewhere, as the prose writes them.
    """
    known = [one for proof in proofs for one in numbers(proof)]
    stated = set(facts)
    return [
        f"{one.text} in {line.strip()!r}"
        for line in plain(prose).splitlines()
        for one in numbers(line)
        if one.text not in stated and not any(one.rounds(exact) for exact in known)
    ]


def plain(markdown: str) -> str:
    """The prose of a page: without front matter, code, comments, addresses and list numbers."""
    for pattern in (
        r"\A---\n.*?\n---\n", r"^( *)(`{3,})[^\n]*\n.*?^ *\2`*$", r"<!--.*?-->", r"`[^`\n]*`",
        r"\]\([^)\s]*\)", r"https?://\S+", r"^ *\d+\. ",
    ):  # fmt: skip
        markdown = re.sub(pattern, " ", markdown, flags=re.DOTALL | re.MULTILINE)
    return markdown
