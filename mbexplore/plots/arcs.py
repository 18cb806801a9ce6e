"""Pictures of links as arcs over the text."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mbexplore.analysis.links import Arcs, Link
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    footer,
    head_colour,
    head_hues,
    kind_colours,
    mark_heads,
    name_figure,
    token_label,
    weight_scale,
)

WIDEST = 3.2
"""Points of the line that stands for the largest weight."""

LEAST = 0.1
"""Where all weights are less than this, none is drawn widest: many faint links stay faint."""

STRIP = 2000
"""The most columns of a row of weights: no more than it has dots."""

LABELS = 7.5
"""Token labels to an inch."""

CROWDED = 0.06
"""The share of a picture that its links cover at most, before the faint ones fade."""

STEEPEST = 12.0
"""The highest power of a weight by which a link fades."""

UNSEEN = 0.02
"""A line fainter than this is not drawn."""

Floats = npt.NDArray[np.float64]

_TURN = np.linspace(0.0, math.pi, 40)


def plot_arcs(arcs: Arcs, model: str) -> Figure:
    """The links that carry most of the weight: of one token over the text, or of all by head.

    A line is as wide and as dark as its weight; a head has its hue. Where lines crowd, the faint
    ones fade.

    Args:
        arcs: of one layer.
        model: name for the title.
    """
    return _plot_all(arcs, model) if arcs.rows is None else _plot_query(arcs, model)


def _width(places: int) -> float:
    """Inches for so many places in a row."""
    return float(np.clip(0.26 * places + 2.0, 7.0, 16.0))


def _plot_query(arcs: Arcs, model: str) -> Figure:
    assert arcs.rows is not None and arcs.query is not None
    low, high = arcs.axis.visible_range(arcs.query, arcs.query, arcs.half_window)
    width, strips = _width(high - low), 0.24 * len(arcs.rows)
    figure = Figure(figsize=(width, 4.4 + strips), facecolor="white", layout="constrained")
    query = token_label(arcs.axis.labels[arcs.query], 24)
    what = f"what \N{LEFT DOUBLE QUOTATION MARK}{query}\N{RIGHT DOUBLE QUOTATION MARK} "
    what += f"(token {arcs.axis.starts[arcs.query]}) looks at"
    name_figure(figure, model, what, arcs.title, HUE[arcs.kind])
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, strips))
    reach = max([1, *(abs(link.key - link.query) for link in arcs.links)])
    upper.set_ylim(0, reach / 2 * 1.06)
    upper.set_xlim(low - 0.5, high - 0.5)
    _draw_arcs(upper, arcs.links, _strongest(arcs), (width, 2.6), two_sided=False)
    upper.axvline(arcs.query, color=INK, linewidth=0.8)
    _bare(upper)
    scale = _draw_strip(lower, arcs, low, high)
    said = {link.key: link.weight for link in reversed(arcs.links)}
    said[arcs.query] = 2.0  # before all others
    _label_places(lower, arcs, said, (low, high), width)
    _foot(figure, arcs, scale)
    return figure


def _draw_strip(axes: Axes, arcs: Arcs, low: int, high: int) -> str:
    """The whole row of every head, pooled where there are more places than dots; its scale."""
    assert arcs.rows is not None
    pool = -(-(high - low) // STRIP)
    pooled = np.maximum.reduceat(arcs.rows[:, low:high], range(0, high - low, pool), axis=1)
    norm, scale = weight_scale(pooled[:, None])
    axes.imshow(
        pooled,
        cmap=kind_colours(arcs.kind),
        norm=norm,
        aspect="auto",
        interpolation="nearest",
        extent=(low - 0.5, low - 0.5 + pool * pooled.shape[1], len(pooled) - 0.5, -0.5),
    )
    names = ["mean"] if arcs.is_mean else [f"head {head}" for head in arcs.heads]
    axes.set_yticks(range(len(names)), names, fontsize=7.5)
    axes.tick_params(length=0, pad=3)
    mark_heads(axes.yaxis, head_hues(arcs.heads, arcs.is_mean))
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
    return f" Below, every {scale}: the darkest is {float(pooled.max()):.2g}."


def _plot_all(arcs: Arcs, model: str) -> Figure:
    heads = [-1] if arcs.is_mean else list(arcs.heads)
    size = len(arcs.axis)
    columns = 1 if len(heads) <= 4 and size > 24 else min(len(heads), 2)
    rows = math.ceil(len(heads) / columns)
    width = min(_width(size) * columns, 20.0)
    figure = Figure(figsize=(width, rows * 2.2 + 2.2), facecolor="white", layout="constrained")
    what = f"who looks at whom, {arcs.axis.size}"
    name_figure(figure, model, what, arcs.title, HUE[arcs.kind])
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for place, axes in enumerate(grid.flat):
        if place >= len(heads):
            axes.set_visible(False)
            continue
        _draw_head(axes, arcs, heads[place], width / columns)
        if place + columns >= len(heads):
            step = max(1, math.ceil(size * columns / (width * LABELS)))
            said = dict.fromkeys(range(0, size, step), 1.0)
            _label_places(axes, arcs, said, (0, size), width / columns)
    _foot(figure, arcs, " Above the line: to what came before; below: after.")
    return figure


def _draw_head(axes: Axes, arcs: Arcs, head: int, width: float) -> None:
    """One head's links, as high as the longest of them."""
    found = [link for link in arcs.links if link.head == head]
    reach = max([1, *(abs(link.key - link.query) for link in found)])
    axes.set_ylim(-reach / 2 * 1.06, reach / 2 * 1.06)
    axes.set_xlim(-0.6, len(arcs.axis) - 0.4)
    _draw_arcs(axes, found, _strongest(arcs), (width, 1.9), two_sided=True)
    axes.axhline(0, color=FAINT, linewidth=0.5)
    name = f"mean of {len(arcs.heads)} heads" if arcs.is_mean else f"head {head}"
    axes.set_title(name, fontsize=9, color=INK, weight="bold", pad=3, loc="left")
    if found:
        said = f"strongest {max(link.weight for link in found):.2g}"
        axes.set_title(said, fontsize=8, color=FAINT, pad=3, loc="right")
    _bare(axes)


