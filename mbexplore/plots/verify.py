"""The error curve of a verification."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mbexplore.plots.style import FAINT, HUE, INK
from mbexplore.reference.verify import Check, Verification


def plot_verification(verification: Verification, title: str) -> Figure:
    """Largest difference from transformers after each layer, with what is allowed.

    Args:
        verification: what was compared.
        title: names the model.
    """
    figure = Figure(figsize=(9, 4.5), facecolor="white", layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, color=INK, fontsize=11, loc="left").set_parse_math(False)
    layered = [check for check in verification.checks if check.layer is not None]
    for what, marker in (("hidden state", "o"), ("attention map", "s")):
        of_kind = [check for check in layered if check.what == what]
        layers = [check.layer or 0 for check in of_kind]
        axes.plot(layers, [_floor(c.max_abs) for c in of_kind], color=FAINT, lw=1, zorder=1)
        axes.plot(layers, [c.tolerance for c in of_kind], color=FAINT, lw=1, ls=":", zorder=1)
        axes.annotate(
            f"{what},\nallowed", (layers[-1], of_kind[-1].tolerance), xytext=(8, 0),
            textcoords="offset points", va="center", fontsize=8, color=FAINT,
        )  # fmt: skip
        for kind in ("global", "local"):
            drawn = [check for check in of_kind if check.kind == kind]
            axes.scatter(
                [check.layer or 0 for check in drawn], [_floor(check.max_abs) for check in drawn],
                marker=marker, s=28, color=HUE[kind], label=f"{what}, {kind}", zorder=2,
            )  # fmt: skip
    _mark_parting(axes, verification.first_mismatch)
    axes.set_yscale("log")
    axes.set_xlabel("layer", color=INK)
    axes.set_ylabel("largest difference from transformers", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", lw=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4)
    return figure


def _floor(difference: float) -> float:
    """Where a difference stands on a logarithmic axis: exact agreement at its foot."""
    return max(difference, 1e-9)


def _mark_parting(axes: Axes, parting: Check | None) -> None:
    if parting is not None and parting.layer is not None:
        axes.axvline(parting.layer, color="#b00020", lw=1, ls="--")
