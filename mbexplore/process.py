"""What a process of ours runs under: variables of the libraries under torch, and its memory.

A process of ours sets this when it starts; a library sets nothing. A program that uses mbexplore as
a library may call `tune_process` before it imports torch.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""Threads that wait for each other sleep soon. By default they spin, GNU's OpenMP for some 10 ms,
and keep the thread that they wait for from running where another process is busy."""

SPINS = {"quiet": "20000", "busy": "1000"}
"""Turns of GNU's OpenMP before a thread sleeps. On two quiet cores 16 tokens take 45 ms with 20,000
and 63 ms with 1,000; beside one busy process 149 and 83 ms, and 780 ms as OpenMP does by itself."""

MALLOC = {-3: 2**28, -1: 2**29, -8: 1}
"""Bytes up to which GNU's malloc takes memory from what was freed before (M_MMAP_THRESHOLD), and
keeps freed memory at the end of the heap (M_TRIM_THRESHOLD), of which all threads share one
(M_ARENA_MAX). By default what is large goes back to Linux at once and is asked for again, page by
page: where a virtual machine hands free pages to its host, a recording of 2,048 tokens then takes
1.25 times a plain pass. What is freed fits what comes next only where torch doesn't align it to
huge pages (THP_MEM_ALLOC_ENABLE): everything recorded and every map once peaks at 2.7 GiB with that
and at 1.9 GiB without. So the heap as a whole is asked to lie in huge pages: 4,000 sentences then
take 0.95 to 0.97 of the processor's time, and that recording peaks at 2.2 GiB."""

PIECES, PIECE = 2, 2**28 - 2**20
"""Pieces of the heap that lie in huge pages, and bytes of each: below both limits of `MALLOC`."""
HUGE = 14
"""Linux's MADV_HUGEPAGE."""

LOOKS = 3
"""Times to look whether other threads run, a millisecond apart."""


def tune_process(environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets what this process should run under, before torch is imported; what is set stays.

    Args:
        environ: where; this process's environment by default.
    """
    if "OMP_WAIT_POLICY" not in environ:
        spins = SPINS["busy" if others_run() else "quiet"]
        for name, value in (WAIT | {"GOMP_SPINCOUNT": spins}).items():
            environ.setdefault(name, value)
    if environ is os.environ:
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    import ctypes

    libc = ctypes.CDLL(None)
    with suppress(AttributeError):  # another C library
        for option, size in MALLOC.items():
            libc.mallopt(option, size)
        libc.malloc.restype = ctypes.c_void_p
        starts = [libc.malloc(ctypes.c_size_t(PIECE)) for _ in range(PIECES)]
        for start in filter(None, starts):  # there may be a limit
            page = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
            libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(start + PIECE - page), HUGE)
        for start in starts:
            libc.free(ctypes.c_void_p(start))


def free_memory() -> None:
    """Returns freed memory to the system; glibc keeps more of it with every length of text."""
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


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
    ours = {*WAIT.items(), *(("GOMP_SPINCOUNT", spins) for spins in SPINS.values())}
    return {name: value for name, value in environ.items() if (name, value) not in ours}
