"""The pieces of work that are measured, and how: which sides, how often, in what order.

Both sides of a row live side by side and run in turn, so that whatever else the machine does
meets both. Before anything is timed their answers are compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbexplore.bench.commands import (
    OURS,
    THEIRS,
    Progress,
    corpus_rows,
    import_rows,
    lines_rows,
    predict_rows,
)
from mbexplore.bench.equal import TOLERANCE, Model, check_equal
from mbexplore.bench.lines import LINES
from mbexplore.bench.processes import Killed, Worker, busy_process, run_command, temporary_folder
from mbexplore.bench.result import PARTS, Bench, Part, Row, Side, find_machine
from mbexplore.errors import MbexploreError

WORKS = ("import", "predict", "forward", "record", "batch")
LONG_WORKS = ("lines", "corpus")
"""Works that are measured only where they are named."""
PEER_WORKS = ("features", "forward", "logits", "batch", "bfloat16")
LENGTHS = {
    "features": (16, 512, 2048),
    "forward": (16, 512, 2048),
    "logits": (512,),
    "bfloat16": (512,),
    "record": (2048,),
    "batch": (500,),
    "corpus": (512,),
}
"""Tokens of the texts where nobody asks for others; of a batch, those of its longest."""

MOST_FOR_MAPS = 2048
"""Tokens up to which transformers is asked for every attention map: more would take 10s of GiB."""

CEILING = 2048
"""Rows and columns of the square matrices whose product is the machine's ceiling."""


@dataclass(frozen=True)
class Entry:
    """One side of a row: its name, the module of its tasks, and the task."""

    name: str
    side: str
    task: str


EXPORTED = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
PEERS = (THEIRS, *EXPORTED)
PLAIN = Entry("plain forward", "ours", "forward")


def measure(
    works: Sequence[str],
    model: Model,
    *,
    tokens: Sequence[int] | None = None,
    against: Sequence[str] = (THEIRS,),
    repeats: int = 5,
    progress: Progress = lambda what: None,
    busy: bool = False,
    lines: int = LINES,
) -> Bench:
    """Measures pieces of work, one after the other.

    Args:
        works: names from `WORKS`.
        model: what to run.
        tokens: lengths of the texts; None for each work's own.
        against: names from `PEERS`, for the works of `PEER_WORKS`.
        repeats: runs of each side that count; one more before them does not.
        progress: called with what is measured next.
        busy: whether another process keeps one core busy meanwhile.
        lines: of the work "lines".

    Raises:
        ModelError: the two sides gave different answers, or one failed.
    """
    rows: list[Row] = []
    parts: list[Part] = []
    machine = find_machine(against)
    with busy_process() if busy else nullcontext():
        for work in works:
            lengths = tokens or LENGTHS.get(work, ())
            if work in PEER_WORKS:
                rows += _peer_rows(work, model, lengths, against, repeats, progress)
            elif work == "lines":
                rows += lines_rows(model, repeats, progress, lines)
            else:
                rows += _ROWS[work](model, lengths, repeats, progress)
            if work == "forward":
                parts += measure_parts(model, [n for n in lengths if n >= 512], repeats, progress)
    return Bench(model.name, "float32", repeats, machine, tuple(rows), tuple(parts), busy)


def contest(
    work: str,
    tokens: int,
    left: Entry,
    rights: Sequence[Entry],
    model: Model,
    repeats: int,
    tolerance: float = TOLERANCE["float32"],
) -> list[Row]:
    """A row for each opponent: all sides loaded, compared once, then run in turn.

    An opponent that the system kills, as it does where memory ends, gets a row that says so.

    Raises:
        ModelError: their answers differ, or a side failed by itself.
    """
    what = f"{work}, {tokens:,} tokens"
    workers: dict[Entry, Worker] = {}
    answers: list[NDArray[Any]] = []
    killed: list[Side] = []
    with ExitStack() as stack:
        for entry in (left, *rights):  # one after the other, so that none loads while another does
            folder = model.place(entry.side)
            worker = stack.enter_context(Worker(entry.side, entry.task, folder, tokens))
            try:
                worker.wait()
                answers.append(worker.result())
                workers[entry] = worker
            except Killed:
                if entry is left:
                    raise
                killed.append(Side(entry.name, (), None, failure="killed: too little memory?"))
        differences = [check_equal(answers[0], other, what, tolerance) for other in answers[1:]]
        order = list(workers.values())
        for worker in order:  # our second use packs weights: not counted
            worker.run(counts=False)
        for number in range(repeats):
            for worker in order if number % 2 == 0 else order[::-1]:
                worker.run()
        own, *sides = [
            Side(entry.name, tuple(worker.seconds), worker.peak, worker.loaded, tuple(worker.cpu))
            for entry, worker in workers.items()
        ]
    if not rights:
        return [Row(work, tokens, own)]
    rows = [
        Row(work, tokens, own, side, difference)
        for side, difference in zip(sides, differences, strict=True)
    ]
    return rows + [Row(work, tokens, own, side) for side in killed]


