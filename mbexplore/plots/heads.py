"""The atlas of heads as a picture: one small map of layers by heads for each statistic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from mbexplore.analysis.heads import MASSES, HeadRow, HeadSimilarity
from mbexplore.display.palette import HUE, head_colour
from mbexplore.plots.style import FAINT, INK, drawable, footer, mark_heads, name_bar, plain_axes

_COLUMNS = (4, 5, 3)
"""Panels in a line: the first of these that leaves fewest places empty."""
_LETTERS = {
    "self": "S", "previous": "P", "next": "N", "separator": "#", "punctuation": ".", "mask": "M",
    "edge": "E", "sink": "K", "far": "F", "broad": "B", "unclassified": "",
}  # fmt: skip
"""One letter a class, for the cells of the map of classes."""

_PLACES = {
    "self": "the query itself", "previous": "the token before", "next": "the token after",
    "cls": "[CLS]", "sep": "[SEP]", "punctuation": "punctuation", "mask": "[MASK]",
    "edge": "the window's edge", "far": "what lies beyond a window",
}  # fmt: skip


def plot_heads(rows: tuple[HeadRow, ...], model: str, tokens: int) -> Figure:
    """Layers by heads for every statistic; the number of a layer has the hue of its kind.

    Shares of the weight have one square-root scale from 0 to 1, so that they compare; distances
    have one too, or a long text would leave local layers all alike.

    Args:
        rows: the atlas, every head of every layer in order.
        model: name for the title.
        tokens: that it was averaged over.
    """
    layers, heads = rows[-1].layer + 1, rows[-1].head + 1
    shares = PowerNorm(0.5, 0.0, 1.0)
    farthest = max(row.distance for row in rows) or 1.0
    nowhere = [name for name in MASSES if not any(row.masses[name] for row in rows)]
    panels = [
        ("entropy (1 = all alike)", [row.entropy for row in rows], Normalize(0.0, 1.0)),
        ("mean distance in tokens", [row.distance for row in rows], PowerNorm(0.5, 0.0, farthest)),
        *(
            (f"weight on {_PLACES[name]}", [_applies(row, name) for row in rows], shares)
            for name in MASSES
            if name not in nowhere
        ),
    ]
    across = min(_COLUMNS, key=lambda columns: -(len(panels) + 1) % columns)
    lines = -(-(len(panels) + 1) // across)
    width, height = max(1.3 + 0.24 * heads, 3.0), max(1.0 + 0.2 * layers, 2.4)
    size = (across * width, lines * height + 0.9)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    _title(figure, model, f"what each head does, over {tokens:,} tokens (blue layers are global)")
    grid = figure.subplots(lines, across, squeeze=False)
    for axes, (name, values, norm) in zip(grid.flat, panels, strict=False):
        image = _draw(axes, np.reshape(values, (layers, heads)), norm, rows)
        axes.set_title(name, fontsize=9, color=INK)
        name_bar(figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, aspect=25), "")
    _draw_classes(grid.flat[len(panels)], rows, layers, heads)
    for axes in grid.flat[len(panels) + 1 :]:
        axes.set_visible(False)
    letters = ", ".join(f"{letter} {name}" for name, letter in _LETTERS.items() if letter)
    foot = f"Classes, darker for a higher score: {letters}; empty: unclassified."
    if any(math.isnan(value) for _, values, _ in panels for value in values):
        foot += " Grey: does not apply to layers of this kind."
    if nowhere:
        foot += f" No weight at all on {', '.join(_PLACES[name] for name in nowhere)}."
    footer(figure, foot)
    return figure


def _applies(row: HeadRow, name: str) -> float:
    """A share of the weight; not a number where layers of this kind have no such place."""
    elsewhere = {"edge": "global", "far": "local"}
    return math.nan if elsewhere.get(name) == row.kind else row.masses[name]


def plot_similar_heads(
    similar: Sequence[HeadSimilarity], own: HeadRow, rows: tuple[HeadRow, ...], model: str
) -> Figure:
    """Layers by heads: how far the rows of each head are from those of one head.

    Args:
        similar: every other head.
        own: the head that they are compared with; its cell is outlined.
        rows: the atlas, every head of every layer in order.
        model: name for the title.
    """
    layers, heads = rows[-1].layer + 1, rows[-1].head + 1
    distances = np.zeros((layers, heads))
    for each in similar:
        distances[each.layer, each.head] = each.distance
    size = (max(5.5, 0.62 * heads + 2.4), max(3.2, 0.3 * layers + 1.6))
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    _title(figure, model, f"heads like {own.layer}.{own.head} ({own.kind}, {own.label})")
    axes = figure.subplots()
    image = _draw(axes, distances, Normalize(0.0, 1.0), rows)
    for (layer, head), distance in np.ndenumerate(distances):
        text = "itself" if (layer, head) == (own.layer, own.head) else f"{distance:.2f}"
        axes.text(head, layer, text, ha="center", va="center", fontsize=7,
                  color="white" if distance < 0.55 else INK)  # fmt: skip
    bar = figure.colorbar(image, ax=axes, pad=0.02, fraction=0.05, aspect=30)
    name_bar(bar, "Jensen-Shannon distance (0 the same, 1 nothing shared)")
    return figure


def _draw(
    axes: Axes, values: NDArray[np.floating], norm: Normalize, rows: tuple[HeadRow, ...]
) -> AxesImage:
    axes.set_facecolor("#e4e7eb")  # shows where there is no number
    image = axes.imshow(values, cmap="cividis", norm=norm, aspect="auto")
    _label(axes, rows, *values.shape)
    return image


def _draw_classes(axes: Axes, rows: tuple[HeadRow, ...], layers: int, heads: int) -> None:
    """A letter a head on a tint of its score."""
    scores = [0.0 if row.label == "unclassified" else row.score for row in rows]
    axes.imshow(np.reshape(scores, (layers, heads)), cmap="Greys", norm=Normalize(0.0, 2.0),
                aspect="auto")  # fmt: skip
    for row in rows:
        axes.text(row.head, row.layer, _LETTERS[row.label], ha="center", va="center", fontsize=7,
                  color=INK)  # fmt: skip
    axes.set_title("class (letters below)", fontsize=9, color=INK)
    _label(axes, rows, layers, heads)


def _title(figure: Figure, model: str, what: str) -> None:
    title = drawable(f"{PurePath(model).name}: {what}")
    figure.suptitle(title, color=INK, fontsize=12).set_parse_math(False)


def _label(axes: Axes, rows: tuple[HeadRow, ...], layers: int, heads: int) -> None:
    plain_axes(axes)
    axes.tick_params(labelsize=7, colors=INK)
    axes.set_xticks(range(0, heads, max(1, heads // 8)))
    axes.set_yticks(range(layers))
    for layer, label in enumerate(axes.get_yticklabels()):
        label.set_color(HUE[rows[layer * heads].kind])
    mark_heads(axes.xaxis, [head_colour(int(tick)) for tick in axes.get_xticks()])
    axes.set_xlabel("head", fontsize=7, color=FAINT)
    axes.set_ylabel("layer", fontsize=7, color=FAINT)
