"""Predict: what the model says at every mask, beside Hugging Face."""

from __future__ import annotations

import time

from mbexplore.explorer import DEFAULT_TOP_K, Answer, Comparison, MaskPredictions
from mbexplore.views.predict import difference_line, view_predict

from ..parts import cell, heading, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label

AROUND = 6
"""Tokens named on each side of a mask."""


def show(desk: Desk, top_k: int = DEFAULT_TOP_K, hugging_face: bool = True) -> Shown:
    """The likeliest tokens at every mask, ours and Hugging Face's, with both times."""
    desk.explorer.encode_masked(desk.encoding.text)
    answer, ours = desk.once(("answer", top_k), lambda: _timed(desk, top_k))
    comparison, theirs = None, 0.0
    if hugging_face:
        comparison, theirs = desk.once(("compare", top_k), lambda: _compared(desk, answer))
    parts: list[Part] = []
    for i, mask in enumerate(answer.masks):
        other = None if comparison is None else comparison.masks[i]
        parts.append(heading(_place(desk, mask.position)))
        parts.append(
            side_by_side(
                _bars("mbexplore", mask, f"{ours * 1000:,.0f} ms"),
                _bars("Hugging Face", other, f"{theirs * 1000:,.0f} ms")
                if other
                else note("Hugging Face is answering\N{HORIZONTAL ELLIPSIS}"),
            )
        )
    line = "" if comparison is None else difference_line(comparison)
    return Shown(parts, view_predict(desk.explorer, answer, comparison), line)


def _timed(desk: Desk, top_k: int) -> tuple[Answer, float]:
    start = time.perf_counter()
    answer = desk.explorer.predict(desk.encoding, top_k=top_k)
    return answer, time.perf_counter() - start


def _compared(desk: Desk, answer: Answer) -> tuple[Comparison, float]:
    """Hugging Face's answer; opening its model is not part of the time."""
    _ = desk.explorer.reference
    start = time.perf_counter()
    comparison = desk.explorer.compare(answer)
    return comparison, time.perf_counter() - start


def _place(desk: Desk, position: int) -> str:
    """A mask in its sentence."""
    tokens = desk.encoding.tokens
    low, high = max(0, position - AROUND), min(len(tokens), position + AROUND + 1)
    words = " ".join(label(token) for token in tokens[low:high])
    return ("\N{HORIZONTAL ELLIPSIS} " if low else "") + words


def _bars(who: str, mask: MaskPredictions, seconds: str) -> Part:
    rows = [
        [
            cell(label(p.token)),
            cell(f"{p.probability:.1%}", bar=p.probability, hue="global"),
            cell(f"{p.logit:.3f}"),
        ]
        for p in mask.predictions
    ]
    return table(["token", "probability", "logit"], rows, title=f"{who} \N{MIDDLE DOT} {seconds}",
                 left=("token",))  # fmt: skip


PREDICT = PageView(
    name="predict",
    title="Predict",
    show=show,
    about="What the model would put at each mask, beside Hugging Face on the same weights.",
    labels={"top_k": "tokens named"},
    quick={"hugging_face": False},
)
