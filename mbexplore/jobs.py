"""A piece of work in a thread: how far it is, and whether anybody still wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mbexplore.errors import UsageError

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
