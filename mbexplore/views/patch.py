"""Where the difference between two texts becomes the answer, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.patch import LIMITS, Patching
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MAPS = ("residual", "attention", "mlp", "heads")


def view_patch(
    explorer: Explorer,
    clean: str,
    corrupted: str,
    found: Patching,
    answer: str | None,
    other: str | None,
    context: str | None = None,
    *,
    truncate: bool = False,
) -> View:
    """Share of the difference that each place restores.

    Args:
        explorer: whose answer it is.
        clean: the text whose answer comes back.
        corrupted: the text it comes back in.
        found: what to show.
        answer: the clean answer that was asked for; None for the model's own.
        other: the corrupted text's, likewise.
        context: a second text that both were followed by.
        truncate: whether they were cut where they were too long.
    """

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "clean_tokens": list(found.clean_tokens),
            "corrupted_tokens": list(found.corrupted_tokens),
            "target": dataclasses.asdict(found.target),
            "other": dataclasses.asdict(found.other),
            "clean_difference": found.clean_difference,
            "corrupted_difference": found.corrupted_difference,
            **{name: getattr(found, name).tolist() for name in MAPS},
            "not_shown": LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.patch import plot_patching

        return plot_patching(found, explorer.model.config.layer_kinds, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        return {
            "clean_tokens": np.array(found.clean_tokens),
            "corrupted_tokens": np.array(found.corrupted_tokens),
            **{name: getattr(found, name) for name in MAPS},
        }

    def rows() -> Iterator[list[object]]:
        yield ["map", "row", "column", "token", "restored"]
        for name in MAPS:
            for (row, column), share in _cells(getattr(found, name)):
                token = "" if name == "heads" else found.clean_tokens[column]
                yield [name, row, column, token, share]

    command = build_command(
        "patch",
        explorer.info,
        [clean, corrupted],
        context=context,
        at=found.target.position,
        answer=answer,
        other=other,
        truncate=truncate,
    )
    return View("patch", command, payload, draw, arrays, rows)


def _cells(values: NDArray[Any]) -> Iterator[tuple[tuple[int, int], float]]:
    rows, columns = values.shape
    return (((r, c), float(values[r, c])) for r in range(rows) for c in range(columns))
