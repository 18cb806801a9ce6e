"""`python -m tests.crowd`: 32 people for a minute through the page's API, and what they leave.

Prints requests, errors, the slowest answer, and resident memory before and after. Each person
looks at texts of their own, at heads of all layers, and closes the page in the end.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path

import mbexplore
from tests.browser import served
from tests.test_ui import ask_view

PEOPLE = 32
WORDS = ["the", "tide", "rises", "over", "the", "long", "[MASK]", "shore", "and", "falls", "again"]


def resident() -> float:
    """Memory of this process in MiB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def crowd(address: str, sessions, seconds: float) -> tuple[int, list[str], float]:
    """Requests made, sentences and failures got, and the slowest answer in seconds."""
    end = time.monotonic() + seconds
    done, errors, slowest = [0] * PEOPLE, [], [0.0]

    def person(number: int) -> None:
        mine, turn = f"person {number}", 0
        while time.monotonic() < end:
            text = f"{number} " + " ".join(WORDS * (1 + (number + turn // 6) % 8))
            wishes = {"layer": turn % 9, "head": turn % 4}
            start = time.monotonic()
            try:
                answer = ask_view(address, "attention", text, mine, **wishes)
                if f"'{number} the" not in answer["command"]:
                    errors.append(f"{mine} got {answer['command'][:60]}")
            except Exception as error:
                errors.append(repr(error))
            slowest[0] = max(slowest[0], time.monotonic() - start)
            done[number] += 1
            turn += 1
        sessions.drop(mine)

    people = [threading.Thread(target=person, args=(n,)) for n in range(PEOPLE)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    return sum(done), errors, slowest[0]


def main(seconds: float = 60.0) -> None:
    """One short crowd to warm up, then the measured one."""
    with served({"tiny": mbexplore.load("tiny", device="cpu")}) as (address, sessions):
        crowd(address, sessions, seconds / 4)
        gc.collect()
        before = resident()
        requests, errors, slowest = crowd(address, sessions, seconds)
        gc.collect()
        after = resident()
    print(f"{requests} requests, {len(errors)} errors, slowest {slowest:.2f} s")
    print(f"resident {before:.0f} MiB before, {after:.0f} MiB after ({after / before - 1:+.1%})")
    for error in errors[:5]:
        print(error)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
