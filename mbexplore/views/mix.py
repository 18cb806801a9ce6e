"""What each token takes from each other one in a layer, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.mix import NOT_SHOWN, WAYS, Mix
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def view_mix(explorer: Explorer, encoding: Encoding, layer: int, mixed: Callable[[], Mix]) -> View:
    """The four ways of telling it, and their differences.

    Args:
        explorer: whose layer it is.
        encoding: of the text.
        layer: from 0.
        mixed: gives what to show, when it is asked for.
    """

    def payload() -> dict[str, Any]:
        found = mixed()
        return {
            "model": dataclasses.asdict(explorer.info),
            "tokens": list(found.tokens),
            "layer": found.layer,
            "half_window": found.half_window,
            **{way: getattr(found, way).tolist() for way in WAYS},
            "not_shown": NOT_SHOWN,
        }

    def draw() -> Figure:
        from mbexplore.plots.mix import plot_mix

        kind = explorer.model.config.layer_kinds[layer]
        return plot_mix(mixed(), kind, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        found = mixed()
        return {"tokens": np.array(found.tokens), **{way: getattr(found, way) for way in WAYS}}

    def rows() -> Iterator[list[object]]:
        found = mixed()
        yield ["query", "query_token", "key", "key_token", *WAYS]
        for i, query in enumerate(found.tokens):
            for j, key in enumerate(found.tokens):
                yield [i, query, j, key, *(float(getattr(found, way)[i, j]) for way in WAYS)]

    command = build_command("mix", explorer.info, encoding, layer=layer)
    return View("mix", command, payload, draw, arrays, rows)
