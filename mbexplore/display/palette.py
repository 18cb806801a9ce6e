"""The hues of every picture, as plain numbers: charts, terminals and pages take the same ones.

Knows no library that draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Hue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mbexplore.network.config import LayerKind

HUE: dict[LayerKind, str] = {"global": "#0b4f8a", "local": "#a84300"}
"""Blue for global layers and orange for local ones, in every view; all eyes can tell them apart."""

HEADS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#882255", "#999933",
    "#332288", "#44aa99", "#b3446c", "#8a5a00", "#117733", "#9c86cf", "#661100", "#6b7785",
)  # fmt: skip
"""Hues of heads. The first six and the ninth are Okabe and Ito's and Paul Tol's sets for all eyes;
from there on lightness helps to tell them apart."""

INK = "#1f2933"
"""Of what has no hue of its own: text, and the mean of all heads."""

FAINT = "#66717d"
"""Of lines and names that stand behind."""

FAINTEST = 0.12
"""The least of the way to the darkest colour that the stronger weights of each map go."""

ON_EITHER: dict[LayerKind, str] = {"global": "#3a80c0", "local": "#c1651a"}
"""For words in a terminal, whose ground may be black or white: legible on both."""


LIGHT: dict[Hue, tuple[str, ...]] = {
    "global": ("#ffffff", "#6aaed6", "#0b4f8a", "#062a4f"),
    "local": ("#ffffff", "#f5a15a", "#a84300", "#5c2300"),
    "plain": ("#ffffff", "#a9b3bd", "#4d5966", "#1f2933"),
    "signed": ("#34104f", "#7b3aa8", "#c3a0de", "#ffffff", "#c2c455", "#6f720a", "#35370a"),
}
"""Evenly spaced stops of every hue on paper, from nothing to most; "signed" from purple for the
least over white for 0 to olive for the most: hues that no layer has, and that every eye can tell
apart."""

DARK: dict[Hue, tuple[str, ...]] = {
    "global": ("#1b2026", "#17507f", "#5ba7e0", "#d6ebfb"),
    "local": ("#1b2026", "#7a3a0c", "#ee9a52", "#fde8d4"),
    "plain": ("#1b2026", "#4d5966", "#a9b3bd", "#f1f4f7"),
    "signed": ("#e6d0ff", "#b083de", "#553079", "#1b2026", "#4e500f", "#a8ab2e", "#f0f2ac"),
}
"""The same in the dark and in terminals: they start from the ground."""

SIGN: dict[bool, str] = {True: "#6f720a", False: "#7b3aa8"}
"""One colour for what is above 0 and one for what is below."""


def colour_of(hue: Hue, share: float, *, dark: bool = False) -> str:
    """The colour at a place of a hue's scale, "#rrggbb".

    Args:
        hue: whose scale.
        share: from 0 to 1; 0.5 is nothing for "signed".
        dark: for a dark ground.
    """
    stops = (DARK if dark else LIGHT)[hue]
    at = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    pairs = zip(_rgb(stops[low]), _rgb(stops[low + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (at - low)):02x}" for a, b in pairs)


def ink_on(colour: str) -> str:
    """Black or white, whichever has the larger contrast on a colour (WCAG 2): 4.58 at least."""
    return "#000000" if _luminance(colour) > 0.179 else "#ffffff"


def contrast(colour: str, other: str) -> float:
    """How far two colours stand apart (WCAG 2), from 1 to 21."""
    low, high = sorted(map(_luminance, (colour, other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [v / 3295 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in _rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def head_colour(head: int) -> str:
    """The hue of a head, "#rrggbb": the same in every layer and every view; 16 before a repeat."""
    return HEADS[head % len(HEADS)]


def head_hues(heads: Sequence[int], is_mean: bool) -> tuple[str, ...]:
    """The hues of maps: one for each head, or one for the mean of all."""
    return (INK,) if is_mean else tuple(head_colour(head) for head in heads)


def showing_root(weights: NDArray[np.floating]) -> int:
    """The root of the weights, 2 to 4, on which the faintest map still stands out from nothing.

    Maps that share a scale share the largest weight; over a long text a head that attends to
    everything is thousands of times below a spike of another, and its square root still is nothing.

    Args:
        weights: (heads, rows, columns) of maps that are drawn on one scale.
    """
    import numpy as np

    largest = float(weights.max())
    strong = [float(np.quantile(each[each > 0], 0.95)) for each in weights if each.any()]
    faintest = min(strong, default=0.0) / max(largest, 1e-9)
    return next((root for root in (2, 3) if faintest ** (1 / root) >= FAINTEST), 4)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
