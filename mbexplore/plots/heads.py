"""The atlas of heads as a picture: one small map of layers by heads for each statistic."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from mbexplore.analysis.heads import MASSES, HeadRow
from mbexplore.plots.style import FAINT, HUE, INK, drawable

_COLUMNS = 5


def plot_heads(rows: tuple[HeadRow, ...], model: str, tokens: int) -> Figure:
    """Layers by heads for every statistic; the number of a layer has the hue of its kind.

    Shares of the weight have one square-root scale from 0 to 1, so that they compare.

    Args:
        rows: the atlas, every head of every layer in order.
        model: name for the title.
        tokens: that it was averaged over.
    """
    layers, heads = rows[-1].layer + 1, rows[-1].head + 1
    panels = [
        ("entropy (1 = all alike)", [row.entropy for row in rows]),
        ("mean distance in tokens", [row.distance for row in rows]),
        *((f"weight on {name}", [row.masses[name] for row in rows]) for name in MASSES),
    ]
    lines = -(-len(panels) // _COLUMNS)
    width, height = 1.1 + 0.24 * heads, 0.9 + 0.2 * layers
    figure = Figure(
        figsize=(_COLUMNS * max(width, 2.4), lines * max(height, 2.0) + 0.5),
        facecolor="white",
        layout="constrained",
    )
    figure.suptitle(
        drawable(f"{model}: what each head does, over {tokens:,} tokens (blue layers are global)"),
        color=INK,
        fontsize=12,
    ).set_parse_math(False)
    grid = figure.subplots(lines, _COLUMNS, squeeze=False)
    for axes, (name, values) in zip(grid.flat, panels, strict=True):
        is_distance = name.startswith("mean")
        norm = (
            Normalize(0.0, max(values))
            if is_distance
            else Normalize(0.0, 1.0)
            if name.startswith("entropy")
            else PowerNorm(0.5, 0.0, 1.0)
        )
        image = axes.imshow(
            np.reshape(values, (layers, heads)), cmap="cividis", norm=norm, aspect="auto"
        )
        axes.set_title(name, fontsize=9, color=INK)
        bar = figure.colorbar(image, ax=axes, pad=0.02)
        bar.ax.tick_params(labelsize=6, colors=INK)
        _label(axes, rows, layers, heads)
    return figure


def _label(axes: Axes, rows: tuple[HeadRow, ...], layers: int, heads: int) -> None:
    axes.tick_params(length=0, labelsize=7, colors=INK)
    axes.set_xticks(range(0, heads, max(1, heads // 8)))
    axes.set_yticks(range(layers))
    for layer, label in enumerate(axes.get_yticklabels()):
        label.set_color(HUE[rows[layer * heads].kind])
    axes.set_xlabel("head", fontsize=7, color=FAINT)
    axes.set_ylabel("layer", fontsize=7, color=FAINT)