def _strongest(arcs: Arcs) -> float:
    """The weight that is drawn widest."""
    return max([LEAST, *(link.weight for link in arcs.links)])


def _draw_arcs(
    axes: Axes,
    links: Iterable[Link],
    most: float,
    inches: tuple[float, float],
    *,
    two_sided: bool,
) -> None:
    """Half circles from query to key; with `two_sided` those to later keys hang below.

    `inches` is about how large the axes are, whose limits are set: no line is wider than a third
    of its arc, and loops are round.
    """
    listed = sorted(links, key=lambda each: each.weight)  # the strongest over the others
    if not listed:
        return
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    pitch = inches[0] / (right - left)  # inches from a token to the next
    round_up = min(pitch / (inches[1] / (top - bottom)), 2.4 * top)  # a loop stays in sight
    weights = np.array([link.weight for link in listed])
    spans = 72 * pitch * np.array([abs(link.key - link.query) for link in listed])
    strength = np.sqrt(weights / most)
    widths = np.clip(WIDEST * strength, 0.3, np.where(spans > 0, spans, 3 * WIDEST) / 3)
    ink = widths * spans / (72**2 * inches[0] * inches[1])
    opacity = _opacity(0.12 + 0.88 * strength**1.5, weights, ink)
    seen = opacity >= UNSEEN
    lines = [_arc(link, two_sided, round_up) for link in itertools.compress(listed, seen)]
    hues = [to_rgb(_hue(link.head)) for link in itertools.compress(listed, seen)]
    colours = [(*hue, alpha) for hue, alpha in zip(hues, opacity[seen].tolist(), strict=True)]
    axes.add_collection(
        LineCollection(lines, colors=colours, linewidths=widths[seen], capstyle="round")
    )


def _opacity(opacity: Floats, weights: Floats, ink: Floats) -> Floats:
    """Fades the faint links of a thicket, so that its strong ones read.

    The weaker a link against the strongest, the more it fades, and as steeply as it takes for all
    together to cover no more than `CROWDED` of the picture; where there is room, none does.

    Args:
        opacity: of each link, (links,), from 0 to 1.
        weights: of each.
        ink: the share of the picture that each would cover, were it opaque.
    """
    share, faded = weights / weights.max(), opacity
    for steepness in np.arange(0.0, STEEPEST, 0.25):
        faded = opacity * share**steepness
        if float(faded @ ink) <= CROWDED:
            break
    return faded


def _arc(link: Link, two_sided: bool, round_up: float) -> Floats:
    middle, half = (link.query + link.key) / 2, (link.key - link.query) / 2
    if half == 0:  # a token's look at itself: a small loop
        turn, radius = 2 * _TURN, 0.2
        return np.stack(
            (middle + radius * np.sin(turn), radius * round_up * (1 - np.cos(turn))), axis=1
        )
    side = -1 if two_sided and half > 0 else 1
    return np.stack((middle - half * np.cos(_TURN), side * abs(half) * np.sin(_TURN)), axis=1)


def _label_places(
    axes: Axes, arcs: Arcs, said: dict[int, float], shown: tuple[int, int], width: float
) -> None:
    """Names tokens along the text, the weightiest first, none over another."""
    low, high = shown
    apart = max(1.0, (high - low) / (width * LABELS))
    if apart == 1:
        said = dict.fromkeys(range(low, high), 1.0)  # there is room for all
    chosen: list[int] = []
    for place in sorted(said, key=lambda each: -said[each]):
        if all(abs(place - other) >= apart for other in chosen):
            chosen.append(place)
    chosen.sort()
    is_dense = apart > 1
    labels = [
        f"{token_label(arcs.axis.labels[i], 12)} {arcs.axis.starts[i]}" if is_dense
        else token_label(arcs.axis.labels[i])
        for i in chosen
    ]  # fmt: skip
    axes.set_xticks(chosen, labels, rotation=90, fontsize=7.5, color=INK)
    axes.tick_params(axis="x", length=2 if is_dense else 0, pad=3, color=FAINT)
    for place, label in zip(chosen, axes.get_xticklabels(), strict=True):
        label.set_parse_math(False)
        if place == arcs.query:
            label.set_fontweight("bold")


def _foot(figure: Figure, arcs: Arcs, more: str) -> None:
    footer(figure, f"{arcs.note}; wide and dark is much, faint ones fade where they crowd.{more}")


def _bare(axes: Axes) -> None:
    axes.set_yticks([])
    axes.tick_params(axis="x", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _hue(head: int) -> str:
    return INK if head < 0 else head_colour(head)
