"""Every view as a tool for agents, by the Model Context Protocol over HTTP, at `/mcp`.

A tool's arguments are the view's parameters with their types. It answers with small JSON (what the
view says, its tables and small matrices, the command that makes it again) and a picture.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.responses import PlainTextResponse

import mbexplore
from mbexplore.display.blocks import Bars, Block, Heat, Lines, Note, Table, walk
from mbexplore.errors import UsageError
from mbexplore.session import Session
from mbexplore.views import View
from mbexplore.views.parameters import Parameter
from mbexplore.views.result import Result

from .controls import settable
from .endpoints import views
from .sessions import Sessions

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.types import Tool

PATH = "/mcp"
PAGE = "mcp"
"""The page that holds what tools look at."""
DPI = 100
ROWS, CELLS, POINTS = 40, 600, 200
"""Most rows of a table, cells of a matrix and points of a curve in an answer."""
DIGITS = 5
"""Significant digits of a number in an answer."""
_TYPES: dict[str, Any] = {
    "switch": {"type": "boolean"}, "integer": {"type": "integer"}, "number": {"type": "number"},
    "text": {"type": "string"}, "texts": {"type": "array", "items": {"type": "string"}},
    "layer": {"type": "integer"}, "head": {"type": "integer", "minimum": 0},
    "token": {"type": ["integer", "string"]},
}  # fmt: skip
_ARGUMENTS = {
    "text": "The text; [MASK] stands where a word is to be predicted.",
    "texts": "The texts.",
    "model": "One of the models that are open.",
    "with_picture": "Whether the answer has a picture.",
}


class Tools:
    """ASGI app of the tools.

    Args:
        sessions: the models that are open, and what is computed.
        auth: user and password that every request has to bring (HTTP Basic); None for none.

    Raises:
        UsageError: the package mcp isn't there.
    """

    def __init__(self, sessions: Sessions, auth: tuple[str, str] | None = None) -> None:
        try:
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        except ImportError:
            raise UsageError("--mcp needs the package mcp; pip install 'mbexplore[mcp]'.") from None
        # Each request has a manager of its own: nothing is held between them, nor left at the end.
        server = build_server(sessions)
        self._manager = partial(
            StreamableHTTPSessionManager, server, json_response=True, stateless=True
        )
        plain = None if auth is None else base64.b64encode(":".join(auth).encode())
        self._wanted = None if plain is None else b"Basic " + plain

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request."""
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self._wanted is not None and not secrets.compare_digest(given, self._wanted):
            refusal = PlainTextResponse(
                "Send the user and the password of --auth, as HTTP Basic.", 401,
                {"WWW-Authenticate": "Basic"},
            )  # fmt: skip
            await refusal(scope, receive, send)
        elif scope["method"] != "POST":  # no stream of the server's own, and no session to end
            await PlainTextResponse("Use POST.", 405, {"Allow": "POST"})(scope, receive, send)
        else:
            manager = self._manager()
            async with manager.run():
                await manager.handle_request(scope, receive, send)


def build_server(sessions: Sessions) -> Server[Any, Any]:
    """The tools of the views that the page has."""
    from mcp.server.lowlevel import Server
    from mcp.types import ContentBlock, ImageContent, TextContent

    server: Server[Any, Any] = Server(
        "mbexplore", version=mbexplore.__version__, instructions=str(mbexplore.__doc__)
    )
    known = {name.replace("-", "_"): view for name, view in views().items()}

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def list_tools() -> list[Tool]:
        return [build_tool(name, view, list(sessions.models)) for name, view in known.items()]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(name: str, arguments: dict[str, Any]) -> list[ContentBlock]:
        if name not in known:
            raise UsageError(f"There is no tool {name!r}; choose one of {', '.join(known)}.")
        found, picture = await to_thread.run_sync(answer, sessions, known[name], arguments)
        content: list[ContentBlock] = [TextContent(type="text", text=json.dumps(found))]
        if picture is not None:
            data = base64.b64encode(picture).decode()
            content.append(ImageContent(type="image", data=data, mimeType="image/png"))
        return content

    return server


