"""What each token takes from each other one in a layer, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.context_mixing import LIMITS, METHODS, ContextMixing
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def view_mix(
    explorer: Explorer, encoding: Encoding, layer: int, mixed: Callable[[], ContextMixing]
) -> View:
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
            **{method: getattr(found, method).tolist() for method in METHODS},
            "not_shown": LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.mix import plot_mix

        kind = explorer.model.config.layer_kinds[layer]
        return plot_mix(mixed(), kind, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        found = mixed()
        return {
            "tokens": np.array(found.tokens),
            **{method: getattr(found, method) for method in METHODS},
        }

    def rows() -> Iterator[list[object]]:
        found = mixed()
        yield ["query", "query_token", "key", "key_token", *METHODS]
        for i, query in enumerate(found.tokens):
            for j, key in enumerate(found.tokens):
                yield [
                    i,
                    query,
                    j,
                    key,
                    *(float(getattr(found, method)[i, j]) for method in METHODS),
                ]

    command = build_command("mix", explorer.info, encoding, layer=layer)
    return View("mix", command, payload, draw, arrays, rows)
