"""A piece of work in a thread: how far it is, and whether anybody still wants it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

from mbexplore.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from typing_extensions import Self

Item = TypeVar("Item")
Made = TypeVar("Made")
WORKERS = 4
"""Most items that are worked on at once: each takes its memory."""
_HERE = threading.local()


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
    running: deque[tuple[Job, Future[Made]]] = deque()

    def work(job: Job, item: Item) -> Made:
        with job.begun():
            return function(item)

    share = threads // workers
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(share,)) as pool:
        try:
            for item in items:
                job = Job()
                running.append((job, pool.submit(work, job, item)))
                if len(running) > workers:  # one waits, so that no thread does
                    yield running.popleft()[1].result()
            while running:
                yield running.popleft()[1].result()
        finally:
            for job, future in running:
                job.is_wanted = False
                future.cancel()
            torch.set_num_threads(threads)  # what new threads start with
