"""How near texts are to one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from textwrap import shorten
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mbexplore.plots.style import INK, drawable, kind_colours, name_bar, plain_axes

MOST_TEXTS = 40
"""Rows drawn; of more texts the first ones, and the title says so."""


def plot_cosine(
    texts: Sequence[str], cosine: NDArray[np.floating[Any]], pooling: str, model: str
) -> Figure:
    """The cosine between every two texts.

    Args:
        texts: the rows, and by their numbers the columns.
        cosine: (text, text), from -1 to 1.
        pooling: how the vectors were made.
        model: name for the title.
    """
    shown = cosine[:MOST_TEXTS, :MOST_TEXTS]
    count = len(shown)
    cut = "" if count == len(texts) else f", the first {count} of {len(texts):,} texts"
    figure = Figure(
        figsize=(0.5 * count + 5.2, 0.42 * count + 1.5), facecolor="white", layout="constrained"
    )
    title = f"{PurePath(model).name}: cosine of {pooling} vectors{cut}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    axes = figure.subplots()
    # Sentence vectors are seldom far apart: the scale starts near the smallest cosine there is.
    norm = Normalize(min(0.9, np.floor(10 * float(shown.min())) / 10), 1.0)
    image = axes.imshow(shown, cmap=kind_colours("global"), norm=norm, aspect="auto")
    for i, row in enumerate(shown):
        for j, value in enumerate(row):
            colour = "white" if norm(value) > 0.5 else INK
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    names = [f"{drawable(shorten(text, 44, placeholder='…'))}  {i}" for i, text in enumerate(texts)]
    axes.set_yticks(range(count), names[:count], fontsize=8.5, color=INK, parse_math=False)
    axes.set_xticks(range(count), [str(i) for i in range(count)], fontsize=8.5, color=INK)
    axes.xaxis.tick_top()
    plain_axes(axes)
    bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=12, pad=0.02)
    name_bar(bar, "cosine")
    return figure
