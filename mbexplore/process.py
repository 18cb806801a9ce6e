"""What a process of ours runs under: variables of the libraries under torch, and its memory.

A process of ours sets this when it starts; a library sets nothing. A program that uses mbexplore as
a library may call `tune_process` before it imports torch.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""Has torch ask Linux for huge pages for large tensors: where every attention map is made dense
once, small ones take 1.7 times as long."""

WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for each other sleep soon. By default they spin, GNU's OpenMP for some 10 ms,
and keep the thread that they wait for from running where another process is busy."""

SPINS = {"quiet": "20000", "busy": "1000"}
"""Turns of GNU's OpenMP before a thread sleeps. On two quiet cores 16 tokens take 45 ms with 20,000
and 63 ms with 1,000; beside one busy process 149 and 83 ms, and 780 ms as OpenMP does by itself."""

MALLOC = {-3: 2**26, -1: 2**29}
"""Bytes up to which GNU's malloc takes memory from what was freed before (M_MMAP_THRESHOLD), and
keeps freed memory at the end of the heap (M_TRIM_THRESHOLD). By default what is large goes back to
Linux at once and is asked for again, page by page: in a virtual machine a second recording of 2,048
tokens then takes 1.10 to 1.16 times a plain pass. What a recording keeps is larger and does go
back: among what a pass frees, it would leave holes in which the next one finds no room (everything
recorded and every map once, 2,048 tokens: 2.6 GiB with 2**28, 1.8 GiB with 2**26)."""

LOOKS = 3
"""Times to look whether other threads run, a millisecond apart."""


def tune_process(environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets what this process should run under, before torch is imported; what is set stays.

    Args:
        environ: where; this process's environment by default.
    """
    wanted = HUGE_PAGES
    if "OMP_WAIT_POLICY" not in environ:
        spins = SPINS["busy" if others_run() else "quiet"]
        wanted = HUGE_PAGES | WAIT | {"GOMP_SPINCOUNT": spins}
    for name, value in wanted.items():
        environ.setdefault(name, value)
    if environ is os.environ:
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    if sys.platform == "linux" and not any(name.startswith("MALLOC_") for name in os.environ):
        with suppress(AttributeError):  # another C library
            for option, size in MALLOC.items():
                ctypes.CDLL(None).mallopt(option, size)


def others_run(statistics: Path = Path("/proc/stat")) -> bool:
    """Whether other threads than this one keep running; without Linux's /proc, no.

    Args:
        statistics: Linux's file of that name, where `procs_running` counts this thread too.
    """
    return min(_running(statistics) for _ in range(LOOKS)) > 1


def _running(statistics: Path) -> int:
    time.sleep(0.001)  # whoever started this process may still be about it
    try:
        found = re.search(r"^procs_running (\d+)$", statistics.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def without_tuning(environ: Mapping[str, str]) -> dict[str, str]:
    """The same environment for a process that never heard of mbexplore."""
    ours = {*(HUGE_PAGES | WAIT).items(), *(("GOMP_SPINCOUNT", spins) for spins in SPINS.values())}
    return {name: value for name, value in environ.items() if (name, value) not in ours}
