"""Knock-out: every head silenced alone, and what becomes of the prediction."""

from __future__ import annotations

from mbexplore.analysis.ablate import (
    LIMITS,
    Head,
    HeadAblation,
    Replacement,
    ablate_heads,
    ablated_predictions,
)
from mbexplore.explorer import Prediction
from mbexplore.views.knockout import view_head_effects

from ..parts import cell, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import asked_position, depth_heat, per_cent, prediction_table, signed

STRONGEST = 10
"""Heads in the table."""


def show(
    desk: Desk,
    layer: int = 0,
    head: int = 0,
    token: int = -1,
    answer: str = "",
    fill: Replacement = "zero",
    whole: bool = True,
) -> Shown:
    """Every head silenced alone: what becomes of the answer's logit, probability and rank.

    Args:
        desk: the text and the model.
        layer: of the head whose loss is shown beside the prediction.
        head: likewise.
        token: the one asked about; see `common.asked_position`.
        answer: the token followed; the model's own answer by default.
        fill: what a silenced head gives: zero, or its mean over the text.
        whole: whether to silence every head, and not the held one alone.
    """
    desk.explorer.check_layer_and_head(layer, head)
    place, wanted = asked_position(desk, token), answer.strip() or None
    beside = _without_head(desk, layer, head, place, fill)
    if not whole:
        return Shown([beside])
    effects = desk.once(
        ("knockout", place, wanted, fill),
        lambda: ablate_heads(
            desk.explorer, desk.encoding, place, answer=wanted, replacement=fill,
            progress=desk.progress.move,
        ),
    )  # fmt: skip
    view = view_head_effects(desk.explorer, desk.encoding, effects, wanted, fill)
    parts = [
        side_by_side(_head_map(desk, effects, layer, head), _strongest(desk, effects)),
        beside,
        note(f"\N{BULLET} marks a head without which the answer has another rank. {LIMITS}"),
    ]
    return Shown(parts, view, _standing(effects))


def _without_head(desk: Desk, layer: int, head: int, place: int | None, fill: Replacement) -> Part:
    """The prediction with every head, and without the held one."""

    def without(*parts: Head) -> tuple[Prediction, ...]:
        return desk.once(
            ("without", parts, place, fill),
            lambda: ablated_predictions(
                desk.explorer, desk.encoding, parts, place, replacement=fill
            ),
        )

    clean = without()
    followed = clean[0].token_id
    return side_by_side(
        prediction_table("With every head", clean, followed),
        prediction_table(f"Without head {layer}.{head}", without(Head(layer, head)), followed),
    )


def _standing(effects: HeadAblation) -> str:
    clean = effects.clean
    return (
        f"{label(effects.target.token)} {effects.target.place} has logit "
        f"{clean.logit:.2f}, probability {per_cent(clean.probability)} and rank {clean.rank:,} "
        "with every head in place."
    )


def _head_map(desk: Desk, effects: HeadAblation, layer: int, head: int) -> Part:
    config = desk.explorer.model.config
    changes = effects.logit
    return depth_heat(
        config,
        changes,
        columns=[str(n) for n in range(changes.shape[1])],
        title=f"Change of the logit of {label(effects.target.token)} without each head",
        axis="head",
        hue="signed",
        unit="logits",
        texts=[
            [signed(float(change), 1) + "\N{BULLET}" * bool(rank != effects.clean.rank)
             for change, rank in zip(*row, strict=True)]
            for row in zip(changes, effects.rank, strict=True)
        ],
        hold=("layer", "head"),
        mark=(layer, head),
    )  # fmt: skip


def _strongest(desk: Desk, effects: HeadAblation) -> Part:
    """The heads whose loss changes the answer most."""
    kinds = desk.explorer.model.config.layer_kinds
    most = max(float(abs(effects.logit).max()), 1e-12)
    rows = []
    for layer, head in effects.strongest(STRONGEST):
        change = float(effects.logit[layer, head])
        rows.append([
            cell(f"{layer}.{head}", layer=layer, head=head),
            kinds[layer],
            cell(signed(change), bar=change / most, hue="signed"),
            signed(100 * float(effects.probability[layer, head]), 1) + "%",
            f"{effects.rank[layer, head]:,}",
        ])  # fmt: skip
    return table(
        ["head", "kind", "change of logit", "of probability", "rank"], rows,
        title="Heads whose loss changes it most", left=("head", "kind"),
    )  # fmt: skip


KNOCKOUT = PageView(
    name="knockout",
    title="Knock-out",
    show=show,
    about="What becomes of the prediction when a head is silenced; click a head.",
    of_token=("token",),
    labels={"answer": "answer", "fill": "a silent head gives"},
    hints={"answer": "the model's answer"},
    quick={"whole": False},
)
