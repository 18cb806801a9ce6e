"""Work in threads and processes: how far a piece is, and whether anybody still wants it."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

from mbexplore.errors import MbexploreError, UsageError
from mbexplore.process import free_memory

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

Item = TypeVar("Item")
Made = TypeVar("Made")
WORKERS = 4
"""Most items that are worked on at once: each takes its memory."""
PROCESSES = 8
"""Most processes; more cores are better used by threads that share them."""
FIRST = 2
"""Items that are made before the processes begin: a layer packs its weights when it is used again,
and what is loaded by then, all share."""
_HERE = threading.local()
_DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


class Stopped(UsageError):
    """The work was asked to stop, and did."""


@dataclass(eq=False)
class Job:
    """A piece of work.

    Attributes:
        what: it is.
        done: steps that are done.
        total: all its steps; 0 where none is counted.
        is_wanted: whether it may go on; it ends at its next step otherwise.
    """

    what: str = ""
    done: int = 0
    total: int = 0
    is_wanted: bool = True

    @contextmanager
    def begun(self) -> Iterator[None]:
        """What this thread does in the block is this job; `report` speaks of it."""
        before, _HERE.job = getattr(_HERE, "job", None), self
        try:
            yield
        finally:
            _HERE.job = before


def report(done: int, total: int) -> None:
    """Notes how far the job of this thread is; the progress of a session.

    Raises:
        Stopped: it isn't wanted any more.
    """
    job: Job | None = getattr(_HERE, "job", None)
    if job is None:
        return
    if not job.is_wanted:
        raise Stopped("Stopped; Run starts it again.")
    job.done, job.total = (0, 0) if done >= total else (done, total)


class locked_property(cached_property[Made]):
    """A `cached_property` that the first of several threads makes, and the others wait for."""

    def __init__(self, make: Callable[[Any], Made]) -> None:
        super().__init__(make)
        self._making = threading.RLock()

    @overload
    def __get__(self, instance: None, owner: type[Any] | None = None) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type[Any] | None = None) -> Made: ...

    def __get__(self, instance: object | None, owner: type[Any] | None = None) -> Self | Made:
        """The value, under the lock."""
        with self._making:
            return super().__get__(instance, owner)


def in_threads(
    function: Callable[[Item], Made], items: Iterable[Item]
) -> Generator[Made, None, None]:
    """What `function` makes of each item, in order; some at once, in threads that share the cores.

    Work on one item then goes on while that on another waits for Python, and no kernel waits for
    all cores. Where the generator is closed early, items that are begun end at their next `report`.

    Args:
        function: makes something of one item; what it raises is raised here.
        items: are taken as they are needed.
    """
    from concurrent.futures import ThreadPoolExecutor

    import torch

    threads = torch.get_num_threads()
    workers = min(threads, WORKERS)

    def work(job: Job, item: Item) -> Made:
        with job.begun():
            return function(item)

    def submit(item: Item) -> tuple[Job, Future[Made]]:
        return (job := Job()), pool.submit(work, job, item)

    share = threads // workers
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            yield from _in_order(submit, items, workers)
        finally:
            torch.set_num_threads(threads)  # what new threads start with


def can_fork() -> bool:
    """Whether `in_processes` can use the cores that torch may compute with, and gains by it."""
    import torch

    return sys.platform == "linux" and 1 < torch.get_num_threads() <= PROCESSES


def in_processes(
    function: Callable[[Item], Made], items: Iterable[Item]
) -> Generator[Made, None, None]:
    """What `function` makes of each item, in order; some at once, in processes of one core each.

    Threads wait for each other's Python between two kernels. The processes are copies of this one,
    made by `fork`: what is loaded is shared, and only items and what is made of them are sent. Not
    for what computes on another device. Where the generator is closed early, they are ended.

    Args:
        function: makes something of one item; what it raises is raised here.
        items: are taken as they are needed.

    Raises:
        MbexploreError: a process was killed.
    """
    import warnings
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children, get_context

    import torch

    def submit(item: Item) -> tuple[Job, Future[Made]]:
        with warnings.catch_warnings():
            # Of threads that a copy lacks: OpenMP's and the progress bar's. It needs neither.
            warnings.simplefilter("ignore", DeprecationWarning)
            return Job(), pool.submit(_call, item)

    waiting, threads, others = iter(items), torch.get_num_threads(), active_children()
    torch.set_num_threads(1)  # and so in each copy, which can't use this process's threads
    try:
        yield from map(function, islice(waiting, FIRST))
        free_memory()  # a copy that wrote to it would have it in small pages
        with ProcessPoolExecutor(threads, get_context("fork"), _begin, (function,)) as pool:
            try:
                yield from _in_order(submit, waiting, threads)
            except BaseException:
                for process in set(active_children()).difference(others):
                    process.kill()
                raise
    except BrokenProcessPool:
        raise MbexploreError(
            "A process that computed was killed, as happens where memory is short; give "
            "--threads 1 before the command, which needs less."
        ) from None
    finally:
        torch.set_num_threads(threads)


def _begin(function: Callable[[Any], Any]) -> None:
    """What a new process of `in_processes` does first."""
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)  # when its parent ends, however
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    _HERE.function = function


def _call(item: Any) -> Any:
    return _HERE.function(item)


def _in_order(
    submit: Callable[[Item], tuple[Job, Future[Made]]], items: Iterable[Item], workers: int
) -> Iterator[Made]:
    """What is made of each item, in order; those left early are not wanted any more."""
    running: deque[tuple[Job, Future[Made]]] = deque()
    try:
        for item in items:
            running.append(submit(item))
            if len(running) > workers:  # one waits, so that no worker does
                yield running.popleft()[1].result()
        while running:
            yield running.popleft()[1].result()
    finally:
        for job, future in running:
            job.is_wanted = False
            future.cancel()
