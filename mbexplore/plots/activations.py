"""Pictures of activations: the residual stream through the layers, and GeGLU neurons."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, StrMethodFormatter

from mbexplore.analysis import neurons, similarity
from mbexplore.analysis.neurons import LayerNeurons, Neuron, TokenNeurons
from mbexplore.analysis.residual import ResidualNorms
from mbexplore.analysis.similarity import Similarity
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
    FAINT,
    HUE,
    INK,
    drawable,
    footer,
    label_tokens,
    layer_labels,
    name_bar,
    plain_axes,
    signed_colours,
    token_label,
)

Numbers = npt.NDArray[np.floating[Any]]
Kinds = tuple[LayerKind, ...]
PIXELS = 600
"""The most columns of a picture; a longer text is pooled to them, each with its largest number."""


def plot_stream(norms: ResidualNorms, alike: Similarity, kinds: Kinds, model: str) -> Figure:
    """Lengths of the stream and of what is added to it, by layer and token; and states compared.

    Args:
        norms: layers by tokens; the deepest layer is at the top.
        alike: of the same text.
        kinds: of the layers.
        model: name for the title.
    """
    height = 0.2 * len(kinds) + 1.2
    figure = Figure(figsize=(15, 3 * height + 1.2), facecolor="white", layout="constrained")
    pool = -(-len(norms.tokens) // PIXELS)
    _title(figure, f"{PurePath(model).name}: the residual stream{_pooled(norms.tokens, pool)}")
    left, right = figure.subfigures(1, 2, width_ratios=(2.4, 1), squeeze=False)[0]
    _draw_lengths(left, norms, kinds, pool)
    profile, *squares = right.subplots(3, 1)
    _draw_profile(profile, norms, kinds)
    for axes, values, name in zip(
        squares,
        (alike.cosine, alike.cka),
        ("cosine of a token's states, mean", f"linear CKA over {alike.cka_tokens:,} tokens"),
        strict=True,
    ):
        bounds = Normalize(min(0.0, float(values.min())), 1.0)
        image = axes.imshow(values, cmap="cividis", norm=bounds, origin="lower", aspect="auto")
        _frame(axes, name, "state (0: embeddings)", "state")
        name_bar(right.colorbar(image, ax=axes, pad=0.02, fraction=0.05, aspect=25), "")
    footer(figure, similarity.LIMITS)
    return figure


def _draw_lengths(part: SubFigure, norms: ResidualNorms, kinds: Kinds, pool: int) -> None:
    """Three maps, layers by tokens; the two updates on one scale, so that they compare."""
    rows = part.subplots(3, 1, height_ratios=(len(kinds) + 1, len(kinds), len(kinds)))
    updates = _length_scale(norms.attention, norms.mlp)
    for axes, values, name, scale in zip(
        rows,
        (norms.residual, norms.attention, norms.mlp),
        ("length of the stream after each layer", "attention adds", "MLP adds"),
        (_length_scale(norms.residual), updates, updates),
        strict=True,
    ):
        image = axes.imshow(
            _max_pool(values, pool), cmap="cividis", norm=scale, aspect="auto",
            origin="lower", interpolation="nearest",
        )  # fmt: skip
        layer_labels(axes, kinds, states=len(values) > len(kinds))
        axes.set_title(name, fontsize=9, color=INK)
        label_tokens(axes, norms.tokens, pool, "x", 60, 7)
        plain_axes(axes)
        if axes is not rows[-1]:
            axes.set_xticks([])
        bar = part.colorbar(
            image, ax=axes, pad=0.01, aspect=18, ticks=LogLocator(subs=(1, 2, 5)),
            format=StrMethodFormatter("{x:,g}"),
            extend="max" if float(values.max()) > (scale.vmax or 0.0) else "neither",
        )  # fmt: skip
        bar.minorticks_off()
        name_bar(bar, "length")


def _length_scale(*values: Numbers) -> LogNorm:
    """A logarithmic scale of at least one decade and at most three.

    One length in a thousand may lie above it, and one below: a few tokens are far longer than all
    others (Sun et al. 2024, "Massive Activations in Large Language Models", arXiv:2402.17762), and
    would hide what those are like.
    """
    lengths = np.concatenate([each.ravel() for each in values])
    low, top = np.quantile(lengths, (0.001, 0.999)).tolist()
    top = top or float(lengths.max()) or 1.0
    return LogNorm(min(top / 10, max(low, top / 1000)), top, clip=True)


def _draw_profile(axes: Axes, norms: ResidualNorms, kinds: Kinds) -> None:
    """Mean lengths by depth: the stream, and what each layer adds to it."""
    states = np.arange(len(norms.residual))
    for values, places, style, name in (
        (norms.residual, states, "-", "stream"),
        (norms.attention, states[1:], (0, (4, 2)), "attention adds"),
        (norms.mlp, states[1:], (0, (1, 1.5)), "MLP adds"),
    ):
        axes.plot(values.mean(axis=1), places, linestyle=style, color=INK, linewidth=1.4,
                  label=name)  # fmt: skip
    layer_labels(axes, kinds, states=True)
    _frame(axes, "mean over the tokens", "length", "")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=FAINT, alpha=0.25, linewidth=0.5)
    axes.legend(fontsize=7.5, frameon=False, labelcolor=INK)


def plot_layer_neurons(found: LayerNeurons, model: str) -> Figure:
    """Every neuron of a layer by how often and how strongly it fires; the top ones over the text.

    Args:
        found: of one layer.
        model: name for the title.
    """
    count = len(found.top)
    figure = Figure(figsize=(15, max(4.6, 0.3 * count + 2)), facecolor="white",
                    layout="constrained")  # fmt: skip
    pool = -(-len(found.tokens) // PIXELS)
    title = f"{PurePath(model).name}: neurons of layer {found.layer} ({found.kind})"
    _title(figure, title + _pooled(found.tokens, pool))
    cloud, over = figure.subplots(1, 2, width_ratios=(1, 2.2))
    _draw_cloud(cloud, found)
    drawn, top = (
        _max_pool(found.contributions, pool),
        float(np.abs(found.contributions).max()) or 1.0,
    )
    image = over.imshow(drawn, cmap=signed_colours(), norm=Normalize(-top, top), aspect="auto",
                        interpolation="nearest")  # fmt: skip
    over.set_title("what the strongest write (blue along their direction, orange against it)",
                   fontsize=9, color=INK)  # fmt: skip
    over.set_yticks(range(count), [_speaks_for(one) for one in found.top], fontsize=7.5)
    over.set_ylabel("neuron, and what it raises at its peak", fontsize=8, color=FAINT)
    for label in over.get_yticklabels():
        label.set_parse_math(False)
    label_tokens(over, found.tokens, pool, "x", 60, 7)
    plain_axes(over)
    name_bar(figure.colorbar(image, ax=over, pad=0.01, aspect=25), "length, signed")
    footer(figure, neurons.LIMITS)
    return figure


def _draw_cloud(axes: Axes, found: LayerNeurons) -> None:
    axes.scatter(
        found.firing_rate,
        found.norm_when_firing,
        s=7,
        color=HUE[found.kind],
        alpha=0.5,
        linewidths=0,
    )
    named: list[tuple[float, float]] = []
    tallest = max(float(found.norm_when_firing.max()), 1e-9)
    for one in found.top[:8]:
        x, y = float(found.firing_rate[one.neuron]), float(found.norm_when_firing[one.neuron])
        if any(abs(x - other) < 0.1 and abs(y - under) < 0.04 * tallest for other, under in named):
            continue  # a number over a number can't be read
        named.append((x, y))
        axes.annotate(str(one.neuron), (x, y), (4, 2), fontsize=7.5, color=INK,
                      textcoords="offset points")  # fmt: skip
    _frame(axes, f"all {len(found.firing_rate):,} neurons", "share of tokens where it fires",
           "mean length it writes there")  # fmt: skip
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(bottom=0)


def plot_token_neurons(found: TokenNeurons, kinds: Kinds, model: str) -> Figure:
    """The neurons that write most at a token, as bars in their layer's hue, with their tokens.

    Args:
        found: of one token.
        kinds: of the layers.
        model: name for the title.
    """
    count = len(found.neurons)
    figure = Figure(figsize=(11, 0.34 * count + 2), facecolor="white", layout="constrained")
    token = token_label(found.tokens[found.position])
    _title(figure, f"{PurePath(model).name}: the neurons that write most at {token} "
                   f"(token {found.position})")  # fmt: skip
    bars, words = figure.subplots(1, 2, width_ratios=(1, 1.9), sharey=True)
    places = np.arange(count)
    bars.barh(places, [one.norm for one in found.neurons], height=0.62,
              color=[HUE[kinds[one.layer]] for one in found.neurons])  # fmt: skip
    names = [f"layer {one.layer} neuron {one.neuron}" for one in found.neurons]
    bars.set_yticks(places, names, fontsize=8, color=INK)
    bars.set_ylim(count - 0.5, -0.5)
    _frame(bars, "what it adds to the stream", "length", "")
    for place, one in zip(places, found.neurons, strict=True):
        for x, changes in ((0.0, one.promoted), (0.52, one.suppressed)):
            words.text(x, place, _words(changes), fontsize=8, va="center", color=INK,
                       parse_math=False)  # fmt: skip
    words.set_xlim(0, 1)
    words.set_axis_off()
    for x, name in ((0.0, "raises"), (0.52, "lowers")):
        words.annotate(f"{name} (logit)", (x, 1.0), (0, 6), fontsize=9, color=INK,
                       xycoords="axes fraction", textcoords="offset points")  # fmt: skip
    footer(figure, neurons.LIMITS)
    return figure


def _words(changes: tuple[neurons.Change, ...]) -> str:
    return "  ".join(f"{token_label(each.token, 10)} {each.change:+.2f}" for each in changes[:3])


def _speaks_for(one: Neuron) -> str:
    return f"{one.neuron}: " + " ".join(token_label(each.token, 9) for each in one.promoted[:2])


def _max_pool(values: Numbers, pool: int) -> Numbers:
    """The number furthest from 0 of every `pool` columns, (rows, pixels)."""
    if pool == 1:
        return values
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % pool)))
    parts = padded.reshape(len(values), -1, pool)
    furthest = np.abs(parts).argmax(axis=2)[..., None]
    return np.take_along_axis(parts, furthest, axis=2)[..., 0]


def _pooled(tokens: tuple[str, ...], pool: int) -> str:
    pooled = f", {pool} tokens to a pixel (the largest shows)" if pool > 1 else ""
    return f", {len(tokens):,} tokens{pooled}"


def _title(figure: Figure, title: str) -> None:
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)


def _frame(axes: Axes, title: str, x: str, y: str) -> None:
    plain_axes(axes)
    axes.set_title(title, fontsize=9, color=INK)
    axes.set_xlabel(x, fontsize=8, color=FAINT)
    axes.set_ylabel(y, fontsize=8, color=FAINT)
    axes.tick_params(axis="y", labelsize=7.5)
