"""Pictures of knock-outs."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from mbexplore.analysis.ablate import LIMITS, Ablation, HeadAblation
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    drawable,
    footer,
    layer_labels,
    name_bar,
    plain_axes,
    signed_colours,
    token_label,
)


def plot_head_effects(effects: HeadAblation, kinds: tuple[LayerKind, ...], model: str) -> Figure:
    """Layers by heads: how the answer's logit changes without each head.

    Args:
        effects: what to draw; the deepest layer is at the top.
        kinds: of the layers.
        model: name for the title.
    """
    layers, heads = effects.logit.shape
    figure = Figure(
        figsize=(0.55 * heads + 4.2, 0.32 * layers + 2.2), facecolor="white", layout="constrained"
    )
    answer = token_label(effects.target.token)
    title = f"{PurePath(model).name}: {answer} {effects.target.place}, without one head"
    figure.suptitle(drawable(title), color=INK, fontsize=11).set_parse_math(False)
    axes = figure.subplots()
    most = max(float(np.abs(effects.logit).max()), 1e-6)
    image = axes.imshow(
        effects.logit, cmap=signed_colours(), norm=Normalize(-most, most), aspect="auto",
        origin="lower",
    )  # fmt: skip
    for layer in range(layers):
        for head in range(heads):
            value = float(effects.logit[layer, head])
            moved = bool(effects.rank[layer, head] != effects.clean.rank)
            if moved or abs(value) > most / 4:
                axes.text(
                    head, layer, f"{value:+.1f}" + "\N{BULLET}" * moved, ha="center",
                    va="center", fontsize=7, color="white" if abs(value) > 0.55 * most else INK,
                )  # fmt: skip
    axes.set_xticks(range(heads), [str(head) for head in range(heads)])
    axes.set_xlabel("head (\N{BULLET}: the answer's rank changes)", fontsize=8, color=INK)
    layer_labels(axes, kinds, states=False)
    plain_axes(axes)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
    name_bar(bar, f"change of {answer}'s logit")
    footer(figure, LIMITS)
    return figure


def plot_knockout(knockout: Ablation, model: str) -> Figure:
    """The change of the answer's logit without the parts, as bars; each with its new rank."""
    names = [
        effect.parts[0] if len(effect.parts) == 1 else f"all {len(effect.parts)} of these"
        for effect in knockout.effects
    ]
    changes = [effect.score.logit - knockout.clean.logit for effect in knockout.effects]
    figure = Figure(figsize=(8.0, 0.42 * len(names) + 1.9), facecolor="white", layout="constrained")
    answer = token_label(knockout.target.token)
    title = (
        f"{PurePath(model).name}: {answer} {knockout.target.place}, rank "
        f"{knockout.clean.rank:,} with everything in place"
    )
    figure.suptitle(drawable(title), color=INK, fontsize=11).set_parse_math(False)
    axes = figure.subplots()
    colours = [HUE["local"] if change < 0 else HUE["global"] for change in changes]
    axes.barh(range(len(names)), changes, color=colours, height=0.6)
    axes.set_yticks(range(len(names)), [f"without {name}" for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.margins(x=0.3)
    for row, (change, effect) in enumerate(zip(changes, knockout.effects, strict=True)):
        axes.annotate(
            f"{change:+.2f}, rank {effect.score.rank:,}", (change, row),
            xytext=(4 if change >= 0 else -4, 0), textcoords="offset points", va="center",
            ha="left" if change >= 0 else "right", fontsize=7.5, color=INK,
        )  # fmt: skip
    axes.set_xlabel(f"change of {answer}'s logit", fontsize=8, color=INK, parse_math=False)
    plain_axes(axes)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.5)
    footer(figure, LIMITS)
    return figure
