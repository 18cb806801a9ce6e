"""Where the page is served: its address, and how it stops."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Route

from mbexplore.errors import UsageError
from mbexplore.explorer import Explorer

from .app import POLICY, build_app, inside_a_loop
from .guard import Guard, Packed
from .sessions import Sessions
from .tools import PATH

HERE = ("127.0.0.1", "localhost", "::1")


@contextmanager
def launched(
    app: gr.Blocks,
    host: str,
    port: int | None,
    *,
    share: bool = False,
    auth: tuple[str, str] | None = None,
    tools: Any = None,
) -> Iterator[tuple[str, str | None]]:
    """Serves the page for as long as the `with` block lasts.

    Args:
        app: from `build_app`.
        host: address to listen on.
        port: to listen on; None for the first free one from 7860 on.
        share: whether Gradio opens a public tunnel to it.
        auth: user and password that the page asks for.
        tools: ASGI app that is served beside it, at `tools.PATH`.

    Yields:
        Its address, and the public one where it is shared.

    Raises:
        UsageError: there is no such host or port, or it is taken.
    """
    local, public = _launch(app, host, port, share=share, auth=auth)
    if tools is not None:
        app.app.router.routes.insert(0, Route(PATH, tools))  # before Gradio's own, which take all
    try:
        yield local.rstrip("/"), public
    finally:
        app.close(verbose=False)


def ui(
    models: Explorer | Mapping[str, Explorer], *, inline: bool = False, port: int | None = None
) -> gr.Blocks:
    """Opens the page over open models on this machine; in a notebook's cell with `inline`.

    Args:
        models: an explorer, or several by the names that the page shows.
        inline: shows the page in the cell that calls this.
        port: to listen on; the first free one by default.

    Returns:
        The app; its `local_url` is the address, and `close()` ends it.

    Raises:
        UsageError: there is no such port, or it is taken.
    """
    app = build_app(Sessions(models))
    _launch(app, HERE[0], port, inline=inline)
    return app


def _launch(app: gr.Blocks, host: str, port: int | None, **more: Any) -> tuple[str, str | None]:
    """Has Gradio serve the page; its address and the public one."""
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"There is no port {port}; choose 1 to 65535.")
    try:
        socket.getaddrinfo(host, port)
    except socket.gaierror:
        raise UsageError(f"There is no host {host!r}; use 127.0.0.1 or 0.0.0.0.") from None
    names = None if more.get("share") or host not in HERE else HERE
    settings: dict[str, Any] = {
        "server_name": host,
        "server_port": port,
        "prevent_thread_lock": True,
        "quiet": True,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "footer_links": ["api"],  # Gradio's page of the endpoints
        # Gradio's plainest theme with the system's own fonts: none is fetched.
        "theme": gr.themes.Base(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
        "css": (files(__package__) / "static" / "frame.css").read_text(encoding="utf-8"),
        "head": POLICY,
        "app_kwargs": {"middleware": [Middleware(Guard, hosts=names), Middleware(Packed)]},
        "_frontend": False,  # or Gradio gives up where its own first page takes over 3 seconds
    }
    try:
        _, local, public = inside_a_loop(lambda: app.launch(**{"share": False, **settings, **more}))
    except OSError:
        where = "Ports 7860 to 7959 are" if port is None else f"Port {port} is"
        raise UsageError(
            f"{where} taken, or {host} is another machine's; choose another."
        ) from None
    return local, public
