"""How fast, beside what it is compared with."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mbexplore.bench.result import Bench, Row, Side
from mbexplore.plots.style import FAINT, HUE, INK

LEFT, RIGHT = HUE["global"], HUE["local"]


def plot_bench(bench: Bench) -> Figure:
    """Seconds of both sides of every row on a logarithmic axis, and how many times one is faster.

    A dot is a median; the line through it goes from the fastest run to the slowest.

    Args:
        bench: what was measured.
    """
    height = 1.6 + 0.5 * len(bench.rows)
    figure = Figure(figsize=(9, height), facecolor="white", layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(bench.rows):
        if row.right is not None:
            ends = [row.left.median, row.right.median]
            axes.plot(ends, [place, place], color=FAINT, lw=1, zorder=1)
            _draw_side(axes, row.right, place, RIGHT)
        _draw_side(axes, row.left, place, LEFT)
        axes.annotate(
            _note(row), (1, place), xycoords=("axes fraction", "data"), xytext=(8, 0),
            textcoords="offset points", va="center", fontsize=8, color=INK,
        )  # fmt: skip
    others = dict.fromkeys(row.right.name for row in bench.rows if row.right is not None)
    axes.set_yticks(range(len(bench.rows)), [_label(row) for row in bench.rows], fontsize=8)
    axes.set_ylim(len(bench.rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("seconds", color=INK, fontsize=8)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.tick_params(length=0, labelcolor=INK, labelsize=8)
    axes.grid(axis="x", color="#e4e7eb", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    axes.plot([], [], "o", color=LEFT, label="mbexplore")
    if others:
        axes.plot([], [], "o", color=RIGHT, label=" or ".join(others))
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside lower center")
    machine = bench.machine
    title = f"{bench.model}, {bench.dtype}"
    under = f"{machine.processor}, {machine.threads} threads, torch {machine.torch}"
    axes.set_title(f"{title}\n{under}", color=INK, fontsize=9, loc="left").set_parse_math(False)
    return figure


def _draw_side(axes: Axes, side: Side, place: int, colour: str) -> None:
    axes.plot([min(side.seconds), max(side.seconds)], [place, place], color=colour, lw=3, alpha=0.4)
    axes.plot(side.median, place, "o", color=colour, ms=6, zorder=3)


def _label(row: Row) -> str:
    return row.work if row.tokens is None else f"{row.work}, {row.tokens:,} tokens"


def _note(row: Row) -> str:
    if row.ratio is None or row.right is None:
        return f"{row.left.median:.3g} s"
    return f"{row.ratio:.2f} x as fast"
