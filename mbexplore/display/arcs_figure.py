"""Links as arcs over the text, one panel a head, or all heads of one token."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from mbexplore.display.attention_blocks import Arcs
from mbexplore.display.axes import Size, Surface, in_lines, label_axis, place, size_of, titled
from mbexplore.display.numbers import significant
from mbexplore.display.style import faint, head_ink, ink, room

if TYPE_CHECKING:
    from mbexplore.analysis.links import Link

WIDEST = 3.2
"""Points of the line that stands for the largest weight."""
LEAST = 0.1
"""Where all weights are less than this, none is drawn widest: many faint links stay faint."""
LABELS = 7.5
"""Names of tokens to an inch."""
CROWDED = 0.05
"""The share of a panel that its links cover at most, before the faint ones fade."""
STEEPEST = 12.0
"""The highest power of a weight by which a link fades."""
UNSEEN = 0.02
"""A line fainter than this isn't drawn."""
MARK = -2
"""The panel of one token's links, in place of a head's number."""

Floats = npt.NDArray[np.float64]
_TURN = np.linspace(0.0, math.pi, 40)


def _panels(block: Arcs) -> tuple[list[int], int]:
    """The head of each panel, and how many stand side by side."""
    if block.mark is not None:
        return [MARK], 1
    heads = [-1] if block.arcs.is_mean else list(block.arcs.heads)
    is_wide = len(block.arcs.axis) > 24 or room() < 2 * _width(len(block.arcs.axis))
    return heads, 1 if len(heads) == 1 or is_wide else 2


def _width(places: int) -> float:
    """Inches for so many tokens in a row."""
    return float(min(np.clip(0.26 * places + 1.0, 6.0, 14.0), room()))


@size_of.register
def _(block: Arcs) -> Size:
    panels, across = _panels(block)
    tall = 2.9 if panels == [MARK] else 2.1
    return _width(len(block.arcs.axis)) * across, math.ceil(len(panels) / across) * tall + 1.5


@place.register
def _(block: Arcs, surface: Surface) -> None:
    part = titled(surface, block.title, ink(block.arcs.kind))
    panels, across = _panels(block)
    down = math.ceil(len(panels) / across)
    grid = part.subplots(down, across, squeeze=False, sharex=True)
    axis, width = block.arcs.axis, _width(len(block.arcs.axis))
    for number, axes in enumerate(grid.flat):
        if number >= len(panels):
            axes.set_visible(False)
            continue
        _draw_panel(axes, block, panels[number], width)
        if number + across >= len(panels):
            names = [axis.name_of(place) for place in range(len(axis))]
            label_axis(axes.set_xticks, names, int(width * LABELS), rotation=90, mark=block.mark)
            axes.tick_params(axis="x", length=0, pad=3, labelcolor=ink())
        else:
            axes.tick_params(bottom=False)
    _legend(part, block)


