"""Attribution: how much each token adds to the logit of the answer."""

from __future__ import annotations

from mbexplore.analysis.ablate import ablated_predictions
from mbexplore.analysis.attribute import (
    LIMITS,
    MOST_ERROR,
    STEPS,
    Attribution,
    Baseline,
    attribute,
)
from mbexplore.views.attribute import view_attribution

from ..parts import cell, note, side_by_side, strip, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import asked_position, gives_number, prediction_table, signed

STRONGEST = 10
"""Tokens in the table."""


def show(
    desk: Desk,
    token: int = -1,
    answer: str = "",
    contrast: str = "",
    baseline: Baseline = "mask",
    steps: int = STEPS,
    whole: bool = True,
) -> Shown:
    """Shares the answer's logit out among the tokens of the text.

    Args:
        desk: the text and the model.
        token: the one asked about; see `common.asked_position`.
        answer: the token explained; the model's own answer by default.
        contrast: why the answer and not this token.
        baseline: what the text is set against.
        steps: points on the path from there to the text.
        whole: whether to walk the path, and not only to predict.
    """
    place = asked_position(desk, token)
    if not whole:
        return Shown([_prediction(desk, place)])
    wanted, against = answer.strip() or None, contrast.strip() or None
    found = desk.once(
        ("attribute", place, wanted, against, baseline, steps),
        lambda: attribute(
            desk.explorer, desk.encoding, place, answer=wanted, contrast=against,
            baseline=baseline, steps=steps, progress=desk.progress.move,
        ),
    )  # fmt: skip
    parts = [
        strip(
            [label(each) for each in found.tokens], found.integrated, unit="logits", mark=place,
            title="Integrated gradients",
        ),
        side_by_side(_shares(found), _prediction(desk, place, found.target.token_id)),
        note(LIMITS),
    ]  # fmt: skip
    view = view_attribution(desk.explorer, desk.encoding, found, wanted, against)
    return Shown(parts, view, _completeness(found))


def _prediction(desk: Desk, place: int | None, followed: int | None = None) -> Part:
    """What the model answers; a model that gives a number has nothing else to choose."""
    if gives_number(desk):
        return note("The model gives one number, the logit that is shared out here.")
    clean = desk.once(
        ("without", (), place, "zero"),
        lambda: ablated_predictions(desk.explorer, desk.encoding, (), place),
    )
    return prediction_table("The prediction", clean, followed)


def _completeness(found: Attribution) -> str:
    of = f"the logit of {label(found.target.token)}"
    if found.contrast is not None:
        of += f" less that of {label(found.contrast.token)}"
    line = (
        f"The shares add up to {signed(sum(found.integrated))}: {of} is {signed(found.value)}, on "
        f"the baseline {signed(found.baseline_value)}; completeness error "
        f"{found.completeness_error:.2%}."
    )
    if found.completeness_error > MOST_ERROR:
        line += f" That is much: take more than {found.steps} steps."
    return line


def _shares(found: Attribution) -> Part:
    """The tokens with the largest shares."""
    order = sorted(range(len(found.tokens)), key=lambda i: -abs(found.integrated[i]))[:STRONGEST]
    most = max(1e-12, *(abs(found.integrated[i]) for i in order))
    rows: list[list[Part | str]] = [
        [
            cell(label(found.tokens[i]), token=i),
            str(i),
            cell(signed(found.integrated[i]), bar=found.integrated[i] / most, hue="signed"),
            signed(found.gradient_input[i]),
        ]
        for i in order
    ]
    return table(
        ["token", "place", "integrated", "gradient \N{MULTIPLICATION SIGN} input"], rows,
        title="Largest shares, in logits", left=("token",),
    )  # fmt: skip


ATTRIBUTE = PageView(
    name="attribute",
    title="Attribution",
    show=show,
    about="How much each token adds to the logit of the answer.",
    of_token=("token",),
    labels={
        "answer": "answer",
        "contrast": "and not",
        "baseline": "against",
        "steps": "steps",
    },
    hints={"answer": "the model's answer", "contrast": "no other token"},
    quick={"whole": False},
)
