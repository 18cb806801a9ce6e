"""Pictures of bands: a local layer's maps by query and offset."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mbexplore.analysis.band import BandMap
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    footer,
    head_hues,
    kind_colours,
    label_tokens,
    name_bar,
    name_figure,
    name_head,
    weight_scale,
)

COLUMNS = 6
"""The most heads side by side."""


def plot_band(band: BandMap, model: str) -> Figure:
    """Every head: the mean weight by offset above, and every query's weights by offset below.

    The dashed lines are the window's edge: what lies there is as far as the layer can see.

    Args:
        band: of one layer.
        model: name for the title.
    """
    count = len(band.weights)
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    tall = 4.6 if count > 1 else 6.4
    wide = max(2.5, 0.016 * len(band.offsets)) if count > 1 else 6.0
    figure = Figure(
        figsize=(columns * wide + 2.4, rows * tall + 1.3), facecolor="white", layout="constrained"
    )
    what = f"{band.axis.size} by the offset of their keys"
    what += f", {band.pooled}" if band.pooled else ""
    name_figure(figure, model, what, band.title, HUE["local"])
    heights = [1.0, 4.2] * rows
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=heights)
    norm, scale = weight_scale(band.weights)
    top = 1.08 * max(float(band.profile.max()), 1e-9)
    image = None
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        profile, picture = grid[2 * row, column], grid[2 * row + 1, column]
        if place >= count:
            profile.set_visible(False)
            picture.set_visible(False)
            continue
        _draw_profile(profile, band, place, top, is_left=column == 0)
        image = _draw_queries(picture, band, place, norm, tall, is_left=column == 0)
    assert image is not None
    bar = figure.colorbar(image, ax=grid[1::2], shrink=0.6, aspect=30, pad=0.02)
    name_bar(bar, scale)
    footer(
        figure,
        "Offset: key minus query, in tokens; left of 0 lies what came before."
        + " Edge: the mean weight on the two outermost keys of the window." * _has_edge(band),
    )
    return figure


def _draw_profile(axes: Axes, band: BandMap, place: int, top: float, *, is_left: bool) -> None:
    hue = head_hues(band.heads, band.is_mean)[place]
    axes.fill_between(band.offsets, band.profile[place], step="mid", color=hue, alpha=0.85, lw=0)
    axes.set_ylim(0, top)
    _mark_offsets(axes, band)
    axes.set_xticklabels([])
    axes.tick_params(labelsize=6.5, length=0, colors=INK)
    name_head(axes, f"{band.names[place]}{_edge(band, place)}", hue)
    if is_left:
        axes.set_ylabel("mean", fontsize=8, color=FAINT)
    else:
        axes.set_yticklabels([])


def _edge(band: BandMap, place: int) -> str:
    if not _has_edge(band):
        return ""
    return f" \N{MIDDLE DOT} edge {float(band.edge[place]):.1%}"


def _has_edge(band: BandMap) -> bool:
    return int(band.offsets[-1]) == band.half_window


def _draw_queries(
    axes: Axes, band: BandMap, place: int, norm: Normalize, tall: float, *, is_left: bool
) -> AxesImage:
    rows = band.weights.shape[1]
    reach = int(band.offsets[-1])
    image = axes.imshow(
        band.weights[place],
        cmap=kind_colours("local"),
        norm=norm,
        aspect="auto",
        extent=(-reach - 0.5, reach + 0.5, rows - 0.5, -0.5),
        interpolation="nearest",
    )
    _mark_offsets(axes, band)
    axes.set_xlabel("offset", fontsize=8, color=FAINT)
    axes.tick_params(length=0, pad=2, colors=INK)
    if is_left:
        starts = band.axis.starts.tolist()
        label_tokens(axes, band.axis.labels, band.pool, "y", int(tall * 7), 6.5, starts)
        axes.set_ylabel("query", fontsize=8, color=FAINT)
    else:
        axes.set_yticks([])
    return image


def _mark_offsets(axes: Axes, band: BandMap) -> None:
    """Ticks at the middle, the half and the ends; the window's edge dashed."""
    reach = int(band.offsets[-1])
    ticks = sorted({-reach, -(reach // 2), 0, reach // 2, reach})
    axes.set_xticks(ticks, [f"{tick:+d}" if tick else "0" for tick in ticks], fontsize=7)
    labels = axes.get_xticklabels()
    if len(labels) > 2:  # those at the ends stay clear of the next head's
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
    axes.set_xlim(-reach - 0.5, reach + 0.5)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
    if _has_edge(band):
        for side in (-reach + 0.5, reach - 0.5):
            axes.axvline(side, color=INK, linewidth=0.7, linestyle=(0, (4, 3)), alpha=0.6)
