"""Pictures of mixing."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from mbexplore.analysis.context_mixing import LIMITS, METHODS, ContextMixing, Matrix
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    INK,
    drawable,
    footer,
    kind_colours,
    label_tokens,
    name_bar,
    plain_axes,
    signed_colours,
)

NAMES = {
    "attention": "attention weights",
    "norms": "norm-based",
    "rollout": "rollout to here",
    "value_zeroing": "value zeroing",
}


def plot_mix(mix: ContextMixing, kind: LayerKind, model: str) -> Figure:
    """The four ways above, on one scale; below, what the others say beyond attention weights.

    Args:
        mix: what to draw.
        kind: of the layer.
        model: name for the title.
    """
    cell = min(4.6, max(2.6, 0.2 * len(mix.tokens) + 0.8))
    figure = Figure(
        figsize=(4 * cell + 1.6, 2 * cell + 2.4), facecolor="white", layout="constrained"
    )
    title = f"{PurePath(model).name}: what each token takes from each other in layer {mix.layer}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    grid = figure.subplots(2, 4)
    grid[1, 0].set_visible(False)
    maps: list[Matrix] = [getattr(mix, method) for method in METHODS]
    differences = [each - maps[0] for each in maps[1:]]
    norm = PowerNorm(0.5, 0, max(float(each.max()) for each in maps))
    most = max(1e-6, *(float(np.abs(each).max()) for each in differences))
    for place, (method, values) in enumerate(zip(METHODS, maps, strict=True)):
        image = grid[0, place].imshow(values, cmap=kind_colours(kind), norm=norm)
        _label(grid[0, place], mix, NAMES[method], is_left=place == 0)
    name_bar(figure.colorbar(image, ax=grid[0], aspect=25, pad=0.01), "share of the row (sqrt)")
    for place, values in enumerate(differences, start=1):
        signed = grid[1, place].imshow(values, cmap=signed_colours(), norm=Normalize(-most, most))
        _label(grid[1, place], mix, f"{NAMES[METHODS[place]]} less attention", is_left=place == 1)
    name_bar(figure.colorbar(signed, ax=grid[1], aspect=25, pad=0.01), "difference of shares")
    footer(figure, LIMITS)
    return figure


def _label(axes: Axes, mix: ContextMixing, title: str, *, is_left: bool) -> None:
    axes.set_title(title, fontsize=9, color=INK)
    plain_axes(axes)
    label_tokens(axes, mix.tokens, 1, "x", 40, 6.5)
    if is_left:
        label_tokens(axes, mix.tokens, 1, "y", 40, 6.5)
        axes.set_ylabel("query", fontsize=8, color=INK)
    else:
        axes.set_yticks([])
