"""The logit lens of one position, or of every position, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.lens import NOT_SHOWN, Lens, LensMap
from mbexplore.explorer import Explorer
from mbexplore.views.view import View, model_arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("rank", "entropy", "kl")


def view_lens(explorer: Explorer, found: Lens, text: str) -> View:
    """One position, layer by layer."""

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

    target = found.target
    command = [
        "lens", text, "--at", str(target.position), f"--answer={target.token}",
        *model_arguments(explorer.info),
    ]  # fmt: skip
    return View("lens", command, payload, draw, rows=rows)


def view_lens_map(explorer: Explorer, found: LensMap, text: str, colour: str = "rank") -> View:
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

    def rows() -> Iterator[list[object]]:
        yield ["state", "position", "token", "top", *COLOURS]
        for state, tops in enumerate(found.top):
            for i, top in enumerate(tops):
                values = (float(getattr(found, name)[state, i]) for name in COLOURS)
                yield [state, i, found.tokens[i], top, *values]

    command = ["lens", text, "--all", "--colour", colour, *model_arguments(explorer.info)]
    return View("lens", command, payload, draw, rows=rows)
