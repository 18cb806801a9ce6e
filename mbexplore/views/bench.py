"""A benchmark in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.bench.result import Bench, Row, Side
from mbexplore.views.old import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_bench(bench: Bench, command: Sequence[str]) -> View:
    """Every row with its times, ratio and memory, and the parts of a forward pass.

    Args:
        bench: what was measured.
        command: the arguments that asked for it; the same again measures anew.
    """

    def payload() -> dict[str, Any]:
        return {
            "model": bench.model,
            "dtype": bench.dtype,
            "repeats": bench.repeats,
            "busy": bench.busy,
            "machine": dataclasses.asdict(bench.machine),
            "rows": [_row(row) for row in bench.rows],
            "parts": [dataclasses.asdict(part) for part in bench.parts],
        }

    def draw() -> Figure:
        from mbexplore.plots.bench import plot_bench

        return plot_bench(bench)

    def rows() -> Iterator[list[object]]:
        yield ["work", "tokens", "side", "median_seconds", "spread", "peak_bytes", "ratio",
               "worst_ratio", "cpu_ratio", "memory_ratio", "difference"]  # fmt: skip
        for row in bench.rows:
            for side in (row.left, row.right):
                if side is not None:
                    yield [row.work, row.tokens, side.name, side.median, side.spread, side.peak,
                           row.ratio, row.worst_ratio, row.cpu_ratio, row.memory_ratio,
                           row.difference]  # fmt: skip

    return View("bench", command, payload, draw, rows=rows)


def _row(row: Row) -> dict[str, Any]:
    return {
        "work": row.work,
        "tokens": row.tokens,
        "left": _side(row.left),
        "right": row.right and _side(row.right),
        "ratio": row.ratio,
        "worst_ratio": row.worst_ratio,
        "cpu_ratio": row.cpu_ratio,
        "memory_ratio": row.memory_ratio,
        "difference": row.difference,
    }


def _side(side: Side) -> dict[str, Any]:
    return dataclasses.asdict(side) | {"median": side.median, "spread": side.spread}