def _draw_panel(axes: Axes, block: Arcs, head: int, width: float) -> None:
    """One head's links, as high as the longest of them; those to earlier keys are above."""
    links = list(block.shown) if head == MARK else [x for x in block.shown if x.head == head]
    reach = max([1, *(abs(link.key - link.query) for link in links)])
    axes.set_ylim(-reach / 2 * 1.06, reach / 2 * 1.06)
    axes.set_xlim(-0.6, len(block.arcs.axis) - 0.4)
    _draw_arcs(axes, links, max(LEAST, block.high), (width, 2.6 if head == MARK else 1.8))
    axes.axhline(0, color=faint(), linewidth=0.5)
    if head != MARK:
        name = f"mean of {len(block.arcs.heads)} heads" if head < 0 else f"head {head}"
        axes.set_title(name, fontsize=9, color=ink(), weight="bold", pad=3, loc="left")
    if links:
        most = f"max {significant(max(link.weight for link in links), 2)}"
        axes.set_title(most, fontsize=8, color=faint(), pad=3, loc="right")
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_arcs(axes: Axes, links: Sequence[Link], most: float, inches: tuple[float, float]) -> None:
    """Half circles from query to key.

    `inches` is about how large the axes are, whose limits are set: no line is wider than a third
    of its arc, and loops are round.
    """
    listed = sorted(links, key=lambda each: each.weight)  # the strongest over the others
    if not listed:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    pitch = inches[0] / (right - left)  # inches from a token to the next
    round_up = min(pitch / (inches[1] / (top - bottom)), 2.4 * top)  # a loop stays visible
    weights = np.array([link.weight for link in listed])
    spans = 72 * pitch * np.array([abs(link.key - link.query) for link in listed])
    strength = np.sqrt(weights / most)
    widths = np.clip(WIDEST * strength, 0.3, np.where(spans > 0, spans, 3 * WIDEST) / 3)
    ink = widths * spans / (72**2 * inches[0] * inches[1])
    opacity = _opacity(0.12 + 0.88 * strength**1.5, weights, ink)
    seen = opacity >= UNSEEN
    lines = [_arc(link, round_up) for link in itertools.compress(listed, seen)]
    hues = [to_rgb(_hue(link.head)) for link in itertools.compress(listed, seen)]
    colours = [(*hue, alpha) for hue, alpha in zip(hues, opacity[seen].tolist(), strict=True)]
    axes.add_collection(
        LineCollection(lines, colors=colours, linewidths=widths[seen], capstyle="round")
    )


def _opacity(opacity: Floats, weights: Floats, ink: Floats) -> Floats:
    """Fades the faint links of a thicket, so that its strong ones read.

    The weaker a link against the strongest, the more it fades, and as steeply as it takes for all
    together to cover no more than `CROWDED` of the panel; where there is room, none does.

    Args:
        opacity: of each link, (links,), from 0 to 1.
        weights: of each.
        ink: the share of the panel that each would cover, were it opaque.
    """
    share, faded = weights / weights.max(), opacity
    for steepness in np.arange(0.0, STEEPEST, 0.25):
        faded = opacity * share**steepness
        if float(faded @ ink) <= CROWDED:
            break
    return faded


def _arc(link: Link, round_up: float) -> Floats:
    middle, half = (link.query + link.key) / 2, (link.key - link.query) / 2
    if half == 0:  # a token's weight on itself: a small loop
        turn, radius = 2 * _TURN, 0.2
        return np.stack(
            (middle + radius * np.sin(turn), radius * round_up * (1 - np.cos(turn))), axis=1
        )
    side = -1 if half > 0 else 1
    return np.stack((middle - half * np.cos(_TURN), side * abs(half) * np.sin(_TURN)), axis=1)


def _legend(part: Surface, block: Arcs) -> None:
    """What widths stand for, and hues where one panel holds several heads."""
    most = max(LEAST, block.high)
    lines = [
        Line2D((), (), color=faint(), linewidth=WIDEST * math.sqrt(share), label=significant(
            most * share, 2))
        for share in (0.1, 0.5, 1.0)
    ]  # fmt: skip
    if block.mark is not None and not block.arcs.is_mean and len(block.arcs.heads) > 1:
        lines += [
            Line2D((), (), color=head_ink(head), linewidth=2.4, label=f"head {head}")
            for head in block.arcs.heads
        ]
    title = f"weight; {block.arcs.mass:.0%} of each row; above: earlier keys, below: later ones"
    across = int(min(len(lines), room() / 0.9))
    legend = part.legend(
        handles=lines, loc="outside lower left", ncols=across, fontsize=7.5, frameon=False,
        labelcolor=ink(), title=in_lines(title, 7.5), title_fontsize=7.5, alignment="left",
    )  # fmt: skip
    legend.get_title().set_color(faint())


def _hue(head: int) -> str:
    return ink() if head < 0 else head_ink(head)
