"""Labels of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mbexplore.plots.style import (
    INK,
    drawable,
    footer,
    kind_colours,
    name_bar,
    plain_axes,
    token_label,
)

MOST_TOKENS = 60
"""Columns drawn; of a longer text the first ones, and the title says so."""


def plot_token_labels(
    tokens: Sequence[str],
    labels: Sequence[str],
    shares: NDArray[np.floating[Any]],
    model: str,
    note: str,
) -> Figure:
    """How likely each label is for each token.

    Args:
        tokens: of the text, left to right.
        labels: from the top.
        shares: (seq, label), from 0 to 1.
        model: name for the title.
        note: a line at the foot.
    """
    seq = min(len(tokens), MOST_TOKENS)
    figure = Figure(
        figsize=(max(6.0, 0.42 * seq + 2.6), 0.34 * len(labels) + 2.0),
        facecolor="white", layout="constrained",
    )  # fmt: skip
    cut = "" if seq == len(tokens) else f", the first {seq} of {len(tokens):,}"
    title = f"{model}: the label of each token{cut}"
    figure.suptitle(drawable(title), color=INK, fontsize=12).set_parse_math(False)
    axes = figure.subplots()
    image = axes.imshow(
        shares[:seq].T, cmap=kind_colours("global"), norm=Normalize(0, 1), aspect="auto"
    )
    for place, row in enumerate(shares[:seq]):
        best = int(row.argmax())
        axes.text(
            place, best, f"{row[best]:.0%}", ha="center", va="center", fontsize=7,
            color="white" if row[best] > 0.5 else INK,
        )  # fmt: skip
    axes.set_xticks(range(seq), [token_label(token, 12) for token in tokens[:seq]], rotation=90,
                    fontsize=8, parse_math=False)  # fmt: skip
    axes.set_yticks(range(len(labels)), [token_label(label, 24) for label in labels], fontsize=8.5,
                    color=INK, parse_math=False)  # fmt: skip
    plain_axes(axes)
    name_bar(figure.colorbar(image, ax=axes, shrink=0.9, aspect=14, pad=0.01), "probability")
    footer(figure, note)
    return figure
