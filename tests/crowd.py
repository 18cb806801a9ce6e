"""`python -m tests.crowd [SECONDS] [PEOPLE]`: people who use the page's API, and what they leave.

32 people for a minute, if nothing else is said. Each looks at texts of their own, at heads of all
layers, and closes the page in the end. Prints errors, requests, how long answers took, and
resident memory before, at its peak, and after. Exits with 1 if anybody met an error, or if more
than a tenth more memory is held than before.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import mbexplore
from mbexplore.cli.ui import ENVIRONMENT

WORDS = ["the", "tide", "rises", "over", "the", "long", "[MASK]", "shore", "and", "falls", "again"]
MOST_KEPT = 0.10
"""Share of the memory held before that may be held in addition after."""


@dataclass
class Crowd:
    """What a crowd met: seconds of every answer, and a sentence for every failure."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def crowd(address: str, sessions, seconds: float, people: int) -> Crowd:
    """So many people ask for so long, and leave."""
    from tests.test_ui import ask_view

    end, met = time.monotonic() + seconds, Crowd()

    def person(number: int) -> None:
        mine, turn = f"person {number}", 0
        while time.monotonic() < end:
            text = f"{number} " + " ".join(WORDS * (1 + (number + turn // 6) % 8))
            start = time.monotonic()
            try:
                answer = ask_view(address, "attention", text, mine, layer=turn % 9, head=turn % 4)
                if f"'{number} the" not in answer["command"]:
                    met.errors.append(f"{mine} got {answer['command'][:60]}")
            except Exception as error:
                met.errors.append(repr(error))
            met.seconds.append(time.monotonic() - start)
            turn += 1
        sessions.drop(mine)

    crowded = [threading.Thread(target=person, args=(n,)) for n in range(people)]
    for one in crowded:
        one.start()
    for one in crowded:
        one.join()
    return met


def resident() -> float:
    """Memory of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def settled(sessions) -> float:
    """Resident memory when garbage is collected and one more page, the last, was closed."""
    gc.collect()
    sessions.session("the last", "tiny", "It [MASK].")
    sessions.drop("the last")
    return resident()


@contextmanager
def watched() -> Iterator[list[float]]:
    """The largest resident memory seen inside the `with` block, in a list of one."""
    peak, over = [resident()], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], resident())

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def main(seconds: float = 60.0, people: float = 32) -> bool:
    """One short crowd to warm up, then the measured one; whether all was well."""
    os.environ.update(ENVIRONMENT | os.environ)
    from tests.browser import served  # loads torch

    with served({"tiny": mbexplore.load("tiny", device="cpu")}) as (address, sessions):
        crowd(address, sessions, seconds / 4, int(people))
        before = settled(sessions)
        with watched() as peak:
            met = crowd(address, sessions, seconds, int(people))
        raw, after, left = resident(), settled(sessions), len(sessions)
    middle, late, last = np.percentile(met.seconds, (50, 95, 100))
    kept = after / before - 1
    print(f"{int(people)} people for {seconds:.0f} s: {len(met.seconds):,} requests, "
          f"{len(met.errors)} errors, {left} sessions left")  # fmt: skip
    print(f"answers: p50 {middle:.3f} s, p95 {late:.3f} s, slowest {last:.3f} s")
    print(
        f"resident: {before:.0f} MiB before, {peak[0]:.0f} at the peak, {raw:.0f} when they left, "
        f"{after:.0f} after ({kept:+.1%})"
    )
    for error in met.errors[:5]:
        print(error)
    return not met.errors and kept <= MOST_KEPT


if __name__ == "__main__":
    sys.exit(not main(*map(float, sys.argv[1:])))
