"""Predict: what the model says at every mask, beside Hugging Face."""

from __future__ import annotations

import threading
import time
from weakref import WeakSet

from mbexplore.explorer import DEFAULT_TOP_K, Answer, Comparison, Explorer, MaskPredictions
from mbexplore.views.predict import view_predict

from ..parts import cell, heading, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label

_WARM: WeakSet[Explorer] = WeakSet()
_WARMING = threading.Lock()


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
        if len(answer.masks) > 1:
            parts.append(heading(f"Mask at token {mask.position}"))
        right = (
            note("Hugging Face is answering\N{HORIZONTAL ELLIPSIS}")
            if other is None
            else _bars("Hugging Face", other, theirs)
        )
        parts.append(side_by_side(_bars("mbexplore", mask, ours), right))
    line = "" if comparison is None else comparison.summary
    return Shown(parts, view_predict(desk.explorer, answer, comparison), line)


def _timed(desk: Desk, top_k: int) -> tuple[Answer, float]:
    desk.explorer.predict(_short(desk.explorer))  # the first run of a process is not like others
    start = time.perf_counter()
    answer = desk.explorer.predict(desk.encoding, top_k=top_k)
    return answer, time.perf_counter() - start


def _compared(desk: Desk, answer: Answer) -> tuple[Comparison, float]:
    """Hugging Face's answer; opening its model is not part of the time, nor its first run."""
    with _WARMING:
        if desk.explorer not in _WARM:
            desk.explorer.compare(desk.explorer.predict(_short(desk.explorer)))
            _WARM.add(desk.explorer)
    start = time.perf_counter()
    comparison = desk.explorer.compare(answer)
    return comparison, time.perf_counter() - start


def _short(explorer: Explorer) -> str:
    """A text to warm up with."""
    return f"A {explorer.tokenizer.mask_token}."


def _bars(who: str, mask: MaskPredictions, seconds: float) -> Part:
    rows = [
        [
            cell(label(p.token)),
            cell(f"{p.probability:.1%}", bar=p.probability, hue="global"),
            cell(f"{p.logit:.3f}"),
        ]
        for p in mask.predictions
    ]
    title = f"{who} \N{MIDDLE DOT} {seconds * 1000:,.0f} ms"
    return table(["token", "probability", "logit"], rows, title=title, left=("token",))


PREDICT = PageView(
    name="predict",
    title="Predict",
    show=show,
    about="What the model would put at each mask, beside Hugging Face on the same weights.",
    labels={"top_k": "tokens named"},
    quick={"hugging_face": False},
)
