"""What the server refuses before Gradio sees it.

A name that another site made point to this machine (DNS rebinding), what another site's page sends
here, and requests that are too large.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware.gzip import GZipMiddleware

from mbexplore.text import quoted

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LARGEST = 4 * 2**20
"""Bytes of a request. A text of 8,192 tokens has some 50,000."""


class Guard:
    """ASGI middleware.

    Args:
        app: what is guarded.
        hosts: names under which the server may be asked; None for any.
    """

    def __init__(self, app: Any, hosts: Collection[str] | None = None) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answers with a refusal, or lets the app answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        body, is_whole = b"", False
        while refusal is None and not is_whole:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return
            body += message.get("body", b"")
            is_whole = not message.get("more_body", False)
            if len(body) > LARGEST:
                refusal = 413, f"A request holds at most {LARGEST:,} bytes; send a shorter text."
        if refusal is not None:
            await _answer(send, *refusal)
            return
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive_again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self.app(scope, receive_again, send)

    def _refusal(self, scope: Message) -> tuple[int, str] | None:
        """Status and sentence, where the headers alone are reason enough."""
        pairs = (
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        )
        headers = dict(pairs)
        host = headers.get("host", "")
        if self.hosts is not None and _name_of(host) not in self.hosts:
            return 403, (
                f"This server was asked for as {quoted(host)} and answers to "
                f"{', '.join(self.hosts)} alone; use one of them, or start it with --host."
            )
        origin = headers.get("origin")
        known = {host, headers.get("x-forwarded-host", host)}
        is_foreign = origin is not None and urlsplit(origin).netloc not in known
        if is_foreign and scope["method"] == "POST":
            return 403, f"A page of {quoted(origin)} may not use this server; open its own page."
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return 413, f"A request holds at most {LARGEST:,} bytes; send a shorter text."
        return None


class Packed:
    """ASGI middleware: the page itself is compressed, which holds all of its scripts.

    Answers are not: on one machine packing takes longer than sending.
    """

    def __init__(self, app: Any) -> None:
        self.app, self.packed = app, GZipMiddleware(app, minimum_size=2000, compresslevel=6)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Has the app answer, compressed where the page is asked for."""
        is_page = scope["type"] == "http" and scope["path"].rstrip("/") == ""
        await (self.packed if is_page else self.app)(scope, receive, send)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


async def _answer(send: Send, status: int, sentence: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": sentence.encode()})
