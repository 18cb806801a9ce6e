"""What each token adds to the answer's logit, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.attribute import LIMITS, Attribution
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_attribution(
    explorer: Explorer,
    encoding: Encoding,
    found: Attribution,
    answer: str | None,
    contrast: str | None,
) -> View:
    """A share of the logit for each token.

    Args:
        explorer: whose answer it is.
        encoding: of the text.
        found: what to show.
        answer: the token that was asked about; None for the model's own answer.
        contrast: the token it was set against, as it was asked for.
    """

    def payload() -> dict[str, Any]:
        model = dataclasses.asdict(explorer.info)
        return {"model": model, **dataclasses.asdict(found), "not_shown": LIMITS}

    def draw() -> Figure:
        from mbexplore.plots.attribute import plot_attribution

        return plot_attribution(found, explorer.info.name)

    def rows() -> Iterator[list[object]]:
        yield ["position", "token", "integrated", "gradient_input"]
        columns = zip(found.tokens, found.integrated, found.gradient_input, strict=True)
        yield from ([i, *column] for i, column in enumerate(columns))

    command = build_command(
        "attribute",
        explorer.info,
        encoding,
        at=found.target.position,
        answer=answer,
        contrast=contrast,
        baseline=found.baseline,
        steps=found.steps,
    )
    return View("attribute", command, payload, draw, rows=rows)
