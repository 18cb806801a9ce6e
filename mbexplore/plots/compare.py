"""Pictures of two runs side by side."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mbexplore.analysis.compare import LIMITS, ComparedRun, Matrix, RunComparison
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    drawable,
    footer,
    kind_colours,
    label_tokens,
    layer_labels,
    name_bar,
    plain_axes,
    signed_colours,
    token_label,
)


def plot_side_by_side(pair: RunComparison, kinds: tuple[LayerKind, ...]) -> Figure:
    """Predictions of both; below, where the residuals part and how one attention map differs.

    Args:
        pair: what to draw.
        kinds: of the layers of the first model.
    """
    seq = len(pair.first.tokens)
    has_maps = pair.attention is not None
    cell = min(8.0, max(4.2, 0.3 * seq + 1.2))
    figure = Figure(
        figsize=(2 * cell + 1.4, cell * has_maps + 3.2), facecolor="white", layout="constrained"
    )
    heights = [2.6, max(cell * has_maps, 0.3)]
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    upper.suptitle("Side by side", color=INK, fontsize=12)
    most = max(p.probability for side in (pair.first, pair.second) for p in side.predictions)
    for axes, side, other in zip(
        upper.subplots(1, 2), (pair.first, pair.second), (pair.second, pair.first), strict=True
    ):
        _draw_predictions(axes, side, {p.token for p in other.predictions}, most)
    if pair.attention is not None:
        places = lower.subplots(1, 2 if pair.residual_distance is not None else 1, squeeze=False)[0]
        _draw_difference(places[-1], pair, pair.attention)
        if pair.residual_distance is not None:
            _draw_parting(places[0], pair, pair.residual_distance, kinds)
    footer(figure, f"{pair.unavailable_reason} {LIMITS}".strip())
    return figure


def _draw_predictions(axes: Axes, side: ComparedRun, shared: set[str], most: float) -> None:
    rows = range(len(side.predictions))
    values = [p.probability for p in side.predictions]
    axes.barh(rows, values, height=0.65, color=HUE["global"])
    labels = [token_label(p.token) for p in side.predictions]
    axes.set_yticks(rows, labels, fontsize=8, parse_math=False)
    for label, prediction in zip(axes.get_yticklabels(), side.predictions, strict=True):
        label.set_color(INK if prediction.token in shared else HUE["local"])
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.2)
    for row, value in enumerate(values):
        axes.annotate(f"{value:.1%}", (value, row), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=7.5, color=INK)  # fmt: skip
    text = "".join(side.tokens[1:-1]).replace("[MASK]", " [MASK]").strip()
    text = text if len(text) < 52 else f"{text[:51]}\N{HORIZONTAL ELLIPSIS}"
    title = f"{PurePath(side.model.name).name}: {text}"
    axes.set_title(drawable(title), fontsize=9, color=INK, parse_math=False)
    plain_axes(axes)
    axes.set_xticks([])


def _draw_parting(
    axes: Axes, pair: RunComparison, parting: Matrix, kinds: tuple[LayerKind, ...]
) -> None:
    image = axes.imshow(
        parting, cmap=kind_colours("global"), norm=Normalize(0, max(1e-6, float(parting.max()))),
        aspect="auto", origin="lower",
    )  # fmt: skip
    axes.set_title("where the residuals part", fontsize=9, color=INK)
    layer_labels(axes, kinds, states=True)
    plain_axes(axes)
    _label(axes, pair, "x")
    bar = axes.figure.colorbar(image, ax=axes, aspect=25, pad=0.02)
    name_bar(bar, "cosine distance")


def _draw_difference(axes: Axes, pair: RunComparison, difference: Matrix) -> None:
    most = max(1e-6, float(np.abs(difference).max()))
    image = axes.imshow(difference, cmap=signed_colours(), norm=Normalize(-most, most))
    which = "mean of heads" if pair.head is None else f"head {pair.head}"
    axes.set_title(f"attention of layer {pair.layer}, {which}: second less first", fontsize=9,
                   color=INK)  # fmt: skip
    plain_axes(axes)
    _label(axes, pair, "x")
    _label(axes, pair, "y")
    axes.set_ylabel("query", fontsize=8, color=FAINT)
    bar = axes.figure.colorbar(image, ax=axes, aspect=25, pad=0.02)
    name_bar(bar, "difference of weights")


def _label(axes: Axes, pair: RunComparison, axis: str) -> None:
    """Tokens of both texts where they differ."""
    both = zip(pair.first.tokens, pair.second.tokens, strict=True)
    labels = tuple(a if a == b else f"{token_label(a, 6)}/{token_label(b, 6)}" for a, b in both)
    label_tokens(axes, labels, 1, axis, 40, 7)
