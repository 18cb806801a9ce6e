"""Pictures of attributions."""

from __future__ import annotations

from pathlib import PurePath

from matplotlib.figure import Figure

from mbexplore.analysis.attribute import LIMITS, Attribution
from mbexplore.plots.style import FAINT, HUE, INK, drawable, footer, plain_axes, token_label

MOST_TOKENS = 80
"""Rows of `plot_attribution`; a longer text shows its tokens with the largest shares."""


def plot_attribution(attribution: Attribution, model: str) -> Figure:
    """A bar a token: its integrated gradient, and its gradient x input as a ring beside it."""
    order = sorted(range(len(attribution.tokens)), key=lambda i: -abs(attribution.integrated[i]))
    picked = sorted(order[:MOST_TOKENS])
    figure = Figure(
        figsize=(8.0, 0.24 * len(picked) + 2.2), facecolor="white", layout="constrained"
    )
    answer = token_label(attribution.target.token)
    why = f"why {answer}"
    if attribution.contrast is not None:
        why += f" and not {token_label(attribution.contrast.token)}"
    title = f"{PurePath(model).name}: {why} {attribution.target.place}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    axes = figure.subplots()
    rows = range(len(picked))
    shares = [attribution.integrated[i] for i in picked]
    gradients = [attribution.gradient_input[i] for i in picked]
    colours = [HUE["global"] if share >= 0 else HUE["local"] for share in shares]
    axes.barh(rows, shares, color=colours, height=0.7, label="integrated gradients")
    axes.scatter(
        gradients, rows, s=18, facecolor="white", edgecolor=INK, linewidth=1.0, zorder=3,
        label="gradient x input",
    )  # fmt: skip
    labels = [f"{token_label(attribution.tokens[i])}  {i}" for i in picked]
    axes.set_yticks(rows, labels, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(
        f"share of the logit, {attribution.value - attribution.baseline_value:+.2f} over the "
        f"baseline of {attribution.baseline} embeddings (completeness error "
        f"{attribution.completeness_error:.2%})", fontsize=8, color=INK,
    )  # fmt: skip
    axes.legend(fontsize=7.5, frameon=False, labelcolor=INK)
    plain_axes(axes)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    footer(figure, LIMITS)
    return figure