def measure_parts(
    model: Model, lengths: Sequence[int], repeats: int, progress: Progress
) -> list[Part]:
    """Where the time of our forward pass goes, beside the machine's own matrix product."""
    if not lengths:
        return []
    progress("the machine's own matrix product")
    with Worker("ours", "ceiling", model.folder, CEILING) as worker:
        worker.wait()
        for number in range(repeats + 1):
            worker.run(counts=number > 0)
        ceiling = 2.0 * CEILING**3 / min(worker.seconds)
    found = []
    for tokens in lengths:
        progress(f"parts of a forward pass, {tokens:,} tokens")
        with Worker("ours", "parts", model.folder, tokens) as worker:
            worker.wait()
            worker.run(counts=False)
            runs = np.stack([worker.result() for _ in range(repeats)])  # (run, part, 2)
        total = median(runs[:, :, 0].sum(axis=1))
        for i, name in enumerate(PARTS):
            seconds, operations = median(runs[:, i, 0]), runs[0, i, 1]
            share = operations / seconds / ceiling if operations and seconds else None
            found.append(Part(tokens, name, float(seconds), float(seconds / total), share))
    return found


# Features are the encoder's hidden states of every token.
_TITLES = {
    "features": "features",
    "forward": "logits of one token",
    "logits": "logits of every token",
    "batch": "64 texts of mixed lengths",
    "bfloat16": "features, bfloat16",
}


def _peer_rows(
    work: str,
    model: Model,
    lengths: Sequence[int],
    against: Sequence[str],
    repeats: int,
    progress: Progress,
) -> Iterator[Row]:
    rights = [
        Entry(THEIRS, "theirs", work)
        if peer == THEIRS
        else Entry(EXPORTED[peer], "exported", f"{peer} {work}")
        for peer in against
        if work != "bfloat16" or peer != "onnxruntime"  # whose processor kernels have no bfloat16
    ]
    tolerance = TOLERANCE["bfloat16" if work == "bfloat16" else "float32"]
    for tokens in lengths:
        progress(f"{_TITLES[work]}, {tokens:,} tokens")
        ours = Entry(OURS, "ours", work)
        yield from contest(_TITLES[work], tokens, ours, rights, model, repeats, tolerance)


def _record_rows(
    model: Model, lengths: Sequence[int], repeats: int, progress: Progress
) -> Iterator[Row]:
    def row(work: str, tokens: int, task: str, right: Entry | None) -> Row:
        progress(f"{work}, {tokens:,} tokens")
        rights = [] if right is None else [right]
        [found] = contest(work, tokens, Entry(OURS, "ours", task), rights, model, repeats)
        return found

    for tokens in lengths:
        if tokens <= MOST_FOR_MAPS:
            theirs = Entry(THEIRS, "theirs", "every map")
            yield row("everything recorded, every map once", tokens, "every map", theirs)
            work = "attention recorded, every map once"
            yield row(work, tokens, "attention and every map", theirs)
        yield row("attention recorded", tokens, "record attention", PLAIN)
        yield row("everything recorded", tokens, "record everything", PLAIN)
        yield row("a 256 x 256 tile of every head", tokens, "tile", None)
        yield row("a picture of one global head", tokens, "pooled picture", None)


_ROWS: dict[str, Callable[[Model, Sequence[int], int, Progress], Iterator[Row]]] = {
    "import": import_rows,
    "predict": predict_rows,
    "corpus": corpus_rows,
    "record": _record_rows,
}


@contextmanager
def prepared(
    name: str | None, size: str | None, against: Sequence[str] = (THEIRS,)
) -> Iterator[Model]:
    """The model to run, as long as the `with` block lasts.

    Args:
        name: of a model, as everywhere; None for the bundled one.
        size: "tiny", "base" or "large" for random weights of that size instead.
        against: names from `PEERS`; weights are exported for those that need it.

    Raises:
        MbexploreError: there is no such model, or it has no masked-language head.
    """
    with temporary_folder() as folder:
        prepare = [sys.executable, "-m", "mbexplore.bench.prepare"]
        done = run_command([*prepare, name or "", size or "", str(folder)])
        answer = json.loads(done.printed.splitlines()[-1])
        if "error" in answer:
            error = MbexploreError(answer["error"])
            error.exit_code = answer["exit_code"]
            raise error
        found = Path(answer["folder"])
        exported = None
        if EXPORTED.keys() & set(against):
            exported = folder / "exported"
            exported.mkdir()
            export = [sys.executable, "-m", "mbexplore.bench.export", str(found), str(exported)]
            run_command(export)
        yield Model(answer["name"], found, answer["mask"], found, exported)
