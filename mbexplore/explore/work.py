"""Work off the interface's thread that can be given up at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import TypeVar

from mbexplore.jobs import Job

Made = TypeVar("Made")


async def in_thread(job: Job, work: Callable[[], Made]) -> Made:
    """What `work` returns or raises, from a thread of its own.

    When the waiting is cancelled the work is asked to stop and left to itself: it may be in the
    middle of an import, which nothing can stop, and its result goes nowhere. The thread is a
    daemon, so the program does not wait for it either.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Made] = loop.create_future()

    def settle(made: Made | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(made)  # type: ignore[arg-type]

    def run() -> None:
        made, raised = None, None
        try:
            with job.begun():
                made = work()
        except BaseException as error:
            raised = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, made, raised)

    Thread(target=run, daemon=True, name="mbexplore-work").start()
    try:
        return await done
    except asyncio.CancelledError:
        job.is_wanted = False
        raise
