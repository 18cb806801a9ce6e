"""What each open page holds on the server: the desks of its last texts, and nothing of another's.

A desk is one text under one model with everything computed for it. It is found again by the
session that made it, the model and the text; what was dropped is simply computed anew.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import ModelError, TextError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.hooks import watched
from mbexplore.recording import KEEP, Recording

Made = TypeVar("Made")

IDLE = 1800.0
"""Seconds after which a session that asks nothing is dropped."""
DESKS = 2
"""Texts a session holds: the one shown, and one to compare it with."""
CLOSING = 3.0
"""Seconds that work has to end in when the page is closed."""
BUDGET = 6 * 2**30
"""Bytes of recordings held for all sessions together; the longest unused go first. One of 8,192
tokens takes 4.7 GiB on base."""


@dataclass
class Progress:
    """How far the work for a session is, and how often it was told to stop.

    Several works may go on at once, each in a thread of its own; a stop ends all that have begun.

    Attributes:
        done: steps of the work that told last.
        total: of how many; 0 where nobody counts.
        stops: how often it was told.
        threads: those that work, for this session or another one.
    """

    done: int = 0
    total: int = 0
    stops: int = 0
    threads: set[int] = field(default_factory=set)
    _here: threading.local = field(default_factory=threading.local)

    @contextmanager
    def work(self) -> Iterator[None]:
        """A work of this thread: a stop after its beginning ends it."""
        self._here.stops = self.stops
        self.threads.add(threading.get_ident())
        try:
            yield
        finally:
            self.threads.discard(threading.get_ident())
            del self._here.stops

    def check(self) -> None:
        """Goes on, or not.

        Raises:
            UsageError: the work of this thread is to stop.
        """
        if getattr(self._here, "stops", self.stops) != self.stops:
            self.done = self.total = 0
            raise UsageError("Stopped; Run starts it again.")

    def move(self, done: int, total: int) -> None:
        """Is told by what works, after every step.

        Raises:
            UsageError: the work is to stop.
        """
        self.check()
        self.done, self.total = (0, 0) if done >= total else (done, total)

    def stop(self) -> None:
        """Ends what has begun at its next step; what begins later is not meant."""
        self.stops += 1


class Desk:
    """One text under one model, with what was computed for it.

    Attributes:
        explorer: the model; shared by everybody, read-only.
        encoding: the text and its tokens.
        progress: where long work tells how far it is.
        models: names of all that are open.
    """

    def __init__(
        self,
        explorer: Explorer,
        encoding: Encoding,
        progress: Progress,
        models: tuple[str, ...],
        find: Callable[[str, str], Desk],
    ) -> None:
        self.explorer = explorer
        self.encoding = encoding
        self.progress = progress
        self.models = models
        self._find = find
        self.runs = 0
        self._made: dict[Hashable, Any] = {}
        self._locks: defaultdict[Hashable, threading.RLock] = defaultdict(threading.RLock)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What `make` gives, made once for this text and then held; who asks meanwhile waits.

        Raises:
            UsageError: who waits was told to stop meanwhile.
        """
        with self._locks[key]:
            if key not in self._made:
                self.progress.check()
                self._made[key] = make()
            made: Made = self._made[key]
            return made

    @property
    def recording(self) -> Recording:
        """Everything the model computed over the text, in one run when first asked for."""

        def run() -> Recording:
            self.runs += 1
            with self.counting():
                return self.explorer.record(self.encoding, keep=tuple(KEEP))

        return self.once("recording", run)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Tells the layers of the passes in the block, each of which can be stopped."""
        with watched(self.explorer.model, self.progress.move):
            yield

    def beside(self, text: str, model: str = "") -> Desk:
        """The same session's desk of another text, or under another model.

        Args:
            text: what lies on it.
            model: one of `models`; "" for this desk's own.

        Raises:
            MbexploreError: see `Sessions.desk`.
        """
        return self._find(model or self.explorer.info.name, text)

    @property
    def nbytes(self) -> int:
        """Size of the recording, 0 before it is made."""
        recording = self._made.get("recording")
        return sum(value.nbytes for value in recording.values.values()) if recording else 0


@dataclass
class _Session:
    progress: Progress
    desks: OrderedDict[tuple[str, str], Desk] = field(default_factory=OrderedDict)
    used: float = 0.0


class Sessions:
    """The desks of everybody, each found only by its own session.

    Args:
        models: by the name that a page asks for.
        idle: seconds after which an unused session is dropped.
        budget: bytes of recordings held in all.
        clock: seconds, rising.
    """

    def __init__(
        self,
        models: Mapping[str, Explorer],
        idle: float = IDLE,
        budget: int = BUDGET,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.models = models
        self._idle = idle
        self._budget = budget
        self._clock = clock
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self._working: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def nbytes(self) -> int:
        """Bytes of all recordings."""
        with self._lock:
            return sum(d.nbytes for s in self._sessions.values() for d in s.desks.values())

    def model(self, name: str) -> Explorer:
        """A model that was named at the start.

        Raises:
            ModelError: it was not; a page can't open files.
        """
        if name not in self.models:
            raise ModelError(
                f"The model {name!r} was not opened at the start; choose one of "
                f"{', '.join(self.models)}."
            )
        return self.models[name]

    def desk(self, session: str | None, model: str, text: str) -> Desk:
        """The desk of a text, as it was left or new; a caller without a session starts one.

        Raises:
            ModelError: the model was not opened at the start.
            TextError: the text is empty, or longer than the model takes.
        """
        explorer = self.model(model)
        session = session or uuid4().hex
        with self._lock:
            if session not in self._sessions:
                self._sessions[session] = _Session(Progress(threads=self._working))
            held = self._use(session)
        self.sweep()
        with self._lock:
            if (desk := held.desks.get((model, text))) is not None:
                held.desks.move_to_end((model, text))
                return desk
        desk = Desk(
            explorer,
            encode(explorer, text),
            held.progress,
            tuple(self.models),
            lambda other, its_text: self.desk(session, other, its_text),
        )
        with self._lock:
            desk = held.desks.setdefault((model, text), desk)
            gone = [held.desks.popitem(last=False) for _ in range(len(held.desks) - DESKS)]
        if gone:
            del gone
            release()
        return desk

    def _use(self, session: str) -> _Session:
        """A session that asks for something; the lock is held."""
        held = self._sessions[session]
        held.used = self._clock()
        self._sessions.move_to_end(session)
        return held

    def progress(self, session: str | None) -> Progress:
        """How far the work for a session is; who asks waits for it, and so is not idle."""
        with self._lock:
            known = session is not None and session in self._sessions
            return self._use(session or "").progress if known else Progress()

    def drop(self, session: str | None) -> None:
        """Forgets a session, and ends its work: its page was closed."""
        with self._lock:
            held = self._sessions.pop(session or "", None)
        if held is not None:
            held.progress.stop()
            del held
            release()

    def close(self, patience: float = CLOSING) -> bool:
        """Forgets everybody, and waits until their work has ended.

        Args:
            patience: seconds waited at most.

        Returns:
            Whether it has; a step may take longer.
        """
        for session in list(self._sessions):
            self.drop(session)
        end = time.monotonic() + patience
        while self._working and time.monotonic() < end:
            time.sleep(0.02)
        return not self._working

    def sweep(self) -> None:
        """Forgets sessions that were idle too long, and the longest unused beyond the budget.

        The one used last stays, however large, until it is idle.
        """
        dropped = False
        with self._lock:
            held = sum(d.nbytes for s in self._sessions.values() for d in s.desks.values())
            newest = next(reversed(self._sessions), None)
            for name, session in list(self._sessions.items()):
                is_idle = session.used < self._clock() - self._idle
                if not is_idle and (held <= self._budget or name == newest):
                    break
                held -= sum(desk.nbytes for desk in session.desks.values())
                del self._sessions[name]
                dropped = True
        if dropped:
            del session  # the last one looked at is freed too
            release()


def release() -> None:
    """Gives memory that was freed back to the system; glibc alone would keep much of it."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have none
        if trim is not None:
            trim(0)


def encode(explorer: Explorer, text: str) -> Encoding:
    """A text's tokens.

    Raises:
        TextError: it is empty, or longer than the model takes.
    """
    encoding = explorer.encode(text, truncate=True)
    if encoding.is_cut:
        raise TextError(
            f"The text has {encoding.full_length:,} tokens and {explorer.info.name} takes "
            f"{len(encoding):,}; shorten it, or keep its beginning."
        )
    return encoding


def kept_beginning(explorer: Explorer, text: str) -> str:
    """As much of the text's beginning as the model takes.

    Raises:
        TextError: the text is empty.
    """
    encoding = explorer.encode(text, truncate=True)
    return text[: max(stop for _, stop in encoding.offsets)] if encoding.is_cut else text
