"""Runs workers and whole commands, and measures them from outside. Loads nothing heavy.

What measures must stay small: a process that Linux starts is charged with the memory of the one
that started it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from mbexplore.errors import ModelError
from mbexplore.process import without_tuning

PIPELINE = """
import json, sys, torch
from transformers import pipeline
fill = pipeline("fill-mask", model=sys.argv[1], dtype=torch.float32)
print(json.dumps([[p["token"], p["score"]] for p in fill(sys.argv[2])]))
"""
"""How a user of transformers answers one sentence, in float32 whatever the file stores."""


_FOLDER = "mbexplore-bench"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for as long as the `with` block lasts.

    A process that is killed can't remove its own, so its name holds the process, and whoever comes
    next removes those of processes that are no more.
    """
    place = Path(tempfile.gettempdir())
    for folder in place.glob(f"{_FOLDER}-*"):
        owner = re.fullmatch(rf"{_FOLDER}-(\d+)-\w+", folder.name)
        if owner is not None and not _is_alive(int(owner[1])):
            shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_FOLDER}-{os.getpid()}-", dir=place) as name:
        yield Path(name)


def _is_alive(process: int) -> bool:
    """Whether there is such a process; where one can't ask without ending it, there may be."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another person's
        return True
    return True


def environment() -> dict[str, str]:
    """What every process here starts under: this one's, without what we set, without a network."""
    return without_tuning(os.environ) | {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


class Killed(ModelError):
    """The system ended a process, as it does with one that wants more memory than there is."""


class Worker:
    """One side of one piece of work in a process of its own; a context manager.

    Attributes:
        loaded: bytes the process had held at most before its first run.
        peak: the same after the last run.
        seconds: of the runs that count.
        cpu: seconds that all threads of the process computed or spun, likewise.
    """

    def __init__(self, side: str, task: str, folder: Path, tokens: int) -> None:
        self._what = f"{side}, {task} of {tokens:,} tokens"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mbexplore.bench.worker", side, task, str(folder), str(tokens)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(),
        )
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        self.peak: int | None = None
        self.loaded: int | None = None

    def wait(self) -> None:
        """Returns when the model is loaded."""
        self.loaded = self.peak = self._answer()["loaded"]

    def run(self, *, counts: bool = True) -> None:
        """Does the work once."""
        self._ask("")
        answer = self._answer()
        self.peak = answer["peak"]
        if counts:
            self.seconds.append(answer["seconds"])
            self.cpu.append(answer["cpu"])

    def result(self) -> NDArray[Any]:
        """Does the work once, uncounted, and returns what it gave."""
        with temporary_folder() as folder:
            path = folder / "answer.npy"
            self._ask(str(path))
            self.peak = self._answer()["peak"]
            self._answer()
            values: NDArray[Any] = np.load(path)
        return values

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            self._fail()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _fail(self) -> None:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"exit status {self._process.returncode}"
        kind = Killed if self._process.returncode < 0 else ModelError
        raise kind(f"The benchmark of {self._what} ended early ({reason}); try fewer tokens.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None:
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with suppress(BrokenPipeError):  # it was killed before it read what it was sent
                    stream.close()
        self._process.wait()


COMPETITOR = """
import os
parent = os.getppid()
while os.getppid() == parent:
    sum(range(100_000))
"""


@contextmanager
def busy_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that keeps one core busy for as long as the `with` block lasts."""
    process = subprocess.Popen([sys.executable, "-c", COMPETITOR])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Done(NamedTuple):
    """A whole command that has ended.

    Attributes:
        seconds: from its start to its end.
        peak: bytes it held at most; None where the system can't tell.
        printed: on standard output.
        cpu: seconds of all its threads; None where the system can't tell.
    """

    seconds: float
    peak: int | None
    printed: str
    cpu: float | None = None


def run_command(arguments: Sequence[str]) -> Done:
    """A whole command from start to end.

    Raises:
        ModelError: it failed.
    """
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(arguments, stdout=printed, stderr=errors, env=environment())
        peak = cpu = None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            cpu = usage.ru_utime + usage.ru_stime
        seconds = time.perf_counter() - start if process.wait() == 0 else 0.0
        printed.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            lines = errors.read().decode(errors="replace").strip().splitlines()
            raise ModelError(
                f"{' '.join(arguments[:4])} failed ({lines[-1] if lines else process.returncode}); "
                "run it by itself to see why."
            )
        return Done(seconds, peak, printed.read().decode(), cpu)
