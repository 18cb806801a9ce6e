"""Compare: two texts, or two models on one text, side by side."""

from __future__ import annotations

from mbexplore.analysis.compare import LIMITS, RunComparison, compare
from mbexplore.errors import UsageError
from mbexplore.explorer import DEFAULT_TOP_K
from mbexplore.views.compare import view_compare

from ..parts import heat, note, side_by_side
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from .common import (
    asked_position,
    depth_heat,
    first_difference,
    held_or_first,
    labels_tokens,
    pair_names,
    prediction_table,
    window,
)

MOST_TOKENS = 120
"""Rows and columns of a map that are drawn large."""


def show(
    desk: Desk,
    layer: int = 0,
    head: int = 0,
    token: int = -1,
    other: str = "",
    other_model: str = "",
    mean: bool = True,
    top_k: int = DEFAULT_TOP_K,
    first: int = -1,
) -> Shown:
    """Predictions of both, where their residuals part, and how one attention map differs.

    Args:
        desk: one text and model.
        layer: whose attention is compared.
        head: one head, without `mean`.
        token: the one asked about in both, see `common.asked_position`; where that differs for
            masks, the first of each.
        other: the second text; the same one by default.
        other_model: the second model; the same one by default.
        mean: whether the maps are the mean of all heads.
        top_k: tokens named.
        first: of a long text's tokens, the first in the maps; by default the first that differs
            is inside.
    """
    if not other.strip() and not other_model:
        return Shown([note("Write a second text, or choose a second model.")])
    beside = desk.beside(other if other.strip() else desk.encoding.text, other_model)
    both = desk, beside
    place = _place(both, token)
    which = None if mean else head
    found = desk.once(
        ("compare", beside.encoding.text, other_model, layer, which, place, top_k),
        lambda: compare(
            *((each.explorer, each.recording) for each in both),
            layer=layer, head=which, position=place, top_k=top_k,
        ),
    )  # fmt: skip
    sides = [(each.explorer, each.encoding.text) for each in both]
    view = view_compare(sides[0], sides[1], found)
    parts = [_predictions(found), *_maps(desk, found, token, first)]
    parts.append(note(f"{found.unavailable_reason} {LIMITS}".strip()))
    return Shown(parts, view, _line(found))


def _place(both: tuple[Desk, Desk], token: int) -> int | None:
    """The token asked about in both; None for the first mask of each, or for the whole texts.

    Raises:
        MbexploreError: one of them has no answer, or only one has an answer about a token.
    """
    first, second = (asked_position(desk, token) for desk in both)
    if first == second or not any(map(labels_tokens, both)):
        return first if first == second else None
    if first is None or second is None:
        raise UsageError(
            "One of the two models labels tokens and the other whole texts, so their answers can't "
            "stand side by side; choose two that answer alike."
        )
    return min(first, second)  # inside both texts


def _line(found: RunComparison) -> str:
    if found.kl is None:
        return "The two choose among different things, so their answers have no distance."
    return f"KL(first || second) of the two answers is {found.kl:.3f} nats."


def _predictions(found: RunComparison) -> Part:
    names = [f"{side.model.name}, {which} text" for side, which in
             ((found.first, "this"), (found.second, "the second"))]  # fmt: skip
    if found.first.tokens == found.second.tokens:
        names = [side.model.name for side in (found.first, found.second)]
    sides = zip(names, (found.first, found.second), strict=True)
    followed = found.first.predictions[0].token_id if found.kl is not None else None
    return side_by_side(
        *(prediction_table(name, side.predictions, followed) for name, side in sides)
    )


def _maps(desk: Desk, found: RunComparison, token: int, first: int) -> list[Part]:
    """Where the residuals part, and the second attention map less the first."""
    if found.attention is None:
        return []
    both = found.first.tokens, found.second.tokens
    differs = first_difference(*both) or held_or_first(desk, token)
    seen = window(first, differs, len(both[0]), MOST_TOKENS)
    names = pair_names(*both)
    which = "mean of heads" if found.head is None else f"head {found.head}"
    maps = [
        heat(
            found.attention[seen], rows=names[seen], columns=names, hue="signed",
            title=f"Attention of layer {found.layer}, {which}", unit="second less first",
            row_hold=list(range(seen.start, seen.stop)), hold=("token", None), window=seen,
        )
    ]  # fmt: skip
    if found.residual_distance is not None:
        config = desk.explorer.model.config
        maps.insert(0, depth_heat(
            config, found.residual_distance, columns=names, title="Where the residuals part",
            hue="global", low=0.0, unit="cosine distance", hold=("layer", "token"), window=seen,
        ))  # fmt: skip
    return [side_by_side(*maps)]


COMPARE = PageView(
    name="compare",
    title="Compare",
    show=show,
    about="Two texts, or two models on one text: answers, residuals and attention.",
    of_token=("token",),
    labels={
        "other": "second text",
        "other_model": "second model",
        "mean": "mean of heads",
        "top_k": "answers named",
    },
    hints={"other": "the same text"},
    only={"head": {"mean": (False,)}},
)
