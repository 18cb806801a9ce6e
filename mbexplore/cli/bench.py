"""`mbexplore bench`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import notice, print_json, shown, write_whole
from mbexplore.errors import UsageError
from mbexplore.files import DRAWN

if TYPE_CHECKING:
    from rich.table import Table

    from mbexplore.bench.result import Bench, Row, Side


def bench(
    works: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[predict|features|forward|logits|bfloat16|record|batch|import]...",
            help="What to measure; predict, forward, record, batch and import by default.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option(
            help="Lengths of the texts, such as 16,512,2048,8192; each work's own by default.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            metavar="PEER,...",
            help="What to compare with: transformers, onnxruntime, openvino; the latter two need "
            "pip install 'mbexplore[bench]'.",
        ),
    ] = "transformers",
    busy: Annotated[
        bool, typer.Option("--busy", help="Keep one core busy with another process meanwhile.")
    ] = False,
    repeats: Annotated[int, typer.Option(help="Runs of each side that count.")] = 5,
    random: Annotated[
        str | None,
        typer.Option(
            help="Random weights of this size instead: tiny, base or large.", show_default=False
        ),
    ] = None,
    plot: view.Plot = False,
    output: view.Output = None,
    model: options.Model = None,
    json: options.Json = False,
) -> None:
    """Measure speed and memory beside others: the same work in turn, answers compared first.

    Everything runs on the processor, in float32 but for the work "bfloat16". The other runtimes get
    the same weights, exported by transformers and torch, and take part in features, forward,
    logits, batch and bfloat16.

    Example: mbexplore bench forward --tokens 16 --repeats 1
    """
    path = view.target(output, plot, "bench", (*DRAWN, "csv"))
    from mbexplore.bench.works import PEER_WORKS, WORKS, measure, prepared

    wanted, lengths = works or list(WORKS), None if tokens is None else _lengths(tokens)
    known = dict.fromkeys(WORKS + PEER_WORKS)
    for work in wanted:
        if work not in known:
            raise UsageError(f"There is no work {work!r}; choose {', '.join(known)}.")
    peers = _peers(against)
    if repeats < 1:
        raise UsageError(f"--repeats is {repeats}; give 1 or more.")
    if model is not None and random is not None:
        raise UsageError(f"Both -m {model} and --random {random} were given; give one of them.")
    with prepared(model, random, peers) as found:
        result = measure(
            wanted,
            found,
            tokens=lengths,
            against=peers,
            repeats=repeats,
            progress=notice,
            busy=busy,
        )
    from mbexplore.views.bench import view_bench

    command = ["bench", *wanted, "--repeats", str(repeats)]
    command += [] if peers == ["transformers"] else ["--against", ",".join(peers)]
    command += ["--busy"] * busy
    command += [] if lengths is None else ["--tokens", ",".join(map(str, lengths))]
    command += [] if model is None else ["-m", model]
    command += [] if random is None else ["--random", random]
    seen = view_bench(result, command)
    if path is not None:
        write_whole(path, seen.content(path.suffix.removeprefix(".").lower()))
    print_json(seen.payload()) if json else _print(result)


def _lengths(tokens: str) -> list[int]:
    try:
        lengths = sorted(int(length) for length in tokens.split(","))
    except ValueError:
        raise UsageError(f"--tokens {tokens!r} is no list of lengths; write 16,512.") from None
    if lengths[0] < 2:
        raise UsageError(f"--tokens has {lengths[0]}; give lengths of 2 or more.")
    return lengths


def _peers(against: str) -> list[str]:
    from mbexplore.bench.works import PEERS

    peers = against.split(",")
    for peer in peers:
        if peer not in PEERS:
            raise UsageError(f"--against has {peer!r}; choose from {', '.join(PEERS)}.")
        needed = [peer] if peer == "transformers" else [peer, "onnx", "onnxscript"]
        for package in needed:
            if find_spec(package) is None:
                raise UsageError(
                    f"--against {peer} needs the package {package}; pip install 'mbexplore[bench]'."
                )
    return peers


def _print(result: Bench) -> None:
    from rich.console import Console
    from rich.text import Text

    console, machine = Console(highlight=False), result.machine
    peers = ", ".join(f"{name} {version}" for name, version in machine.peers.items())
    load = "Load unknown" if machine.load is None else f"Load before: {machine.load:.1f}"
    load += ", and one busy process meanwhile" if result.busy else ""
    console.print(Text(f"Model: {shown(result.model)}, {result.dtype} on cpu", style="bold"))
    console.print(
        Text(
            f"{machine.processor}, {machine.threads} of {machine.cores} cores, {machine.system}\n"
            f"mbexplore {machine.mbexplore}, {peers}, torch {machine.torch}, "
            f"Python {machine.python}\n"
            f"{load}; our threads wait: {machine.wait}"
        )
    )
    by_opponent: dict[str | None, list[Row]] = {}
    for row in result.rows:
        by_opponent.setdefault(row.right.name if row.right else None, []).append(row)
    for opponent, rows in by_opponent.items():
        console.print(_table(rows, opponent))
    if result.parts:
        console.print(_parts_table(result))
    differences = [row.difference for row in result.rows if row.difference is not None]
    agreed = f" Answers differ by {max(differences):.0e} at most." if differences else ""
    console.print(
        Text(
            f"Seconds are medians of {result.repeats} runs in turn, \N{PLUS-MINUS SIGN} half the "
            "way from the fastest to the slowest; worst is the least of single passes; CPU "
            "compares the time of all threads; MiB the most a process held, weights included."
            + agreed,
            style="dim",
        )
    )


def _table(rows: list[Row], opponent: str | None) -> Table:
    ours, theirs = "mbexplore", opponent or ""
    columns = ["work", "tokens", ours, "MiB"] if opponent is None else [
        "work", "tokens", ours, theirs, "faster", "worst", "CPU", "MiB", "MiB",
    ]  # fmt: skip
    table = view.build_table(*columns, left=("work",))
    for row in rows:
        cells = [row.work, "" if row.tokens is None else f"{row.tokens:,}", _seconds(row.left)]
        if row.right is not None and row.ratio is not None:
            ratios = (row.ratio, row.worst_ratio, row.cpu_ratio)
            cells += ["" if ratio is None else f"{ratio:.2f} x" for ratio in ratios]
            cells.insert(3, _seconds(row.right))
            table.add_row(*cells, _memory(row.left), _memory(row.right))
        else:
            table.add_row(*cells, _memory(row.left))
    return table


def _parts_table(result: Bench) -> Table:
    table = view.build_table("where a forward pass goes", "tokens", "seconds", "share",
                             "of the ceiling", left=("where a forward pass goes",))  # fmt: skip
    for part in result.parts:
        table.add_row(
            part.name, f"{part.tokens:,}", f"{part.seconds:.3f}", f"{part.share:.0%}",
            "" if part.ceiling is None else f"{part.ceiling:.0%}",
        )  # fmt: skip
    return table


def _seconds(side: Side) -> str:
    spread = f" \N{PLUS-MINUS SIGN}{side.spread / 2:.0%}" if len(side.seconds) > 1 else ""
    return f"{side.median:.3g} s{spread}"


def _memory(side: Side) -> str:
    return "" if side.peak is None else f"{side.peak / 2**20:,.0f}"
