"""The logit lens of one position, or of every position, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.lens import NOT_SHOWN, Lens, LensMap
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.view import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COLOURS = ("rank", "entropy", "kl")


def view_lens(explorer: Explorer, encoding: Encoding, found: Lens, answer: str | None) -> View:
    """One position, layer by layer.

    Args:
        explorer: whose lens it is.
        encoding: of the text.
        found: what to show.
        answer: the token that was asked about; None for the model's own answer.
    """

    def payload() -> dict[str, Any]:
        model = dataclasses.asdict(explorer.info)
        return {"model": model, **dataclasses.asdict(found), "not_shown": NOT_SHOWN}

    def draw() -> Figure:
        from mbexplore.plots.lens import plot_lens

        return plot_lens(found, explorer.model.config.layer_kinds, explorer.info.name)

    def rows() -> Iterator[list[object]]:
        yield ["state", "token", "probability", "rank", "answer_probability", "kl", "entropy"]
        for row in found.rows:
            for p in row.predictions:
                yield [row.state, p.token, p.probability, row.rank, row.probability, row.kl,
                       row.entropy]  # fmt: skip

    command = build_command(
        "lens",
        explorer.info,
        encoding,
        at=found.target.position,
        answer=answer,
        top_k=len(found.rows[0].predictions),
    )
    return View("lens", command, payload, draw, rows=rows)


def view_lens_map(
    explorer: Explorer, encoding: Encoding, found: LensMap, colour: str = "rank"
) -> View:
    """Every position: layers by tokens, coloured by one of `COLOURS`."""

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "tokens": list(found.tokens),
            "top": found.top,
            **{name: getattr(found, name).tolist() for name in COLOURS},
            "not_shown": NOT_SHOWN,
        }

    def draw() -> Figure:
        from mbexplore.plots.lens import plot_lens_map

        return plot_lens_map(found, explorer.model.config.layer_kinds, colour, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        values = {name: getattr(found, name) for name in COLOURS}
        return {"tokens": np.array(found.tokens), "top": np.array(found.top), **values}

    def rows() -> Iterator[list[object]]:
        yield ["state", "position", "token", "top", *COLOURS]
        for state, tops in enumerate(found.top):
            for i, top in enumerate(tops):
                values = (getattr(found, name)[state, i].item() for name in COLOURS)
                yield [state, i, found.tokens[i], top, *values]

    command = build_command(
        "lens",
        explorer.info,
        encoding,
        all=True,
        colour=colour,
    )
    return View("lens", command, payload, draw, arrays, rows)
