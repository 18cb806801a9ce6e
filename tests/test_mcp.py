"""The views as tools for agents, over loopback and with a real client of the protocol."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import pytest

import mbexplore
from mbexplore.errors import UsageError
from mbexplore.views import REGISTRY
from tests.browser import served
from tests.test_ui_attacks import ask

pytest.importorskip("mcp", reason="the extra mcp isn't installed")
pytestmark = [
    pytest.mark.xdist_group("mcp"),
    pytest.mark.filterwarnings("default"),  # what servers leave open is theirs
]

from mbexplore_ui.tools import PATH, ROWS  # noqa: E402
from mcp import ClientSession  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

PARIS = "The capital of France is [MASK]."
CALL = {"method": "POST", "path": PATH, "Content_Type": "application/json",
        "Accept": "application/json, text/event-stream"}  # fmt: skip
LIST = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}})


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def address(explorer):
    with served({"tiny": explorer}, tools=True) as (address, _):
        yield address


def talk(address, conversation):
    """What a client finds in a conversation with the server."""

    @asynccontextmanager
    async def connected():
        async with (
            streamable_http_client(address + PATH) as (read, write, _),
            ClientSession(read, write) as client,
        ):
            await client.initialize()
            yield client

    async def held():
        async with connected() as client:
            return await conversation(client)

    return asyncio.run(held())


def call(address, name, **arguments):
    return talk(address, lambda client: client.call_tool(name, arguments))


def test_every_view_is_a_tool_with_typed_arguments(address):
    async def listed(client):
        return (await client.list_tools()).tools

    tools = {one.name: one for one in talk(address, listed)}
    views = {name.replace("-", "_") for name, view in REGISTRY.items() if not view.needs_file()}
    assert tools.keys() == views
    lens = tools["lens"].inputSchema
    assert lens["required"] == ["text"] and lens["additionalProperties"] is False
    assert lens["properties"]["top_k"]["type"] == "integer"
    assert lens["properties"]["top_k"]["minimum"] == 1
    assert lens["properties"]["model"]["enum"] == ["tiny"]
    assert tools["heads"].inputSchema["properties"]["texts"]["type"] == "array"
    for name, tool in tools.items():
        assert tool.annotations.readOnlyHint
        for argument, schema in tool.inputSchema["properties"].items():
            assert schema["description"], (name, argument)


def test_a_tool_answers_with_small_json_and_a_picture(address, explorer):
    found = call(address, "lens", text=PARIS, top_k=3)
    assert not found.isError
    said, picture = found.content
    answer = json.loads(said.text)
    result = explorer.lens(PARIS, top_k=3)
    assert answer["answer"] == result.headline and "Paris" in said.text
    assert answer["command"] == result.command
    assert picture.mimeType == "image/png"
    assert base64.b64decode(picture.data)[:4] == b"\x89PNG"
    assert len(said.text) < 20_000
    rows = next(one for one in answer["shown"] if "rows_in_all" in one)
    assert 0 < len(rows["rows"]) <= min(ROWS, rows["rows_in_all"])
    [alone] = call(address, "lens", text=PARIS, with_picture=False).content
    assert alone.type == "text"


def test_tools_of_several_texts_and_of_the_model_alone(address):
    both = call(address, "heads", texts=[PARIS, "The tide rises."], with_picture=False)
    assert "2 texts" in both.content[0].text
    assert not call(address, "info", with_picture=False).isError


@pytest.mark.parametrize(
    "name,arguments,sentence",
    [
        ("lens", {"text": "No mask."}, "has no [MASK]"),
        ("attention", {"text": PARIS, "layer": 99}, "no layer 99; choose 0 to 8"),
        ("lens", {"text": PARIS, "top_k": "many"}, "'many' is not of type 'integer'"),
        ("lens", {"text": PARIS, "path": "/etc/passwd"}, "'path' was unexpected"),
        ("lens", {}, "'text' is a required property"),
        ("shell", {}, "no tool 'shell'; choose one of"),
    ],
)
def test_a_mistake_is_a_sentence(address, name, arguments, sentence):
    found = call(address, name, **arguments)
    assert found.isError and sentence in found.content[0].text


def test_the_guard_holds_for_tools(address):
    assert ask(address, body=LIST, **CALL)[0] == 200
    assert ask(address, body=LIST, Host="evil.example", **CALL)[0] == 403
    status, sentence = ask(address, body=LIST, Origin="http://evil.example", **CALL)
    assert (status, "may not use this server" in sentence) == (403, True)
    assert ask(address, body="[", Content_Length="5000000", **CALL)[0] == 413
    assert ask(address, "GET", PATH, Accept="text/event-stream")[0] == 405


def test_tools_are_there_only_when_asked_for_and_ask_for_the_password(explorer):
    with served({"tiny": explorer}) as (plain, _):
        assert ask(plain, body=LIST, **CALL)[0] in (404, 405)
    with served({"tiny": explorer}, auth=("me", "secret"), tools=True) as (closed, _):
        assert ask(closed, body=LIST, **CALL)[0] == 401
        assert ask(closed, body=LIST, Authorization="Basic bWU6d3Jvbmc=", **CALL)[0] == 401
        known = base64.b64encode(b"me:secret").decode()
        assert ask(closed, body=LIST, Authorization=f"Basic {known}", **CALL)[0] == 200


def test_without_the_package_a_sentence_says_what_to_install(explorer, monkeypatch):
    import sys

    from mbexplore_ui.sessions import Sessions
    from mbexplore_ui.tools import Tools

    monkeypatch.setitem(sys.modules, "mcp.server.streamable_http_manager", None)
    with pytest.raises(UsageError, match=r"--mcp needs the package mcp; pip install 'mbexplore"):
        Tools(Sessions({"tiny": explorer}))
