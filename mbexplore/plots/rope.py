"""Pictures of RoPE: how fast the pairs turn, and which of them a layer's heads use."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure, SubFigure

from mbexplore.analysis.rope import PairNorms, RopeSpectrum, ScoreContributions, mean_rotations
from mbexplore.display.palette import HUE, head_colour
from mbexplore.plots.style import (
    FAINT,
    INK,
    kind_colours,
    mark_heads,
    name_bar,
    name_figure,
    token_label,
)

CELLS = 256
"""The most rows of a table of cosines or sines."""

_THETA = "\N{GREEK SMALL LETTER THETA}"
_DOT = "\N{MIDDLE DOT}"


def plot_rope(spectra: tuple[RopeSpectrum, ...], model: str) -> Figure:
    """One row a theta: wavelengths, the cosine and sine tables, and the kernel over distance.

    Args:
        spectra: one entry a theta.
        model: name for the title.
    """
    figure = Figure(figsize=(15, 3.9 * len(spectra) + 0.5), facecolor="white", layout="constrained")
    name_figure(figure, model, "how RoPE turns its pairs")
    parts = figure.subfigures(len(spectra), 1, squeeze=False)[:, 0]
    for part, spectrum in zip(parts, spectra, strict=True):
        _draw_spectrum(part, spectrum)
    return figure


def plot_pair_norms(norms: PairNorms, model: str) -> Figure:
    """The mean norm of queries and of keys in each pair: heads by pairs, on one colour scale.

    Args:
        norms: of one layer.
        model: name for the title.
    """
    heads = len(norms.q)
    size = (13, 2.1 + 0.34 * heads)
    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    line = f"Layer {norms.layer} {_DOT} {norms.kind} {_DOT} {_THETA} = {norms.theta:,.0f}"
    name_figure(figure, model, "norm in each pair", line, HUE[norms.kind])
    scale = PowerNorm(0.5, 0.0, float(max(norms.q.max(), norms.k.max())))
    grid = figure.subplots(1, 2)
    for axes, values, name in zip(grid, (norms.q, norms.k), ("query", "key"), strict=True):
        image = axes.imshow(values, cmap=kind_colours(norms.kind), norm=scale, aspect="auto")
        _name(axes, f"{name} (mean over the text)", "pair, with its wavelength in tokens", "head")
        ticks = list(range(0, values.shape[1], max(1, values.shape[1] // 8)))
        axes.set_xticks(ticks, [f"{m}\n{norms.wavelengths[m]:,.0f}" for m in ticks])
        axes.fmt_xdata = partial(_pair, norms.wavelengths)
        axes.set_yticks(range(heads))
        mark_heads(axes.yaxis, map(head_colour, range(heads)))
    bar = figure.colorbar(image, ax=grid, pad=0.02, fraction=0.03, aspect=25)
    name_bar(bar, "norm (square-root scale)")
    return figure


def plot_score_shares(
    shares: ScoreContributions, norms: PairNorms, tokens: tuple[str, ...], model: str
) -> Figure:
    """What each pair adds to a score, and the sum so far from the fastest pair to the slowest.

    Args:
        shares: of one score.
        norms: of its layer.
        tokens: of the text.
        model: name for the title.
    """
    figure = Figure(figsize=(11, 4.4), facecolor="white", layout="constrained")
    names = [f"{token_label(tokens[i])} (token {i})" for i in (shares.query, shares.key)]
    what = f"{names[0]} looks at {names[1]} {_DOT} score {shares.score:.2f} {_DOT} weight "
    line = (
        f"Layer {norms.layer} {_DOT} head {shares.head} {_DOT} {norms.kind} {_DOT} {_THETA} = "
        f"{norms.theta:,.0f}"
    )
    name_figure(figure, model, f"{what}{shares.weight:.3f}", line, HUE[norms.kind])
    axes = figure.subplots()
    parts = np.array([pair.contribution for pair in shares.contributions])
    pairs = np.arange(len(parts))
    axes.bar(pairs, parts, color=[HUE["global" if x >= 0 else "local"] for x in parts])
    axes.step(pairs, parts.cumsum(), where="mid", color=INK, linewidth=1.1, label="sum so far")
    axes.axhline(0, color=FAINT, linewidth=0.6)
    axes.annotate(f"{shares.score:.2f}", (pairs[-1], shares.score), (6, 0), fontsize=8, color=INK,
                  textcoords="offset points", va="center", annotation_clip=False)  # fmt: skip
    ticks = list(range(0, len(parts), max(1, len(parts) // 16)))
    axes.set_xlim(-0.8, len(parts) - 0.2 + 0.03 * len(parts))
    wavelengths = 2 * np.pi / np.array([pair.frequency for pair in shares.contributions])
    axes.set_xticks(ticks, [f"{m}\n{wavelengths[m]:,.0f}" for m in ticks])
    axes.fmt_xdata = partial(_pair, wavelengths)
    _name(axes, "share of each pair (blue raises the score, orange lowers it)",
          "pair, with its wavelength in tokens", "adds to the score")  # fmt: skip
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    return figure


def _pair(wavelengths: npt.NDArray[np.float64], place: float) -> str:
    """What a pair is called where it is pointed at."""
    return f"pair {round(place)}, {wavelengths[round(place)]:,.1f} tokens a turn"


def _draw_spectrum(part: SubFigure, spectrum: RopeSpectrum) -> None:
    kind = spectrum.kinds[0]
    part.suptitle(
        f"{_THETA} = {spectrum.theta:,.0f} {_DOT} {' and '.join(spectrum.kinds)} layers {_DOT} "
        f"looks across {spectrum.width:,} tokens",
        color=HUE[kind],
        fontsize=11,
    )
    grid = part.subplots(1, 4, width_ratios=(1.3, 1, 1, 1.3))
    _draw_wavelengths(grid[0], spectrum, HUE[kind])
    cos, sin = mean_rotations(spectrum, CELLS)
    for axes, table, name in ((grid[1], cos, "cos"), (grid[2], sin, "sin")):
        _draw_table(axes, table, name, spectrum)
    distances = np.arange(min(len(spectrum.kernel), spectrum.width + 1))
    grid[3].plot(distances, spectrum.kernel[: len(distances)], color=HUE[kind], linewidth=1.0)
    grid[3].axhline(0, color=FAINT, linewidth=0.6)
    _name(grid[3], "score of two equal vectors", "distance in tokens", "against distance 0")


def _draw_wavelengths(axes: Axes, spectrum: RopeSpectrum, hue: str) -> None:
    pairs = np.arange(len(spectrum.wavelengths))
    turns = spectrum.wavelengths <= spectrum.width
    axes.semilogy(pairs[turns], spectrum.wavelengths[turns], "o", color=hue, markersize=4)
    axes.semilogy(
        pairs[~turns], spectrum.wavelengths[~turns], "o", color=hue, markersize=4, mfc="white"
    )
    for value, name in ((spectrum.width, "width"), (spectrum.length - 1, "longest text")):
        if name == "width" and spectrum.width == spectrum.length - 1:
            continue
        axes.axhline(value, color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
        axes.annotate(f"{name}: {value:,}", (0, value), (0, 2), fontsize=7, color=INK,
                      textcoords="offset points")  # fmt: skip
    _name(axes, "wavelengths (hollow: no whole turn in the width)", "pair", "tokens a turn")


def _draw_table(
    axes: Axes, table: npt.NDArray[np.float64], name: str, spectrum: RopeSpectrum
) -> None:
    axes.imshow(
        table, cmap="PuOr", vmin=-1, vmax=1, aspect="auto", interpolation="nearest",
        extent=(-0.5, table.shape[1] - 0.5, spectrum.width + 0.5, -0.5),
    )  # fmt: skip
    held = (spectrum.width + 1) / len(table)
    pooled = f" (about {held:.0f} to a pixel, their mean)" if held > 1 else ""
    _name(axes, f"{name}: orange -1, purple 1", "pair", f"position{pooled}")


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(x, fontsize=8, color=FAINT)
    axes.set_ylabel(y, fontsize=8, color=FAINT)
    axes.tick_params(labelsize=7, colors=INK)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)
