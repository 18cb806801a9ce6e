"""Variables that libraries under torch read when they are loaded; a library sets nothing.

A process of ours sets them when it starts. A program that uses mbexplore as a library may call
`tune_process` before it imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1"}
"""Has torch ask Linux for huge pages for large tensors: where every attention map is made dense
once, small ones take 1.7 times as long."""

WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
"""Threads that wait for each other sleep soon. By default they spin, GNU's OpenMP for some 10 ms,
and keep the thread that they wait for from running where another process is busy: on two cores
with a load of 8, 16 tokens took 2.8 s so and 0.2 s with this, 512 tokens 10.0 s and 4.3 s."""


def tune_process(environ: MutableMapping[str, str] = os.environ) -> None:
    """Sets what this process should run under, before torch is imported; what is set stays.

    Args:
        environ: where; this process's environment by default.
    """
    wanted = HUGE_PAGES if "OMP_WAIT_POLICY" in environ else HUGE_PAGES | WAIT
    for name, value in wanted.items():
        environ.setdefault(name, value)


def without_tuning(environ: Mapping[str, str]) -> dict[str, str]:
    """The same environment for a process that never heard of mbexplore."""
    ours = HUGE_PAGES | WAIT
    return {name: value for name, value in environ.items() if ours.get(name) != value}
