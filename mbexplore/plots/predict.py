"""What a model answers, as bars: ours, with Hugging Face's number as a ring on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbexplore.plots.style import FAINT, INK, drawable, footer, plain_axes, token_label

MOST_PANELS = 12
"""Questions drawn; of a text with more, the first ones, and the title says so."""
BAR = "#5b7083"
RING = "#c2185b"


@dataclass(frozen=True)
class Bars:
    """The answers to one question.

    Attributes:
        question: what was asked, such as the text around a mask.
        names: of the answers, the best first.
        ours: probability of each, or a score where `is_share` is false; None for one that only
            Hugging Face names.
        theirs: of Hugging Face; None for one that only we name. Empty where it was not asked.
    """

    question: str
    names: Sequence[str]
    ours: Sequence[float | None]
    theirs: Sequence[float | None] = ()


def plot_bars(groups: Sequence[Bars], title: str, note: str, *, is_share: bool = True) -> Figure:
    """Bars for every question, in a grid of panels.

    Args:
        groups: one a question.
        title: names the model.
        note: a line at the foot.
        is_share: whether the numbers are probabilities, and drawn on a scale from 0 to 1.
    """
    drawn = groups[:MOST_PANELS]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    tallest = max(len(group.names) for group in drawn)
    figure = Figure(
        figsize=(max(7.5, 4.2 * columns), rows * (0.27 * tallest + 0.95) + 1.0),
        facecolor="white", layout="constrained",
    )  # fmt: skip
    cut = f", the first {len(drawn)} of {len(groups)}" if len(drawn) < len(groups) else ""
    figure.suptitle(drawable(title + cut), color=INK, fontsize=12).set_parse_math(False)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, group in zip(panels, drawn, strict=False):
        _draw(axes, group, is_share)
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    if any(group.theirs for group in drawn):
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower right", ncols=2, fontsize=8,
                      frameon=False, labelcolor=INK)  # fmt: skip
    footer(figure, note)
    return figure


def _draw(axes: Axes, group: Bars, is_share: bool) -> None:
    places = range(len(group.names))
    ours = [(i, value) for i, value in enumerate(group.ours) if value is not None]
    theirs = [(i, value) for i, value in enumerate(group.theirs) if value is not None]
    axes.barh([i for i, _ in ours], [value for _, value in ours], height=0.62, color=BAR,
              label="mbexplore")  # fmt: skip
    if theirs:
        axes.plot([value for _, value in theirs], [i for i, _ in theirs], "o", markersize=6,
                  markerfacecolor="none", markeredgecolor=RING, markeredgewidth=1.4,
                  label="Hugging Face", clip_on=False)  # fmt: skip
    known = [value for _, value in ours + theirs]
    low, high = min(0.0, *known, 0.0), max(0.0, *known, 0.0)
    room = 0.22 * ((high - low) or 1.0)
    for i, value in ours:
        right = max([value, *(other for j, other in theirs if j == i)])
        label = f"{value:.1%}" if is_share else f"{value:+.3f}"
        axes.annotate(label, (max(right, 0.0), i), xytext=(7, 0), textcoords="offset points",
                      va="center", fontsize=8, color=INK)  # fmt: skip
    axes.set_xlim(low, high + room)
    axes.set_yticks(places, [token_label(name, 18) for name in group.names], fontsize=8.5,
                    color=INK, parse_math=False)  # fmt: skip
    axes.invert_yaxis()
    axes.set_ylim(len(group.names) - 0.4, -0.6)
    axes.set_title(drawable(group.question), fontsize=9, color=INK, loc="left",
                   parse_math=False)  # fmt: skip
    plain_axes(axes)
    axes.set_xticks([])
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(FAINT)
