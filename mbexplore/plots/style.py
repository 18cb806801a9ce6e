"""What all pictures share: hues, fonts, token labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import PurePath
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, StrMethodFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from mbexplore.display.palette import HUE as HUE
from mbexplore.display.palette import INK as INK
from mbexplore.display.palette import ON_WHITE, showing_root
from mbexplore.display.palette import head_colour as head_colour
from mbexplore.display.palette import head_hues as head_hues
from mbexplore.network.config import LayerKind

FAINT = "#66717d"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@lru_cache
def kind_colours(kind: LayerKind) -> Colormap:
    """White to the kind's hue, evenly darker, for weights from nothing up."""
    return LinearSegmentedColormap.from_list(f"mbexplore-{kind}", ON_WHITE[kind])


@lru_cache
def signed_colours() -> Colormap:
    """Orange for less than nothing, white for nothing, blue for more: for differences."""
    stops = ["#5c2300", "#a84300", "#f5a15a", "#ffffff", "#6aaed6", "#0b4f8a", "#062a4f"]
    return LinearSegmentedColormap.from_list("mbexplore-signed", stops)


def weight_scale(weights: NDArray[np.float32]) -> tuple[PowerNorm, str]:
    """Colours for attention weights from nothing to the largest, and the name of the scale.

    Args:
        weights: (heads, rows, columns) of all the maps that share it.
    """
    root = showing_root(weights)
    norm = PowerNorm(1 / root, vmin=0.0, vmax=max(float(weights.max()), 1e-9))
    return norm, f"attention weight ({ {2: 'square', 3: 'cube', 4: 'fourth'}[root] }-root scale)"


def name_head(axes: Axes, name: str, hue: str) -> None:
    """A head's name over its picture, legible in ink, and its hue as a bar between the two."""
    axes.set_title(name, fontsize=9, color=INK, pad=5)
    above = ScaledTranslation(0, 2 / 72, axes.figure.dpi_scale_trans)
    bar = Line2D((0, 1), (1, 1), color=hue, linewidth=2.2, solid_capstyle="butt", clip_on=False)
    bar.set_transform(axes.transAxes + above)
    axes.add_artist(bar)


def mark_heads(axis: Axis, hues: Iterable[str]) -> None:
    """Ticks that stand for heads get their hues; their labels stay legible, in ink."""
    axis.set_tick_params(length=4, width=4, pad=3, labelcolor=INK)
    for tick, hue in zip(axis.get_major_ticks(), hues, strict=True):
        for line in (tick.tick1line, tick.tick2line):
            line.set_markeredgecolor(hue)


def plain_axes(axes: Axes) -> None:
    """Thin grey spines, no tick marks."""
    axes.tick_params(length=0, pad=3)
    axes.tick_params(axis="x", labelcolor=INK, labelsize=7.5)
    for spine in axes.spines.values():
        spine.set_color(FAINT)
        spine.set_linewidth(0.5)


def footer(figure: Figure, line: str) -> None:
    """One line at the foot of a picture, wrapped to its width: what it does not show."""
    letters = int(figure.get_figwidth() * 14)
    figure.supxlabel("\n".join(wrap(line, letters)), fontsize=8, color=FAINT, x=0.01, ha="left")


def plain_numbers(axis: Axis) -> None:
    """Writes a logarithmic axis as 1, 10, 100, without small ticks."""
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(NullLocator())


def name_bar(bar: Colorbar, label: str) -> None:
    """Names a colour bar, small and without a frame."""
    bar.set_label(label, fontsize=8, color=INK)
    bar.ax.yaxis.label.set_parse_math(False)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)


def name_figure(figure: Figure, model: str, what: str, line: str = "", colour: str = INK) -> None:
    """The title of a picture: which model, what is shown, and a second line if there is one."""
    first = drawable(f"{PurePath(model).name}: {what}")
    figure.suptitle(f"{first}\n{line}".strip(), color=colour, fontsize=12).set_parse_math(False)


def layer_labels(axes: Axes, kinds: tuple[LayerKind, ...], *, states: bool) -> None:
    """Names layers (or, with `states`, the embeddings and every layer) up the y axis, in hue."""
    names = ["embeddings"] * states + [f"layer {i}" for i in range(len(kinds))]
    axes.set_yticks(range(len(names)), names, fontsize=8, color=INK)
    for label, kind in zip(axes.get_yticklabels()[states:], kinds, strict=True):
        label.set_color(HUE[kind])


def drawable(text: str) -> str:
    """The text with every character that the font lacks, or that can't be seen, replaced."""
    font = get_font(findfont(FontProperties()))
    shown = text.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}")
    return "".join(
        c if c.isprintable() and font.get_char_index(ord(c)) else "\N{WHITE SQUARE}" for c in shown
    )


def token_label(token: str, most: int = 14) -> str:
    """A token as an axis label: without its leading space, cut if long."""
    shown = drawable(token.removeprefix(" ")) or "\N{OPEN BOX}"
    return shown if len(shown) <= most else shown[: most - 1] + ELLIPSIS


def label_tokens(
    axes: Axes,
    tokens: tuple[str, ...],
    pool: int,
    axis: str,
    most: int,
    size: float,
    numbers: Sequence[int] | None = None,
) -> None:
    """Writes token labels on the x or y axis of a map, thinned to at most `most` of them.

    `numbers` are the tokens' positions, where they are not simply 0, 1, 2.
    """
    numbers = range(len(tokens)) if numbers is None else numbers
    pixels = -(-len(tokens) // pool)
    step = max(1, -(-pixels // most))
    ticks = list(range(0, pixels, step))
    if pool * step == 1:
        labels = [token_label(tokens[i]) for i in ticks]
    else:  # a label among hundreds needs its place
        labels = [f"{token_label(tokens[i * pool], 10)} {numbers[i * pool]}" for i in ticks]

    def name(place: float) -> str:
        """Every token of a pixel, for who points at it."""
        held = range(round(place) * pool, min(round(place) * pool + pool, len(tokens)))
        ends = [f"{token_label(tokens[i])} {numbers[i]}" for i in (held[0], held[-1])]
        return f" {ELLIPSIS} ".join(dict.fromkeys(ends))

    if axis == "x":
        axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
        axes.fmt_xdata = name
    else:
        axes.set_yticks(ticks, labels, fontsize=size)
        axes.fmt_ydata = name
    for label in axes.get_xticklabels() if axis == "x" else axes.get_yticklabels():
        label.set_parse_math(False)  # a token may be a dollar sign
