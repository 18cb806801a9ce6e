"""`mbexplore ui`."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated

import typer

from mbexplore.cli import options
from mbexplore.cli.output import notice
from mbexplore.errors import UsageError

SWEEP = 60.0
"""Seconds between looks for people who have gone."""

ENVIRONMENT = {"MKL_DISABLE_FAST_MM": "1"}
"""Set before torch, and MKL with it, is loaded: a page answers from forty threads, and MKL keeps
what each last worked with. One thread alone is better off when it does."""


Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        help="A model to offer: tiny (bundled, the default), base, large, a folder or a hub id. "
        "Repeat it for more.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(help="Port to listen on; the first free one from 7860 by default."),
]
Share = Annotated[
    bool, typer.Option("--share", help="Open a public tunnel to the page, through Gradio.")
]
Auth = Annotated[
    str | None,
    typer.Option(metavar="USER:PASS", help="Ask for a user and password."),
]
Mcp = Annotated[
    bool,
    typer.Option(
        "--mcp", help="Give every view to agents too, as a tool of the Model Context Protocol."
    ),
]


def ui(
    models: Models = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = None,
    share: Share = False,
    auth: Auth = None,
    mcp: Mcp = False,
    corpus: options.Corpus = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Open the explorer in the browser: text, prediction, and what made it, on one page.

    The page and everything in it come from this machine; Ctrl-C stops it.

    Example: mbexplore ui -m tiny -m base
    """  # fmt: skip
    pair = _parse_auth(auth)
    os.environ.update(ENVIRONMENT | os.environ)
    from mbexplore_ui.app import build_app
    from mbexplore_ui.serve import HERE, launched
    from mbexplore_ui.sessions import Sessions
    from mbexplore_ui.tools import PATH, Tools

    from mbexplore.explorer import load

    names: list[str | None] = list(dict.fromkeys(models)) if models else [None]
    opened = [load(name, device=device, dtype=dtype) for name in names]
    sessions = Sessions({explorer.info.name: explorer for explorer in opened})
    tools = Tools(sessions, pair) if mcp else None
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with launched(
        build_app(sessions), host, port, share=share, auth=pair, tools=tools
    ) as addresses:
        for address in filter(None, addresses):
            typer.echo(address)
        if pair is None and (share or host not in HERE):
            reached = "knows the public address" if share else f"can reach {host}"
            notice(f"Everybody who {reached} can use this page; --auth USER:PASS sets a password.")
        if mcp:
            notice(f"Tools for agents (MCP): {addresses[0]}{PATH}")
        notice("Ctrl-C ends it.")
        while not stop.wait(SWEEP):
            sessions.sweep()
        has_ended = sessions.close()
    if not has_ended:  # Python would abort in a thread that computes on
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _parse_auth(auth: str | None) -> tuple[str, str] | None:
    if auth is None:
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise UsageError("--auth has no user and password; give USER:PASS, with a colon between.")
    return user, password
