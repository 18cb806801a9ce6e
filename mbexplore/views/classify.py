"""What a classifier answers, with Hugging Face's answer where it was asked, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.classify import Candidate, ClassComparison, Classification, HeadOutput
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command
from mbexplore.views.predict import around

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mbexplore.plots.predict import Bars


def view_classes(
    explorer: Explorer, found: Classification, comparison: ClassComparison | None
) -> View:
    """Labels, labels by token, an answer or a choice.

    Args:
        explorer: which model.
        found: ours.
        comparison: Hugging Face's, from `compare_classes`; None where it was not asked.
    """
    theirs = (None,) * len(found.outputs) if comparison is None else comparison.outputs
    pairs = list(zip(found.outputs, theirs, strict=True))
    encoding = found.encodings[0]
    text, *others = encoding.texts
    context = None if found.choices or not others else others[0]

    def payload() -> dict[str, Any]:
        answer = {
            "model": dataclasses.asdict(explorer.info),
            "task": found.task,
            "text": text,
            "context": context,
            "choices": list(found.choices),
            "tokens": [list(one.tokens) for one in found.encodings],
            "answers": [_ruling(ours, other) for ours, other in pairs],
        }
        if comparison is not None:
            answer["hf"] = {
                "version": comparison.version,
                "max_abs_logit_difference": comparison.max_abs_logit_difference,
                "same_order": comparison.same_order,
            }
        return answer

    def draw() -> Figure:
        from mbexplore.plots.classify import plot_token_labels
        from mbexplore.plots.predict import plot_bars

        name = PurePath(explorer.info.name).name
        note = "" if comparison is None else comparison.summary
        if found.outputs[0].position is None:
            bars = _bars(around(text, (0, 1), 68), *pairs[0])
            is_share = found.outputs[0].candidates[0].probability is not None
            return plot_bars([bars], f"{name} {found.task}", note, is_share=is_share)
        labels = explorer.model.config.labels
        return plot_token_labels(encoding.tokens, labels, found.shares.cpu().numpy(), name, note)

    def rows() -> Iterator[list[object]]:
        columns = ["answer", "probability", "logit"]
        hf = [f"hf_{column}" for column in columns] if comparison is not None else []
        yield ["position", "token", "rank", *columns, *hf]
        for ours, other in pairs:
            place = ours.position
            token = "" if place is None else encoding.tokens[place]
            for rank, mine in enumerate(ours.candidates):
                sides = [mine] if other is None else [mine, other.candidates[rank]]
                cells = [x for side in sides for x in (side.answer, side.probability, side.logit)]
                yield [place, token, rank + 1, *cells]

    command = build_command(
        "predict",
        explorer.info,
        [text],
        context=context,
        choice=list(found.choices),
        top_k=len(found.outputs[0].candidates),
        no_hf=comparison is None,
        truncate=any(one.is_cut for one in found.encodings),
    )
    return View("predict", command, payload, draw, rows=rows)


def _ruling(ours: HeadOutput, theirs: HeadOutput | None) -> dict[str, Any]:
    output = {"position": ours.position, "predictions": _candidates(ours)}
    return output if theirs is None else output | {"hf_predictions": _candidates(theirs)}


def _candidates(output: HeadOutput) -> list[dict[str, Any]]:
    return [dataclasses.asdict(candidate) for candidate in output.candidates]


def _bars(question: str, ours: HeadOutput, theirs: HeadOutput | None) -> Bars:
    from mbexplore.plots.predict import Bars

    def key(candidate: Candidate) -> object:
        return candidate.id, candidate.tokens

    both = (*ours.candidates, *(theirs or ours).candidates)
    named = {key(candidate): candidate.answer for candidate in both}

    def values(output: HeadOutput) -> list[float | None]:
        found = {key(c): c.logit if c.probability is None else c.probability
                 for c in output.candidates}  # fmt: skip
        return [found.get(name) for name in named]

    return Bars(question, list(named.values()), values(ours), values(theirs) if theirs else ())