def build_tool(name: str, view: type[View[Any]], models: list[str]) -> Tool:
    """A view with its arguments as JSON Schema."""
    from mcp.types import Tool, ToolAnnotations

    texts = {"text": "string", "texts": "array"}
    arguments: dict[str, Any] = {}
    if view.reads in texts:
        items = {"items": {"type": "string"}, "minItems": 1} if view.reads == "texts" else {}
        arguments[view.reads] = {"type": texts[view.reads], **items}
    arguments |= {one.name: _schema(one, models) for one in settable(view)}
    arguments["model"] = {"type": "string", "enum": models, "default": models[0]}
    arguments["with_picture"] = {"type": "boolean", "default": True}
    for argument, schema in arguments.items():
        schema.setdefault("description", _ARGUMENTS.get(argument, ""))
    required = [one.name for one in settable(view) if one.is_required]
    required += [view.reads] if view.reads in texts and not view.sample else []
    about = " ".join((view.__doc__ or "").split("\n\n")[0].split())
    return Tool(
        name=name,
        title=view.title or view.name,
        description=f"{view.question} {about} {view.limits}".strip(),
        inputSchema={
            "type": "object", "properties": arguments, "required": required,
            "additionalProperties": False,
        },
        annotations=ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=False),
    )  # fmt: skip


def _schema(one: Parameter, models: list[str]) -> dict[str, Any]:
    """A parameter as JSON Schema."""
    about = one.option
    if one.kind == "choice":
        schema: dict[str, Any] = {"enum": list(one.choices)}
    elif one.kind == "model":
        schema = {"type": "string", "enum": models}
    else:
        schema = dict(_TYPES[one.kind])
    bounds = {"minimum": about.at_least, "maximum": about.at_most}
    schema |= {name: value for name, value in bounds.items() if value is not None}
    if not one.is_required and one.default is not None:
        schema["default"] = list(one.default) if isinstance(one.default, tuple) else one.default
    only = " and ".join(f"{name} {'/'.join(map(str, which))}" for name, which in about.only.items())
    schema["description"] = about.help + (f" Needs {only}." if only else "")
    return schema


def answer(
    sessions: Sessions, view: type[View[Any]], arguments: dict[str, Any]
) -> tuple[dict[str, Any], bytes | None]:
    """A view as small JSON and a picture.

    Raises:
        MbexploreError: one sentence for the program that called.
    """
    given = dict(arguments)
    model = given.pop("model", next(iter(sessions.models)))
    with_picture = given.pop("with_picture", True)
    text = given.pop(view.reads, None)
    chosen = view(**given)
    session = _session(sessions, view, model, text)
    with sessions.work(PAGE).begun():
        result = chosen.of(session)
        has_picture = with_picture and "png" in result.formats
        picture = result.content("png", dpi=DPI) if has_picture else None
        return to_small(result), picture


def _session(sessions: Sessions, view: type[View[Any]], model: str, text: Any) -> Session:
    if view.reads == "model":
        return Session(sessions.model(model), ())
    if text is None:
        from mbexplore.sample import sample_text

        text = sample_text()
    texts = [text] if isinstance(text, str) else text
    session = sessions.session(PAGE, model, texts[0])
    return session if len(texts) == 1 else session.beside(tuple(texts))


def to_small(result: Result[Any]) -> dict[str, Any]:
    """What a result says, and its numbers as far as they are few."""
    return {
        "model": result.info.name,
        "answer": result.headline,
        "shown": list(_numbers(result.blocks)),
        "notes": [one.text for one in walk(result.blocks) if isinstance(one, Note)],
        "command": result.command,
        "limits": result.view.limits,
    }


def _numbers(blocks: Iterable[Block]) -> Iterable[dict[str, Any]]:
    for block in walk(blocks):
        one = block.table if isinstance(block, Bars) else block
        if isinstance(one, Table):
            rows = [[_short(cell.value) for cell in row] for row in one.cells[:ROWS]]
            yield {"title": one.title, "columns": list(one.columns), "rows": rows,
                   "rows_in_all": len(one.rows)}  # fmt: skip
        elif isinstance(one, Heat) and one.values.size <= CELLS:
            values = [[_short(value) for value in row] for row in one.values.tolist()]
            yield {"title": one.title, "unit": one.unit, "rows": list(one.rows),
                   "columns": list(one.columns), "values": values}  # fmt: skip
        elif isinstance(one, Lines):
            curves = {each.name or one.y: each.points for each in one.series}
            yield {"title": one.title, "x": one.x, "y": one.y, "curves": {
                name: [[_short(x), _short(y)] for x, y in points]
                for name, points in curves.items() if len(points) <= POINTS
            }}  # fmt: skip


def _short(value: Any) -> Any:
    """A value with so many digits; None for what JSON has no number for."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
