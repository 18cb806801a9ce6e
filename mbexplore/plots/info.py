"""The picture of a model card: where the parameters are, and what maps take at any length."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, StrMethodFormatter

from mbexplore.analysis.card import ModelCard, map_memory
from mbexplore.display.palette import HUE
from mbexplore.plots.style import FAINT, INK, drawable, plain_axes, plain_numbers

MIB = 2**20


def plot_card(card: ModelCard) -> Figure:
    """Parameters by part, layers by kind and reach, and memory of attention over length.

    Args:
        card: of a checkpoint.
    """
    height = max(3.6, 0.2 * len(card.layers) + 1.4)
    figure = Figure(figsize=(14, height), facecolor="white", layout="constrained")
    title = f"{PurePath(card.name).name}: {card.parameters:,} parameters"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    parts, layers, memory = figure.subplots(1, 3, width_ratios=(1.1, 1, 1.3))
    _draw_parts(parts, card)
    _draw_layers(layers, card)
    _draw_memory(memory, card)
    return figure


def _draw_parts(axes: Axes, card: ModelCard) -> None:
    names, sizes = list(card.parts), list(card.parts.values())
    axes.barh(names, sizes, color=INK, height=0.6)
    for place, size in enumerate(sizes):
        part = size / card.parameters
        said = f"{part:.1%}" if part >= 0.0005 else "< 0.1%"
        axes.annotate(said, (size, place), (4, 0), fontsize=8,
                      color=INK, textcoords="offset points", va="center")  # fmt: skip
    axes.invert_yaxis()
    axes.set_xlim(0, max(sizes) * 1.18)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 1e6:g} M"))
    _name(axes, "parameters by part", "parameters", "")


def _draw_layers(axes: Axes, card: ModelCard) -> None:
    """A bar a layer: how many tokens each of its queries can see."""
    limit = card.config.max_position_embeddings
    seen = [
        limit if layer.half_window is None else min(limit, 2 * layer.half_window + 1)
        for layer in card.layers
    ]
    axes.barh(range(len(seen)), seen, color=[HUE[layer.kind] for layer in card.layers], height=0.7)
    for layer in card.layers:
        axes.annotate(f"{layer.theta:,.0f}", (1, layer.layer), (4, 0), fontsize=7, color="white",
                      textcoords="offset points", va="center")  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlim(1, limit * 1.3)
    plain_numbers(axes.xaxis)
    axes.set_yticks(range(len(seen)))
    axes.set_ylim(len(seen) - 0.4, -0.6)
    _name(axes, "what a token sees, blue layers global (in the bar: theta)", "tokens", "layer")


def _draw_memory(axes: Axes, card: ModelCard) -> None:
    limit = card.config.max_position_embeddings
    lengths = np.unique(np.geomspace(min(16, limit), limit, 40).astype(int))
    at = [map_memory(card.config, int(length)) for length in lengths]
    for name, style, sizes in (
        ("every map, dense", "-", [each.all_maps for each in at]),
        ("one layer, dense", (0, (4, 2)), [each.one_layer for each in at]),
        ("what is recorded (q and k)", (0, (1, 1.5)), [each.recorded for each in at]),
    ):
        axes.loglog(lengths, np.array(sizes) / MIB, linestyle=style, color=INK, linewidth=1.4,
                    label=name)  # fmt: skip
    axes.axvline(card.memory.length, color=FAINT, linewidth=0.8)
    axes.annotate(f"{card.memory.length:,} tokens", (card.memory.length, 0.02), (-4, 0), fontsize=8,
                  color=INK, xycoords=("data", "axes fraction"), textcoords="offset points",
                  ha="right")  # fmt: skip
    plain_numbers(axes.xaxis)
    plain_numbers(axes.yaxis)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axes.legend(fontsize=8, frameon=False, labelcolor=INK)
    _name(axes, "memory of attention, float32", "tokens", "MiB")


def _name(axes: Axes, title: str, x: str, y: str) -> None:
    plain_axes(axes)
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(x, fontsize=8, color=FAINT)
    axes.set_ylabel(y, fontsize=8, color=FAINT)
    axes.tick_params(labelsize=7.5, colors=INK)
