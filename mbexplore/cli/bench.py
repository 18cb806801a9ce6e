"""`mbexplore bench`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options
from mbexplore.cli.output import notice, print_blocks, print_json, write_whole
from mbexplore.errors import UsageError
from mbexplore.files import PICTURES

if TYPE_CHECKING:
    from mbexplore.bench.result import Bench


Works = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[predict|features|forward|logits|bfloat16|record|batch|lines|corpus|import]...",
        help="What to measure; predict, forward, record, batch and import by default.",
    ),
]
Tokens = Annotated[
    str | None,
    typer.Option(
        help="Lengths of the texts, such as 16,512,2048,8192; each work's own by default."
    ),
]
Against = Annotated[
    str,
    typer.Option(
        metavar="PEER,...",
        help="What to compare with: transformers, onnxruntime, openvino; the latter two need "
        "pip install 'mbexplore[bench]'.",
    ),
]
Busy = Annotated[
    bool, typer.Option("--busy", help="Keep one core busy with another process meanwhile.")
]
Repeats = Annotated[int, typer.Option(help="Runs of each side that count.")]
Lines = Annotated[
    int | None,
    typer.Option(help="Texts of the work lines; 10,000 by default. --repeats 1 is soon done."),
]
Random = Annotated[
    str | None,
    typer.Option(help="Random weights of this size instead: tiny, base or large."),
]


def bench(
    works: Works = None,
    tokens: Tokens = None,
    against: Against = "transformers",
    busy: Busy = False,
    repeats: Repeats = 5,
    lines: Lines = None,
    random: Random = None,
    plot: options.Plot = False,
    output: options.Output = None,
    model: options.Model = None,
    json: options.Json = False,
) -> None:
    """Measure speed and memory beside others: the same work in turn, answers compared first.

    Everything runs on the processor, in float32 but for the work "bfloat16". The other runtimes get
    the same weights, exported by transformers and torch, and take part in features, forward,
    logits, batch and bfloat16.

    Example: mbexplore bench forward --tokens 16 --repeats 1
    """
    path = options.target(output, plot, "bench", (*PICTURES, "html", "json", "csv"))
    from mbexplore.bench.works import LONG_WORKS, PEER_WORKS, WORKS, measure, prepared

    wanted, lengths = works or list(WORKS), None if tokens is None else _lengths(tokens)
    known = dict.fromkeys(WORKS + PEER_WORKS + LONG_WORKS)
    for work in wanted:
        if work not in known:
            raise UsageError(f"There is no work {work!r}; choose {', '.join(known)}.")
    peers = _peers(against)
    if repeats < 1:
        raise UsageError(f"--repeats is {repeats}; give 1 or more.")
    if model is not None and random is not None:
        raise UsageError(f"Both -m {model} and --random {random} were given; give one of them.")
    if lines is not None and "lines" not in wanted:
        raise UsageError(f"--lines {lines} has no effect without the work lines; name that too.")
    count = {} if lines is None else {"lines": lines}
    with prepared(model, random, peers) as found:
        result = measure(
            wanted, found, tokens=lengths, against=peers, repeats=repeats, progress=notice,
            busy=busy, **count,
        )  # fmt: skip
    from mbexplore.bench import report

    if path is not None:
        write_whole(path, _content(result, path.suffix.removeprefix(".").lower()))
    if json:
        print_json(report.to_json(result))
        return
    print_blocks(report.to_blocks(result))


def _content(result: Bench, ending: str) -> bytes:
    from mbexplore.bench import report
    from mbexplore.display.data import to_csv, to_json
    from mbexplore.display.figure import build_figure, to_bytes
    from mbexplore.display.page import build_page

    if ending == "json":
        return to_json(report.to_json(result))
    if ending == "csv":
        return to_csv(report.to_rows(result))
    blocks = list(report.to_blocks(result))
    if ending == "html":
        return build_page(blocks, "Benchmark", "mbexplore bench").encode()
    return to_bytes(build_figure(blocks), ending)


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
