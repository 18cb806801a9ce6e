"""Work off the interface's thread that can be given up at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Event, Thread
from typing import TypeVar

Result = TypeVar("Result")


class Stopped(Exception):
    """The work was asked to stop, and did."""


class Stop:
    """Tells a thread that nobody waits for it any more."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """Asks the work to stop."""
        self._event.set()

    def check(self) -> None:
        """Goes on, or ends the work.

        Raises:
            Stopped: nobody waits for it.
        """
        if self._event.is_set():
            raise Stopped


async def in_thread(work: Callable[[Stop], Result]) -> Result:
    """What `work` returns or raises, from a thread of its own.

    When the waiting is cancelled the work is asked to stop and left to itself: it may be in the
    middle of an import, which nothing can stop, and its result goes nowhere. The thread is a
    daemon, so the program does not wait for it either.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()
    stop = Stop()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, raised = None, None
        try:
            result = work(stop)
        except BaseException as error:
            raised = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, raised)

    Thread(target=run, daemon=True, name="mbexplore-work").start()
    try:
        return await done
    except asyncio.CancelledError:
        stop.set()
        raise
