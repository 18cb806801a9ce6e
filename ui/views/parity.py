"""Parity: how far our numbers are from Hugging Face's, layer by layer."""

from __future__ import annotations

from mbexplore.reference.verify import Check, Verification, verify
from mbexplore.views.verify import view_verify

from ..parts import cell, line, lines, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from .common import scientific, state_names

EXACT = 1e-10
"""Where exact agreement stands on a logarithmic axis."""


def show(desk: Desk, whole: bool = True) -> Shown:
    """Every value of one forward pass beside Hugging Face's, with what is allowed to each.

    Args:
        desk: the text and the model.
        whole: whether to run the comparison; without it the view only says what it will do.
    """
    if not whole:
        return Shown([note("Opening the same weights in transformers\N{HORIZONTAL ELLIPSIS}")])
    result = desk.once(
        "parity", lambda: verify(desk.explorer, [desk.encoding.ids], desk.progress.move)
    )
    view = view_verify(desk.explorer, result, desk.encoding)
    return Shown([_curves(desk, result), _outside(result)], view, _verdict(result))


def _verdict(result: Verification) -> str:
    largest = max(check.max_abs for check in result.checks)
    if result.first_mismatch is None:
        return (
            f"Every value is within its tolerance of transformers {result.version}; the largest "
            f"difference is {scientific(largest)}."
        )
    layer = result.first_mismatch.layer
    where = "outside the layers" if layer is None else f"in layer {layer}"
    return f"The two part {where}, at its {result.first_mismatch.what}."


def _curves(desk: Desk, result: Verification) -> Part:
    """Largest difference of each layer's state and map, under what is allowed to them."""
    names = state_names(desk.explorer.model.config)[1:]
    charts = []
    for what, title in (("hidden state", "Hidden states"), ("attention map", "Attention maps")):
        checks = [c for c in result.checks if c.what == what and c.layer is not None]
        found = line("largest difference", [max(c.max_abs, EXACT) for c in checks], dots=True)
        allowed = line("allowed", [c.tolerance for c in checks], dashed=True)
        charts.append(
            lines(
                [found, allowed], title=f"{title}: largest difference from Hugging Face",
                y="difference", log_y=True, ticks=names,
            )
        )  # fmt: skip
    return side_by_side(*charts)


def _outside(result: Verification) -> Part:
    """The values before and after the layers, and whatever parted."""
    picked = [check for check in result.checks if check.layer is None or not check.passed]
    return table(
        ["value", "largest", "mean", "allowed", ""],
        [
            [
                _name(check),
                scientific(check.max_abs),
                scientific(check.mean_abs),
                scientific(check.tolerance),
                cell(_passed(check)),
            ]
            for check in picked
        ],
        title="Before and after the layers",
        left=("value", ""),
    )


def _name(check: Check) -> str:
    if check.layer is not None:
        return f"{check.what} of layer {check.layer}"
    return "embeddings" if check.what == "hidden state" else check.what


def _passed(check: Check) -> str:
    return "\N{CHECK MARK} within" if check.passed else "\N{MULTIPLICATION X} beyond"


PARITY = PageView(
    name="parity",
    title="Parity",
    show=show,
    about="How far every value of the forward pass is from Hugging Face's on the same weights.",
    quick={"whole": False},
)
