"""The page as a Hugging Face Space: the bundled model, or the one that `$MBEXPLORE_MODEL` names."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

try:  # ZeroGPU; imported before torch, which it patches
    import spaces
except ImportError:
    spaces = None

import gradio as gr
from mbexplore_ui.app import build_app
from mbexplore_ui.endpoints import Endpoints
from mbexplore_ui.serve import launched
from mbexplore_ui.sessions import Sessions

import mbexplore


def on_gpu(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of `Endpoints` that has a GPU for as long as it runs."""
    held: list[Endpoints] = []

    @spaces.GPU
    def work(*given: Any) -> Any:  # in a process of its own, which is sent these arguments alone
        return method(held[0], *given)

    @wraps(method)
    def run(self: Endpoints, *given: Any) -> Any:
        held[:] = [self]
        return work(*given)

    return run


def build() -> tuple[gr.Blocks, Sessions]:
    """The page, and what it holds."""
    for name in ("show", "save", "toggle") if spaces is not None else ():
        setattr(Endpoints, name, on_gpu(getattr(Endpoints, name)))
    explorer = mbexplore.load()
    sessions = Sessions({explorer.info.name: explorer})
    return build_app(sessions), sessions


def main() -> None:
    """Serves the page where the Space expects it, until it is ended."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    app, sessions = build()
    host = os.environ.get("GRADIO_SERVER_NAME", "0.0.0.0")
    with launched(app, host, int(os.environ.get("GRADIO_SERVER_PORT", "7860"))):
        while not stop.wait(60):
            sessions.sweep()
        sessions.close()


if __name__ == "__main__":
    main()
