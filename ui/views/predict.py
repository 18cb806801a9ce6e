"""Predict: what the model says at every mask, beside Hugging Face."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from weakref import WeakSet

from mbexplore.analysis.classify import (
    Candidate,
    ClassComparison,
    Classification,
    HeadOutput,
    classify,
    compare_classes,
    is_classifier,
)
from mbexplore.explorer import DEFAULT_TOP_K, Answer, Comparison, Explorer, MaskPredictions
from mbexplore.views.classify import view_classes
from mbexplore.views.predict import view_predict

from ..parts import cell, heading, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import MINUS, agreement, check_one_text, per_cent, prediction_table

MOST_TOKENS = 300
"""Rows of the table of labels by token."""
MOST_MASKS = 40
"""Masks whose answers are listed."""

_WARM: WeakSet[Explorer] = WeakSet()
_WARMING = threading.Lock()


def show(desk: Desk, top_k: int = DEFAULT_TOP_K, hugging_face: bool = True) -> Shown:
    """The likeliest tokens at every mask, ours and Hugging Face's, with both times; or labels."""
    if is_classifier(desk.explorer):
        return _show_labels(desk, top_k, hugging_face)
    desk.explorer.encode_masked(desk.encoding.text)
    answer, ours = desk.once(("answer", top_k), lambda: _timed(desk, top_k))
    comparison, theirs = None, 0.0
    if hugging_face:
        comparison, theirs = desk.once(("compare", top_k), lambda: _compared(desk, answer))
    parts: list[Part] = []
    for i, mask in enumerate(answer.masks[:MOST_MASKS]):
        other = None if comparison is None else comparison.masks[i]
        if len(answer.masks) > 1:
            parts.append(heading(f"Mask at token {mask.position}"))
        right = (
            note("Hugging Face is answering\N{HORIZONTAL ELLIPSIS}")
            if other is None
            else _bars("Hugging Face", other, theirs)
        )
        parts.append(side_by_side(_bars("mbexplore", mask, ours), right))
    if len(answer.masks) > MOST_MASKS:
        count = f"{len(answer.masks):,}"
        parts.append(note(f"The first {MOST_MASKS} of {count} masks; a saved file has all."))
    line = "" if comparison is None else agreement(comparison.summary)
    return Shown(parts, view_predict(desk.explorer, answer, comparison), line)


def _timed(desk: Desk, top_k: int) -> tuple[Answer, float]:
    desk.explorer.predict(_short(desk.explorer))  # the first run of a process is not like others
    start = time.perf_counter()
    with desk.counting():
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
    time = f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:,.1f} s"
    return prediction_table(f"{who} \N{MIDDLE DOT} {time}", mask.predictions, digits=3)


def _show_labels(desk: Desk, top_k: int, hugging_face: bool) -> Shown:
    """The labels of the text or of its tokens, ours and Hugging Face's."""
    check_one_text(desk)
    explorer = desk.explorer
    found = desk.once(("labels", top_k), lambda: classify(explorer, (desk.encoding,), top_k=top_k))
    comparison: ClassComparison | None = None
    if hugging_face:
        comparison = desk.once(("compare labels", top_k), lambda: compare_classes(explorer, found))
    is_whole = found.outputs[0].position is None
    parts = _text_labels(found, comparison) if is_whole else _token_labels(found, comparison)
    line = "" if comparison is None else agreement(comparison.summary)
    return Shown(parts, view_classes(explorer, found, comparison), line)


def _text_labels(found: Classification, comparison: ClassComparison | None) -> list[Part]:
    theirs: Part = note("Hugging Face is answering\N{HORIZONTAL ELLIPSIS}")
    if comparison is not None:
        theirs = _label_bars("Hugging Face", comparison.outputs[0])
    return [side_by_side(_label_bars("mbexplore", found.outputs[0]), theirs)]


def _label_bars(who: str, output: HeadOutput) -> Part:
    rows = [
        [cell(label(one.answer)), _share(one), cell(f"{one.logit:.3f}".replace("-", MINUS))]
        for one in output.candidates
    ]
    return table(["label", "probability", "logit"], rows, title=who, left=("label",))


def _token_labels(found: Classification, comparison: ClassComparison | None) -> list[Part]:
    """The likeliest label of every token."""
    tokens = found.encodings[0].tokens
    sides: list[Sequence[HeadOutput]] = [found.outputs]
    if comparison is not None:
        sides.append(comparison.outputs)
    rows: list[list[Part | str]] = []
    for i, token in enumerate(tokens[:MOST_TOKENS]):
        rows.append([cell(label(token), token=i), str(i)])
        for one in (side[i].candidates[0] for side in sides):
            rows[-1] += [label(one.answer), _share(one)]
    names = ["mbexplore", "probability", "Hugging Face", "its probability"][: 2 * len(sides)]
    parts = [table(["token", "place", *names], rows, title="The likeliest label of every token",
                   left=("token", "mbexplore", "Hugging Face"))]  # fmt: skip
    if len(tokens) > MOST_TOKENS:
        parts.append(
            note(f"The first {MOST_TOKENS} of {len(tokens):,} tokens; a saved file has all.")
        )
    return parts


def _share(one: Candidate) -> Part:
    """A probability; nothing where the head gives a plain number."""
    if one.probability is None:
        return cell("")
    return cell(per_cent(one.probability), bar=one.probability, hue="global")


PREDICT = PageView(
    name="predict",
    title="Predict",
    show=show,
    about="What the model would put at each mask, beside Hugging Face on the same weights.",
    labels={"top_k": "answers named"},
    quick={"hugging_face": False},
)
