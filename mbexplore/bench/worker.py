"""A process of its own for one side of one piece of work: `python -m mbexplore.bench.worker`.

Loads, then runs the work once for every line on standard input. Answers are JSON, a line each.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from mbexplore.process import tune_process


def serve(side: str, task: str, folder: Path, tokens: int) -> None:
    """Answers `{"loaded": bytes}` when it is ready, then `seconds`, `cpu` and `peak` of each run.

    A line that is not empty names a file for the answer of that run (npy).
    """
    if side == "ours":
        tune_process()
    answers, sys.stdout = sys.stdout, sys.stderr  # a library may print what it likes

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    run = import_module(f"mbexplore.bench.{side}").TASKS[task](folder, tokens)
    answer(loaded=peak_memory())
    for line in sys.stdin:
        start, used = time.perf_counter(), time.process_time()
        result = run()
        seconds, cpu = time.perf_counter() - start, time.process_time() - used
        answer(seconds=seconds, cpu=cpu, peak=peak_memory())
        if path := line.strip():
            import numpy as np

            np.save(path, np.asarray(result))
            answer(saved=path)


def peak_memory() -> int | None:
    """Bytes this process has held at most; None where the system can't tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
