"""What a benchmark measured: plain data. Loads nothing heavy."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from mbexplore.process import tune_process

PARTS = ("linear layers", "local attention", "global attention", "head", "the rest")
"""Of one forward pass; the rest are norms, activations, rotations and copies."""


@dataclass(frozen=True)
class Side:
    """One way of doing a piece of work, done several times in one process.

    Attributes:
        name: "mbexplore", "transformers", or what part of ours it is.
        seconds: of each run, in order.
        peak: bytes of memory the process held at most; None where the system can't tell.
        loaded: bytes it had held at most before the first run; None for whole processes.
        cpu: seconds of all its threads in each run; empty for whole processes.
        failure: how its process ended where it could not do the work; it has no seconds then.
    """

    name: str
    seconds: tuple[float, ...]
    peak: int | None
    loaded: int | None = None
    cpu: tuple[float, ...] = ()
    failure: str | None = None

    @property
    def median(self) -> float | None:
        """Median of the seconds; None where there are none."""
        return median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> float | None:
        """From the fastest run to the slowest, as a share of the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median if self.median else None


@dataclass(frozen=True)
class Row:
    """Two sides of the same work, run in turn.

    Attributes:
        work: what was done.
        tokens: of the text; None where it has no say.
        left: the side the benchmark is about.
        right: what it is compared with; None where nothing is.
        difference: largest absolute difference of the two answers; None where there is none.
    """

    work: str
    tokens: int | None
    left: Side
    right: Side | None = None
    difference: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times as long the right side takes; above 1 the left one is faster."""
        if self.right is None or not (self.right.median and self.left.median):
            return None
        return self.right.median / self.left.median

    @property
    def worst_ratio(self) -> float | None:
        """The same of the single pass, both sides in turn, that was worst for the left side."""
        if self.right is None or not self.right.seconds:
            return None
        passes = zip(self.left.seconds, self.right.seconds, strict=True)
        return min(right / left for left, right in passes)

    @property
    def cpu_ratio(self) -> float | None:
        """The same of the time of all threads, which another's load changes less."""
        if self.right is None or not (self.left.cpu and self.right.cpu):
            return None
        return median(self.right.cpu) / median(self.left.cpu)

    @property
    def memory_ratio(self) -> float | None:
        """The right side's peak memory in peaks of the left one."""
        if self.right is None or self.right.peak is None or self.left.peak is None:
            return None
        return self.right.peak / self.left.peak


@dataclass(frozen=True)
class Part:
    """Where the time of one forward pass goes.

    Attributes:
        tokens: of the text.
        name: one of `PARTS`.
        seconds: median over the runs.
        share: of the whole pass.
        ceiling: its floating-point operations a second, as a share of the machine's own matrix
            product; None for what is no matrix product.
    """

    tokens: int
    name: str
    seconds: float
    share: float
    ceiling: float | None


@dataclass(frozen=True)
class Machine:
    """What the figures depend on.

    Attributes:
        load: processes that ran or waited to run in the last minute; None where it is unknown.
        wait: how our threads wait for each other.
        peers: versions of what was compared with.
    """

    processor: str
    cores: int
    threads: int
    system: str
    python: str
    torch: str
    mbexplore: str
    load: float | None
    wait: str
    peers: dict[str, str]


@dataclass(frozen=True)
class Bench:
    """All that one call of the benchmark measured; `busy` where another process ran meanwhile."""

    model: str
    dtype: str
    repeats: int
    machine: Machine
    rows: tuple[Row, ...]
    parts: tuple[Part, ...] = ()
    busy: bool = False


def find_machine(peers: Sequence[str] = ("transformers",)) -> Machine:
    """This machine, as far as the standard library can tell.

    Args:
        peers: packages that are compared with.
    """
    import mbexplore

    cores, environ = os.cpu_count() or 1, dict(os.environ)
    tune_process(environ)
    return Machine(
        _processor(),
        cores,
        int(os.environ.get("OMP_NUM_THREADS", "") or cores),
        platform.platform(terse=True),
        platform.python_version(),
        version("torch"),
        mbexplore.__version__,
        os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        f"{environ['OMP_WAIT_POLICY'].lower()}, {environ.get('GOMP_SPINCOUNT', 'no')} spins",
        {peer: version(peer) for peer in peers},
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
