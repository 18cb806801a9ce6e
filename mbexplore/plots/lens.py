"""Pictures of the logit lens."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mbexplore.analysis.lens import NOT_SHOWN, Lens, LensMap
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    FAINT,
    INK,
    drawable,
    footer,
    kind_colours,
    layer_labels,
    name_bar,
    plain_axes,
    plain_numbers,
    token_label,
)

MOST_POSITIONS = 60
"""Columns of `plot_lens_map`; a longer text is cut to its beginning, and the title says so."""


def plot_lens(lens: Lens, kinds: tuple[LayerKind, ...], model: str) -> Figure:
    """The lens at one position: top tokens after every layer, and the answer's rise beside them.

    Args:
        lens: what to draw; the deepest layer is at the top.
        kinds: of the layers.
        model: name for the title.
    """
    rows, top_k = len(lens.rows), len(lens.rows[0].predictions)
    width = 1.15 * top_k + 6.6
    figure = Figure(figsize=(width, 0.3 * rows + 1.9), facecolor="white", layout="constrained")
    title = f"{PurePath(model).name}: what each layer would answer {lens.target.place}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    words, trail, nats = figure.subplots(1, 3, width_ratios=[1.15 * top_k, 2.2, 2.2], sharey=True)
    _draw_words(words, lens, top_k)
    layer_labels(words, kinds, states=True)
    _draw_trails(trail, nats, lens)
    footer(figure, NOT_SHOWN)
    return figure


def _draw_trails(trail: Axes, nats: Axes, lens: Lens) -> None:
    answer = token_label(lens.target.token)
    states = [row.state for row in lens.rows]
    ranks = [row.rank for row in lens.rows]
    trail.plot(ranks, states, marker="o", markersize=4, color=INK, linewidth=1.2)
    trail.set_xscale("log")
    trail.set_xlim(max(10, *ranks) * 1.6, 0.7)
    plain_numbers(trail.xaxis)
    trail.set_title(f"rank of {answer}", fontsize=9, color=INK).set_parse_math(False)
    for name, style, values in (
        ("KL to the end", "-", [row.kl for row in lens.rows]),
        ("entropy", (0, (4, 2)), [row.entropy for row in lens.rows]),
    ):
        nats.plot(values, states, linestyle=style, color=INK, linewidth=1.2, label=name)
    nats.set_title("nats", fontsize=9, color=INK)
    nats.set_xlim(left=0)
    nats.legend(fontsize=7, frameon=False, labelcolor=INK)
    for axes in (trail, nats):
        plain_axes(axes)
        axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.5)
        if lens.settled is not None:
            axes.axhline(lens.settled - 0.5, color=FAINT, linewidth=0.8, linestyle=(0, (4, 3)))


def _draw_words(axes: Axes, lens: Lens, top_k: int) -> None:
    shares = np.array([[p.probability for p in row.predictions] for row in lens.rows])
    axes.imshow(
        shares, cmap=kind_colours("global"), norm=Normalize(0, 1), aspect="auto", origin="lower"
    )
    for row in lens.rows:
        for place, prediction in enumerate(row.predictions):
            share = prediction.probability
            is_answer = prediction.token_id == lens.target.token_id
            axes.text(
                place, row.state, f"{token_label(prediction.token, 11)} {share:.0%}",
                ha="center", va="center", fontsize=7.5, parse_math=False,
                color="white" if share > 0.5 else INK, weight="bold" if is_answer else "normal",
            )  # fmt: skip
    axes.set_xticks(range(top_k), [f"{place + 1}." for place in range(top_k)], fontsize=8)
    axes.set_title("would answer (colour: probability)", fontsize=9, color=INK)
    plain_axes(axes)


def plot_lens_map(lens: LensMap, kinds: tuple[LayerKind, ...], colour: str, model: str) -> Figure:
    """The lens everywhere: layers by positions, each cell with its likeliest token.

    Args:
        lens: what to draw; the deepest layer is at the top.
        kinds: of the layers.
        colour: "rank", "entropy" or "kl".
        model: name for the title.
    """
    seq = min(len(lens.tokens), MOST_POSITIONS)
    values = getattr(lens, colour)[:, :seq]
    states = len(values)
    figure = Figure(
        figsize=(0.62 * seq + 2.6, 0.3 * states + 2.3), facecolor="white", layout="constrained"
    )
    cut = "" if seq == len(lens.tokens) else f", its first {seq} of {len(lens.tokens):,} tokens"
    title = f"{PurePath(model).name}: what each layer would answer at every token{cut}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    axes = figure.subplots()
    image = _draw_cells(axes, lens, values, colour)
    layer_labels(axes, kinds, states=True)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25, pad=0.01)
    names = {
        "rank": "rank of the final answer",
        "entropy": "entropy, nats",
        "kl": "KL to the final distribution, nats",
    }
    name_bar(bar, names[colour])
    if colour == "rank":
        plain_numbers(bar.ax.yaxis)
    footer(figure, NOT_SHOWN)
    return figure


def _draw_cells(
    axes: Axes, lens: LensMap, values: npt.NDArray[np.number[Any]], colour: str
) -> AxesImage:
    states, seq = values.shape
    norm: Normalize = Normalize(0, max(float(values.max()), 1e-6))
    if colour == "rank":
        norm = LogNorm(1, max(float(values.max()), 10))
    colours = kind_colours("global")
    image = axes.imshow(values, cmap=colours, norm=norm, aspect="auto", origin="lower")
    for state in range(states):
        for place in range(seq):
            dark = float(norm(values[state, place])) > 0.5
            axes.text(
                place, state, token_label(lens.top[state][place], 8), ha="center", va="center",
                fontsize=6.5, color="white" if dark else INK, parse_math=False,
            )  # fmt: skip
    axes.set_xticks(range(seq), [token_label(t, 10) for t in lens.tokens[:seq]], rotation=90,
                    fontsize=7, parse_math=False)  # fmt: skip
    plain_axes(axes)
    return image
