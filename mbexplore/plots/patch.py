"""Pictures of activation patching."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from mbexplore.analysis.patch import LIMITS, Patching
from mbexplore.network.config import LayerKind
from mbexplore.plots.style import (
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


def plot_patching(patching: Patching, kinds: tuple[LayerKind, ...], model: str) -> Figure:
    """Four maps of restored shares: residual, attention, MLP by position; and heads.

    Args:
        patching: what to draw; the deepest layer is at the top, and where the two texts differ
            the label has both tokens.
        kinds: of the layers.
        model: name for the title.
    """
    seq, heads = len(patching.clean_tokens), patching.heads.shape[1]
    part, last = max(2.6, 0.3 * seq), max(1.6, 0.3 * heads)
    figure = Figure(
        figsize=(3 * part + last + 2.6, 0.3 * len(kinds) + 3.0), facecolor="white",
        layout="constrained",
    )  # fmt: skip
    answer, other = token_label(patching.target.token), token_label(patching.other.token)
    title = (
        f"{PurePath(model).name}: what brings back {answer} in place of {other} "
        f"{patching.target.place}"
    )
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    grid = figure.subplots(1, 4, width_ratios=[part, part, part, last])
    maps = [patching.residual, patching.attention, patching.mlp, patching.heads]
    names = ["residual stream", "attention output", "MLP output", "heads"]
    most = max(1.0, *(float(np.abs(values).max()) for values in maps))
    for axes, values, name in zip(grid, maps, names, strict=True):
        image = _draw(axes, values, most)
        axes.set_title(name, fontsize=9, color=INK)
        layer_labels(axes, kinds, states=len(values) > len(kinds))
        if name == "heads":
            axes.set_xticks(range(heads), [str(head) for head in range(heads)], fontsize=7)
        else:
            _label_tokens(axes, patching)
    bar = figure.colorbar(image, ax=grid, shrink=0.8, aspect=25, pad=0.01)
    name_bar(bar, "share restored (0 corrupted, 1 clean)")
    footer(figure, LIMITS)
    return figure


def _draw(axes: Axes, values: npt.NDArray[np.float32], most: float) -> AxesImage:
    image = axes.imshow(
        values, cmap=signed_colours(), norm=Normalize(-most, most), aspect="auto", origin="lower"
    )
    plain_axes(axes)
    return image


def _label_tokens(axes: Axes, patching: Patching) -> None:
    pairs = list(zip(patching.clean_tokens, patching.corrupted_tokens, strict=True))
    labels = [
        token_label(a) if a == b else f"{token_label(a, 10)} / {token_label(b, 10)}"
        for a, b in pairs
    ]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7, parse_math=False)
    for label, (a, b) in zip(axes.get_xticklabels(), pairs, strict=True):
        if a != b:
            label.set_color(HUE["local"])
            label.set_fontweight("bold")
