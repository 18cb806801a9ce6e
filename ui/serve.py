"""Where the page is served: the port, its address, and how it stops."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files

import gradio as gr

from mbexplore.errors import UsageError
from mbexplore.explorer import Explorer

from .app import POLICY, build_app, inside_a_loop
from .sessions import Sessions

PORT = 7860
TRIES = 100
"""Ports looked at for a free one."""
HERE = ("127.0.0.1", "localhost", "::1")


def choose_port(host: str, wanted: int | None) -> int:
    """The port to serve on: the one wanted, or the first free one from `PORT` on.

    Raises:
        UsageError: the one wanted is taken; the sentence offers the next free one.
    """
    if wanted is not None and not 1 <= wanted <= 65535:
        raise UsageError(f"There is no port {wanted}; choose 1 to 65535.")
    first = PORT if wanted is None else wanted
    free = next((p for p in range(first, min(first + TRIES, 65536)) if is_free(host, p)), None)
    if free is None:
        raise UsageError(f"Ports {first} to {first + TRIES - 1} are taken; choose another.")
    if wanted is not None and free != wanted:
        raise UsageError(f"Port {wanted} is taken; {free} is free: --port {free}.")
    return free


def is_free(host: str, port: int) -> bool:
    """Whether a server can listen there.

    Raises:
        UsageError: the host is no address of this machine.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
    except socket.gaierror:
        raise UsageError(f"There is no host {host!r}; use 127.0.0.1 or 0.0.0.0.") from None
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError:
            return False
    return True


@contextmanager
def launched(
    app: gr.Blocks,
    host: str,
    port: int,
    *,
    share: bool = False,
    auth: tuple[str, str] | None = None,
) -> Iterator[tuple[str, str | None]]:
    """Serves the page for as long as the `with` block lasts.

    Args:
        app: from `build_app`.
        host: address to listen on.
        port: free.
        share: whether Gradio opens a public tunnel to it.
        auth: user and password that the page asks for.

    Yields:
        Its address, and the public one where it is shared.
    """
    _, local, public = inside_a_loop(
        lambda: app.launch(
            server_name=host,
            server_port=port,
            share=share,
            auth=auth,
            prevent_thread_lock=True,
            quiet=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            footer_links=[],
            theme=plain_theme(),
            css=frame_style(),
            head=POLICY,
            _frontend=False,  # or Gradio gives up where its own first page takes over 3 seconds
        )
    )
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
    """
    if isinstance(models, Explorer):
        models = {models.info.name: models}
    app = build_app(Sessions(models))
    host = HERE[0]
    inside_a_loop(
        lambda: app.launch(
            server_name=host, server_port=choose_port(host, port), inline=inline, quiet=True,
            prevent_thread_lock=True, ssr_mode=False, css=frame_style(), theme=plain_theme(),
            footer_links=[],
        )
    )  # fmt: skip
    return app


def frame_style() -> str:
    """What of Gradio surrounds the page."""
    return (files(__package__) / "static" / "frame.css").read_text(encoding="utf-8")


def plain_theme() -> gr.themes.Base:
    """Gradio's plainest theme with the system's own fonts: none is fetched."""
    return gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
