"""What a model predicts, with Hugging Face's answer beside it where it was asked, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mbexplore.explorer import Answer, Comparison, Explorer, MaskPredictions
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mbexplore.plots.predict import Bars


def view_predict(explorer: Explorer, answer: Answer, comparison: Comparison | None) -> View:
    """The likeliest tokens at every mask.

    Args:
        explorer: which model.
        answer: ours.
        comparison: Hugging Face's, from `explorer.compare`; None where it was not asked.
    """
    theirs = (None,) * len(answer.masks) if comparison is None else comparison.masks

    def payload() -> dict[str, Any]:
        masks = [_mask(ours, other) for ours, other in zip(answer.masks, theirs, strict=True)]
        found = {
            "model": dataclasses.asdict(answer.model),
            "text": answer.encoding.text,
            "tokens": list(answer.encoding.tokens),
            "masks": masks,
        }
        if comparison is not None:
            found["hf"] = {
                "version": comparison.version,
                "max_abs_logit_difference": comparison.max_abs_logit_difference,
                "same_top_k": comparison.same_top_k,
            }
        return found

    def draw() -> Figure:
        from mbexplore.plots.predict import plot_bars

        bars = [
            _bars(answer, ours, other) for ours, other in zip(answer.masks, theirs, strict=True)
        ]
        title = f"{PurePath(explorer.info.name).name}: the likeliest tokens"
        return plot_bars(bars, title, "" if comparison is None else comparison.summary)

    def rows() -> Iterator[list[object]]:
        columns = ["token", "id", "probability", "logit"]
        if comparison is not None:
            columns += [f"hf_{name}" for name in columns]
        yield ["position", "rank", *columns]
        for ours, other in zip(answer.masks, theirs, strict=True):
            for rank, mine in enumerate(ours.predictions):
                pair = [mine] if other is None else [mine, other.predictions[rank]]
                cells = [x for p in pair for x in (p.token, p.token_id, p.probability, p.logit)]
                yield [ours.position, rank + 1, *cells]

    command = build_command(
        "predict",
        explorer.info,
        [answer.encoding.text],
        top_k=len(answer.masks[0].predictions),
        no_hf=comparison is None,
        truncate=answer.encoding.is_cut,
    )
    return View("predict", command, payload, draw, rows=rows)


def _mask(ours: MaskPredictions, theirs: MaskPredictions | None) -> dict[str, Any]:
    mask = {"position": ours.position, "predictions": _predictions(ours)}
    return mask if theirs is None else mask | {"hf_predictions": _predictions(theirs)}


def _predictions(mask: MaskPredictions) -> list[dict[str, Any]]:
    return [
        {"token": p.token, "id": p.token_id, "probability": p.probability, "logit": p.logit}
        for p in mask.predictions
    ]


def _bars(answer: Answer, ours: MaskPredictions, theirs: MaskPredictions | None) -> Bars:
    from mbexplore.plots.predict import Bars

    named = {p.token_id: p.token for p in (*ours.predictions, *(theirs or ours).predictions)}

    def shares(mask: MaskPredictions) -> Sequence[float | None]:
        by_id = {p.token_id: p.probability for p in mask.predictions}
        return [by_id.get(token_id) for token_id in named]

    most = 68 if len(answer.masks) == 1 else 38
    question = around(answer.encoding.text, answer.encoding.offsets[ours.position], most)
    if len(answer.masks) > 1:
        question = f"token {ours.position}: {question}"
    return Bars(question, list(named.values()), shares(ours), shares(theirs) if theirs else ())


def around(text: str, span: tuple[int, int], most: int) -> str:
    """The part of a text around a span, in whole words and at most `most` characters."""
    start, end = span
    left = max(0, min(start - (most - (end - start)) // 2, len(text) - most))
    right = min(len(text), max(left + most, end))
    while 0 < left < start and not text[left - 1].isspace():
        left += 1
    while end < right < len(text) and not text[right].isspace():
        right -= 1
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return ellipsis * (left > 0) + text[left:right] + ellipsis * (right < len(text))
