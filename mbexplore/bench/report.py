"""A benchmark as blocks and as plain data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from mbexplore.bench.result import Bench, Row, Side
from mbexplore.display.blocks import Bars, Block, Headline, Note, Table


def to_json(bench: Bench) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "model": bench.model,
        "dtype": bench.dtype,
        "repeats": bench.repeats,
        "busy": bench.busy,
        "machine": dataclasses.asdict(bench.machine),
        "rows": [_row(row) for row in bench.rows],
        "parts": [dataclasses.asdict(part) for part in bench.parts],
    }


def _row(row: Row) -> dict[str, Any]:
    names = ("work", "tokens", "ratio", "worst_ratio", "cpu_ratio", "memory_ratio", "difference")
    sides = {"left": _side(row.left), "right": row.right and _side(row.right)}
    return {name: getattr(row, name) for name in names} | sides


def _side(side: Side) -> dict[str, Any]:
    return dataclasses.asdict(side) | {"median": side.median, "spread": side.spread}


def to_rows(bench: Bench) -> Iterator[list[object]]:
    """A row for each side of each work, the header first."""
    yield ["work", "tokens", "side", "median_seconds", "spread", "peak_bytes", "ratio",
           "worst_ratio", "cpu_ratio", "memory_ratio", "difference"]  # fmt: skip
    for row in bench.rows:
        for side in (row.left, row.right):
            if side is not None:
                yield [row.work, row.tokens, side.name, side.median, side.spread, side.peak,
                       row.ratio, row.worst_ratio, row.cpu_ratio, row.memory_ratio,
                       row.difference]  # fmt: skip


def to_blocks(bench: Bench) -> Iterator[Block]:
    """The machine, a table for each opponent, how many times as fast, and where time goes."""
    machine = bench.machine
    peers = ", ".join(f"{name} {version}" for name, version in machine.peers.items())
    load = "Load unknown" if machine.load is None else f"Load before: {machine.load:.1f}"
    load += ", and one busy process meanwhile" if bench.busy else ""
    yield Headline(f"{bench.model}, {bench.dtype} on cpu")
    yield Note(
        f"{machine.processor}, {machine.threads} of {machine.cores} cores, {machine.system}. "
        f"mbexplore {machine.mbexplore}, {peers}, torch {machine.torch}, Python {machine.python}. "
        f"{load}; our threads wait: {machine.wait}."
    )
    opponents: dict[str | None, list[Row]] = {}
    for row in bench.rows:
        opponents.setdefault(row.right.name if row.right else None, []).append(row)
    for opponent, rows in opponents.items():
        yield _table(rows, opponent)
        if opponent is not None:
            yield Bars(
                tuple(map(_name, rows)),
                tuple(row.ratio or 0.0 for row in rows),
                title=f"Times as fast as {opponent}",
                unit="x",
            )
    if bench.parts:
        columns = ("where a forward pass goes", "tokens", "seconds", "share", "of the ceiling")
        yield Table(columns, tuple(
            (part.name, f"{part.tokens:,}", f"{part.seconds:.3f}", f"{part.share:.0%}",
             "" if part.ceiling is None else f"{part.ceiling:.0%}")
            for part in bench.parts
        ), left=columns[:1])  # fmt: skip
    differences = [row.difference for row in bench.rows if row.difference is not None]
    agreed = f" Answers differ by {max(differences):.0e} at most." if differences else ""
    yield Note(
        f"Seconds are medians of {bench.repeats} runs in turn, \N{PLUS-MINUS SIGN} half the way "
        "from the fastest to the slowest; worst is the least of single passes; CPU compares the "
        f"time of all threads; MiB the most a process held, weights included.{agreed}"
    )


def _name(row: Row) -> str:
    return row.work if row.tokens is None else f"{row.work}, {row.tokens:,} tokens"


def _table(rows: list[Row], opponent: str | None) -> Table:
    versus = () if opponent is None else (opponent, "faster", "worst", "CPU")
    memory = ("MiB",) if opponent is None else ("MiB", "MiB ")
    found = []
    for row in rows:
        cells = [row.work, "" if row.tokens is None else f"{row.tokens:,}", _seconds(row.left)]
        if opponent is not None and row.right is not None:
            ratios = (row.ratio, row.worst_ratio, row.cpu_ratio)
            shown = ["" if ratio is None else f"{ratio:.2f} x" for ratio in ratios]
            cells += [_seconds(row.right), *shown, _memory(row.left), _memory(row.right)]
        else:
            cells.append(_memory(row.left))
        found.append(tuple(cells))
    return Table(("work", "tokens", "mbexplore", *versus, *memory), tuple(found), left=("work",))


def _seconds(side: Side) -> str:
    if side.spread is None:
        return side.failure or ""
    spread = f" \N{PLUS-MINUS SIGN}{side.spread / 2:.0%}" if len(side.seconds) > 1 else ""
    return f"{side.median:.3g} s{spread}"


def _memory(side: Side) -> str:
    return "" if side.peak is None else f"{side.peak / 2**20:,.0f}"
