"""The page: the explorer as the only component, and an endpoint for every view.

Nothing is loaded from anywhere but this server.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from gradio.events import api

from .component import Explore, describe
from .sessions import Sessions

Made = TypeVar("Made")

POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'self\' data: blob: '
    "'unsafe-inline' 'unsafe-eval'\">"
)
"""The browser itself refuses whatever would come from, or go to, another address."""


def build_app(sessions: Sessions) -> gr.Blocks:
    """The page over models that are open; the first is chosen at the start."""
    return inside_a_loop(lambda: _build(sessions))


def inside_a_loop(make: Callable[[], Made]) -> Made:
    """What `make` gives, called where an event loop runs.

    Gradio asks for locks as it builds and launches, and where no loop runs it opens one for each
    and leaves it open.
    """

    async def made() -> Made:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(made())
    return make()


def _build(sessions: Sessions) -> gr.Blocks:
    app: gr.Blocks
    with gr.Blocks(title="mbexplore", analytics_enabled=False, fill_width=True) as app:
        page = Explore(sessions, value={}, elem_id="mbexplore")

        def start(request: gr.Request) -> dict[str, Any]:
            return describe(sessions.models) | {"session": request.session_hash}

        def leave(request: gr.Request) -> None:
            sessions.drop(request.session_hash)

        app.load(start, None, page, api_name="start", show_progress="hidden", queue=False)
        app.unload(leave)
        for endpoint in page.endpoints.public():
            api(endpoint, api_name=endpoint.__name__, queue=False)
    return app
