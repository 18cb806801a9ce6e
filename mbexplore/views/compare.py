"""Two texts or two models side by side, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.compare import LIMITS, RunComparison
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MAPS = ("attention", "residual_distance")


def view_compare(
    first: tuple[Explorer, str],
    second: tuple[Explorer, str],
    found: RunComparison,
    context: str | None = None,
    *,
    truncate: bool = False,
) -> View:
    """Predictions of both, and the difference maps that their shapes allow.

    Args:
        first: a model and its text.
        second: likewise.
        found: what to show.
        context: a second text that both were followed by.
        truncate: whether they were cut where they were too long.
    """
    (explorer, text), (beside, other) = first, second
    maps = {name: values for name in _MAPS if (values := getattr(found, name)) is not None}

    def payload() -> dict[str, Any]:
        lists = {name: maps[name].tolist() if name in maps else None for name in _MAPS}
        return {**dataclasses.asdict(found), **lists, "not_shown": LIMITS}

    def draw() -> Figure:
        from mbexplore.plots.compare import plot_side_by_side

        return plot_side_by_side(found, explorer.model.config.layer_kinds)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        tokens = {"first_tokens": found.first.tokens, "second_tokens": found.second.tokens}
        return {**{name: np.array(each) for name, each in tokens.items()}, **maps}

    def rows() -> Iterator[list[object]]:
        yield ["rank", "first", "first_probability", "second", "second_probability"]
        pairs = zip(found.first.predictions, found.second.predictions, strict=True)
        for rank, (a, b) in enumerate(pairs, start=1):
            yield [rank, a.token, a.probability, b.token, b.probability]

    same = found.first.position == found.second.position
    command = build_command(
        "compare",
        explorer.info,
        [text] if other == text and beside is not explorer else [text, other],
        context=context,
        **{"with": None if beside is explorer else beside.info.name},
        layer=found.layer,
        head=found.head,
        at=found.first.position if same else None,
        top_k=len(found.first.predictions),
        truncate=truncate,
    )
    return View("compare", command, payload, draw, arrays, rows)
