"""What each open page holds on the server: the sessions of its last texts, nobody else's.

A session is found again by the page that made it, the model and the text; what was dropped is
computed anew.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import uuid4

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.jobs import Job, report
from mbexplore.recorder import recording_size
from mbexplore.session import Session

KEEP = ("attention", "values", "hidden_states", "neurons", "updates")
"""What views need most: kept by the first pass over a text, so that there is no second one."""
IDLE = 1800.0
"""Seconds after which a page that asks nothing is forgotten."""
TEXTS = 2
"""Texts that a page holds: the one shown, and one to compare it with."""
CLOSING = 3.0
"""Seconds that work has to end in when the server is closed."""
BUDGET = 6 * 2**30
"""Bytes held for all pages together: recordings, those that are being made included, and results.
A recording of 8,192 tokens takes 4.7 GiB on base."""
MOST_WORK, MOST_OF_ALL = 12, 30
"""Jobs at once, of a page and of all pages: a server has 40 threads, and `stop` needs one."""


class Work:
    """What goes on for a page: jobs, each in a thread of its own.

    Args:
        everybody: the jobs of all pages, to which this one's belong too.
    """

    def __init__(self, everybody: set[Job] | None = None) -> None:
        self._jobs: list[Job] = []
        self._everybody = set() if everybody is None else everybody

    @contextmanager
    def begun(self) -> Iterator[None]:
        """A job of this thread, ended by a stop that comes after its beginning.

        Raises:
            UsageError: too many have begun already.
        """
        if len(self._jobs) >= MOST_WORK or len(self._everybody) >= MOST_OF_ALL:
            raise UsageError(
                f"{len(self._everybody)} requests are at work; try again in a moment, or press "
                "Stop."
            )
        job = Job()
        self._jobs.append(job)
        self._everybody.add(job)
        try:
            with job.begun():
                yield
        finally:
            self._jobs.remove(job)
            self._everybody.discard(job)

    @property
    def progress(self) -> tuple[int, int]:
        """Steps done and all there are of the latest job that counts; 0 of 0 for none."""
        counting = ((job.done, job.total) for job in reversed(self._jobs.copy()) if job.total)
        return next(counting, (0, 0))

    def stop(self) -> None:
        """Ends all jobs that have begun at their next step."""
        for job in self._jobs.copy():
            job.is_wanted = False


@dataclass
class _Page:
    work: Work
    texts: OrderedDict[tuple[str, str], Session] = field(default_factory=OrderedDict)
    used: float = 0.0
    reserved: int = 0

    @property
    def nbytes(self) -> int:
        return self.reserved + sum(session.nbytes for session in self.texts.values())


class Sessions:
    """The sessions of all pages, each found by its own page alone.

    Args:
        models: by the name that a page asks for; one by its own.
        idle: seconds after which an unused page is forgotten.
        budget: bytes of recordings held in all.
        clock: seconds, rising.
    """

    def __init__(
        self,
        models: Explorer | Mapping[str, Explorer],
        idle: float = IDLE,
        budget: int = BUDGET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = {models.info.name: models} if isinstance(models, Explorer) else models
        self._idle = idle
        self._budget = budget
        self._clock = clock
        self._pages: OrderedDict[str, _Page] = OrderedDict()
        self._jobs: set[Job] = set()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._pages)

    @property
    def nbytes(self) -> int:
        """Bytes of all recordings, those that are being made included."""
        with self._lock:
            return sum(page.nbytes for page in self._pages.values())

    def model(self, name: str) -> Explorer:
        """A model that was opened at the start.

        Raises:
            ModelError: it was not; a page can't open files.
        """
        if name not in self.models:
            raise ModelError(
                f"The model {name!r} was not opened at the start; choose one of "
                f"{', '.join(self.models)}."
            )
        return self.models[name]

    def session(self, page: str | None, model: str, text: str) -> Session:
        """The session of a text, as it was left or new; a caller without a page is a new one.

        Raises:
            ModelError: the model was not opened at the start.
            TextError: the text is empty.
        """
        explorer = self.model(model)
        name = page or uuid4().hex
        with self._lock:
            if name not in self._pages:
                self._pages[name] = _Page(Work(self._jobs))
            held = self._use(name)
            self._make_room(name)
        self.sweep()
        with self._lock:
            if (found := held.texts.get((model, text))) is not None:
                held.texts.move_to_end((model, text))
                return found
        session = Session(
            explorer,
            explorer.encode(text, truncate=True),
            keep=KEEP,
            progress=report,
            open_model=self.model,
            reserve=partial(self._reserve, name),
        )
        with self._lock:
            session = held.texts.setdefault((model, text), session)
            gone = [held.texts.popitem(last=False) for _ in range(len(held.texts) - TEXTS)]
        if gone:
            del gone
            release()
        return session

    @contextmanager
    def _reserve(self, name: str, encoding: Encoding, explorer: Explorer) -> Iterator[None]:
        """Room for a recording, for as long as it is being made.

        Raises:
            UsageError: there is none, even without the recordings of pages that don't work.
        """
        size = recording_size(explorer.model, len(encoding), KEEP)
        with self._lock:
            page = self._pages.get(name, _Page(Work()))
            page.reserved += size
            self._make_room(name)
            others = sum(one.nbytes for key, one in self._pages.items() if key != name)
            if others and others + page.nbytes > self._budget:
                page.reserved -= size
                raise UsageError(
                    f"Other pages hold {others / 2**20:,.0f} MiB of recordings and this text takes "
                    f"{size / 2**20:,.0f} MiB; try again in a moment, or with a shorter text."
                )
        try:
            yield
        finally:
            with self._lock:
                page.reserved -= size

    def _make_room(self, name: str) -> None:
        """Forgets texts over the budget, the longest unused pages first; the lock is held.

        A page whose recording is being made keeps what it has; so does the one that asks.
        """
        excess = sum(page.nbytes for page in self._pages.values()) - self._budget
        for key, page in list(self._pages.items()):
            if excess <= 0:
                return
            if key != name and not page.reserved:
                excess -= page.nbytes
                page.texts.clear()
        own = self._pages.get(name)
        while own is not None and excess > 0 and len(own.texts) > 1:
            _, gone = own.texts.popitem(last=False)
            excess -= gone.nbytes

    def _use(self, name: str) -> _Page:
        """A page that asks for something; the lock is held."""
        held = self._pages[name]
        held.used = self._clock()
        self._pages.move_to_end(name)
        return held

    def work(self, page: str | None) -> Work:
        """The work for a page, which is in use as long as it asks how far that is."""
        with self._lock:
            known = page is not None and page in self._pages
            return self._use(page or "").work if known else Work()

    def drop(self, page: str | None) -> None:
        """Forgets a page that was closed, and ends its work."""
        with self._lock:
            held = self._pages.pop(page or "", None)
        if held is not None:
            held.work.stop()
            del held
            release()

    def close(self, patience: float = CLOSING) -> bool:
        """Forgets every page, and waits until their work has ended.

        Args:
            patience: seconds waited at most.

        Returns:
            Whether it has; a step may take longer.
        """
        for page in list(self._pages):
            self.drop(page)
        end = time.monotonic() + patience
        while self._jobs and time.monotonic() < end:
            time.sleep(0.02)
        return not self._jobs

    def sweep(self) -> None:
        """Forgets pages that were idle too long."""
        with self._lock:
            oldest = self._clock() - self._idle
            gone = [name for name, page in self._pages.items() if page.used < oldest]
        for name in gone:
            self.drop(name)


def release() -> None:
    """Gives memory that was freed back to the system; glibc alone would keep much of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)
