"""Patching: where in the model the difference between two texts becomes the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mbexplore.analysis.ablate import ablated_predictions
from mbexplore.analysis.patch import LIMITS, Patching, check_lengths, patch
from mbexplore.errors import TextError, UsageError
from mbexplore.explorer import Prediction
from mbexplore.views.patch import MAPS, view_patch

from ..parts import note, side_by_side
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import (
    asked_position,
    depth_heat,
    first_difference,
    pair_names,
    prediction_table,
    signed,
    window,
)

MOST_TOKENS = 120
"""Columns of a map that are drawn large."""

LONG = (
    "Patching runs the model again for every token at every layer, so a long text takes minutes "
    "to hours; a shorter pair that differs in the same way takes seconds."
)


def show(
    desk: Desk,
    layer: int = 0,
    token: int = -1,
    other: str = "",
    answer: str = "",
    other_answer: str = "",
    whole: bool = True,
    first: int = -1,
) -> Shown:
    """Patches every place of a second text with this text's values: what brings this answer back.

    Args:
        desk: the text whose answer comes back, and the model.
        layer: marked on the map of the residual stream.
        token: likewise; the one asked about, see `common.asked_position`.
        other: a second text of as many tokens that gets another answer.
        answer: this text's answer; the model's own by default.
        other_answer: the second text's; likewise.
        whole: whether to patch every place.
        first: of a long text's tokens, the first in the maps; by default the first that differs
            is inside.
    """
    place = asked_position(desk, token)
    if not other.strip():
        hint = f"Write a second text of {len(desk.encoding):,} tokens that gets another answer."
        return Shown([note(hint)])
    _check_length(desk, other)
    wanted = answer.strip() or None, other_answer.strip() or None
    if not whole:
        long = len(desk.encoding) > MOST_TOKENS
        return Shown([_both_predictions(desk, other, place), *([note(LONG)] if long else [])])
    _check_answers(_both(desk, other, place), wanted)
    found = desk.once(
        ("patch", other, place, wanted),
        lambda: patch(
            desk.explorer, desk.encoding.text, other, place, answer=wanted[0], other=wanted[1],
            progress=desk.progress.move,
        ),
    )  # fmt: skip
    view = view_patch(desk.explorer, desk.encoding.text, other, found, *wanted)
    parts = [
        _both_predictions(desk, other, place),
        *_patch_maps(desk, found, layer, token, first),
        note(LIMITS),
    ]
    return Shown(parts, view, _difference(found))


def _difference(found: Patching) -> str:
    return (
        f"The logit of {label(found.target.token)} less that of {label(found.other.token)} is "
        f"{signed(found.clean_difference)} on this text and {signed(found.corrupted_difference)} "
        "on the second; 0 is the second text's and 1 this text's."
    )


def _check_length(desk: Desk, other: str) -> None:
    """Makes sure that the second text can be laid over the first.

    Raises:
        TextError: it is of another length.
    """
    encoding = desk.explorer.encode(other, truncate=True)
    if encoding.is_cut:
        raise TextError(
            f"The second text has {encoding.full_length:,} tokens and this one "
            f"{len(desk.encoding):,}; write one of as many tokens."
        )
    check_lengths(desk.encoding, encoding)


def _check_answers(
    both: tuple[Sequence[Prediction], ...], wanted: tuple[str | None, str | None]
) -> None:
    """Makes sure that there is a difference to restore; in the page's words.

    Raises:
        UsageError: both texts have the same answer.
    """
    names = [name or found[0].token.strip() for name, found in zip(wanted, both, strict=True)]
    if names[0] == names[1]:
        raise UsageError(
            f"Both texts are answered {label(names[0])}, so there is no difference to restore; "
            "write another second text, or name two different answers."
        )


def _both_predictions(desk: Desk, other: str, place: int | None) -> Part:
    """What the two texts are answered, side by side."""
    both = _both(desk, other, place)
    return side_by_side(
        prediction_table("This text", both[0], both[0][0].token_id),
        prediction_table("The second text", both[1], both[0][0].token_id),
    )


def _both(desk: Desk, other: str, place: int | None) -> tuple[tuple[Prediction, ...], ...]:
    """What the two texts are answered."""

    def predict(text: str) -> tuple[Prediction, ...]:
        encoding = desk.explorer.encode(text)
        return ablated_predictions(desk.explorer, encoding, (), place)

    return desk.once(("both", other, place), lambda: (predict(desk.encoding.text), predict(other)))


def _patch_maps(desk: Desk, found: Patching, layer: int, token: int, first: int) -> list[Part]:
    """Shares restored: of the stream and of what is added to it by position, and of heads."""
    config = desk.explorer.model.config
    both = found.clean_tokens, found.corrupted_tokens
    seen = window(first, first_difference(*both), len(both[0]), MOST_TOKENS)
    most = max(1.0, *(float(abs(getattr(found, name)).max()) for name in MAPS))
    shared: dict[str, Any] = {"hue": "signed", "low": -most, "high": most, "unit": "restored"}
    by_token = shared | {"columns": pair_names(*both), "window": seen, "hold": ("layer", "token")}
    stream = depth_heat(
        config, found.residual, title="Residual stream", **by_token,
        mark=(layer + 1, token) if 0 <= token < len(both[0]) else None,
    )  # fmt: skip
    added = [
        depth_heat(config, getattr(found, name), title=title, **by_token)
        for name, title in (("attention", "Attention output"), ("mlp", "MLP output"))
    ]
    heads = depth_heat(
        config, found.heads, columns=[str(n) for n in range(found.heads.shape[1])],
        title="Heads, at all tokens", axis="head", hold=("layer", "head"), **shared,
    )  # fmt: skip
    return [side_by_side(stream, heads), side_by_side(*added)]


PATCH = PageView(
    name="patch",
    title="Patching",
    show=show,
    about="Where in the model the difference between two texts becomes the answer.",
    of_token=("token",),
    labels={
        "other": "second text",
        "answer": "answer",
        "other_answer": "second text's answer",
    },
    hints={
        "other": "as many tokens, another answer",
        "answer": "the model's answer",
        "other_answer": "the model's answer",
    },
    quick={"whole": False},
)
