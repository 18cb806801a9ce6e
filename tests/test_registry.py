"""A view that is defined here, with no other edit, appears in every front end."""

import csv
import inspect
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

import numpy as np
import pytest

from mbexplore.cli import app
from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Table
from mbexplore.display.terminal import to_text
from mbexplore.session import Session, check_layer
from mbexplore.views.parameters import Layer, Token
from mbexplore.views.view import REGISTRY, View, option
from tests.cli_runner import run_again, run_cli

TEXT = "The capital of France is [MASK]."
NAME = "alike"


@dataclass(frozen=True, eq=False)
class Alike:
    """What the view of this file finds."""

    tokens: tuple[str, ...]
    layer: int
    cosine: np.ndarray


@pytest.fixture(scope="module", autouse=True)
def view():
    """The class is all there is of the view; without this test it doesn't exist."""

    class AlikeView(View[Alike]):
        """Cosine of the residual stream of every two tokens."""

        name = NAME
        title = "Alike"
        question = "Which tokens are alike?"
        limits = "All tokens may share a direction."

        layer: Layer = option("After which layer.", default=-1, short="-l")
        token: Token = option("The token looked at.", default=None)
        centred: bool = option("Subtract the mean of all tokens first.", default=False)
        nearest: int = option("Tokens listed.", default=3, at_least=1, short="-n")

        def compute(self, session: Session) -> Alike:
            layer = check_layer(session.explorer, self.layer)
            state = session.recording("hidden_states").hidden_states(layer + 1).numpy()
            state = state - state.mean(axis=0) if self.centred else state
            unit = state / np.linalg.norm(state, axis=1, keepdims=True)
            return Alike(session.encoding.tokens, layer, unit @ unit.T)

        def blocks(self, found: Alike, session: Session) -> Iterator[Block]:
            place = session.focus(self.token)
            near = [int(i) for i in np.argsort(-found.cosine[place]) if i != place][: self.nearest]
            yield Headline(f"Token {place} is most like token {near[0]}.")
            values = [float(found.cosine[place, i]) for i in near]
            yield Table(("token", "cosine"), tuple(
                (Cell(i, select={"token": i}), Cell(value, f"{value:.4f}"))
                for i, value in zip(near, values, strict=True)
            ))  # fmt: skip
            yield Heat(
                found.cosine, found.tokens, found.tokens, title="Cosines", row_axis="one",
                column_axis="other", unit="cosine", select=("token", "token"), mark=(place, None),
            )  # fmt: skip
            yield Note(self.limits)

    yield AlikeView
    del REGISTRY[NAME]
    app.registered_commands = [one for one in app.registered_commands if one.name != NAME]


@pytest.fixture(scope="module")
def expected(tiny):
    """Cosines after the last layer, worked out here."""
    state = tiny.record(TEXT, keep=("hidden_states",)).hidden_states(9).double().numpy()
    lengths = np.sqrt((state**2).sum(axis=1))
    return state @ state.T / np.outer(lengths, lengths)


def test_a_command_with_options_and_help(expected):
    told = run_cli(NAME, "--help")
    for words in ("Which tokens are alike?", "--layer", "-l", "--centred", "--nearest", "--token"):
        assert words in told.out
    assert "Which tokens are alike?" in run_cli("--help").out
    shown = run_cli(NAME, TEXT, "-n", 2)
    nearest = int(np.argsort(-expected[6])[1])
    assert shown.code == 0 and f"Token 6 is most like token {nearest}." in shown.out
    assert f"{expected[6, nearest]:.4f}" in shown.out and "All tokens may share" in shown.out
    for arguments, sentence in (
        (["-l", 9], "There is no layer 9; choose 0 to 8."),
        (["-n", 0], "nearest is 0; choose 1 or more."),
        (["--token", "Spain"], "'Spain'"),
    ):
        wrong = run_cli(NAME, TEXT, *arguments)
        assert wrong.code == 1 and sentence in wrong.err, wrong.err


def test_files_hold_the_same_numbers(tmp_path, expected):
    answer = json.loads(run_cli(NAME, TEXT, "--json").out)
    assert list(answer) == ["model", "tokens", "layer", "cosine", "limits"]
    np.testing.assert_allclose(answer["cosine"], expected, atol=1e-5)
    for ending in ("json", "csv", "npz", "png", "svg", "pdf", "html"):
        done = run_cli(NAME, TEXT, "-o", tmp_path / f"one.{ending}")
        assert done.code == 0, done.err
    assert json.loads((tmp_path / "one.json").read_bytes()) == answer
    with np.load(tmp_path / "one.npz") as saved:
        assert saved["cosine"].tolist() == answer["cosine"]
        assert saved["tokens"].tolist() == answer["tokens"]
    rows = list(csv.reader(io.StringIO((tmp_path / "one.csv").read_text())))
    assert rows[0] == ["token", "cosine"] and len(rows) == 4
    assert [float(cosine) for _, cosine in rows[1:]] == [
        answer["cosine"][6][int(token)] for token, _ in rows[1:]
    ]
    for ending, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert (tmp_path / f"one.{ending}").read_bytes().startswith(magic)


def test_a_method_with_a_signature_and_a_docstring(tiny, view):
    assert NAME in dir(tiny)
    signature = inspect.signature(tiny.alike)
    assert list(signature.parameters) == [
        "text", "layer", "token", "centred", "nearest", "context",
    ]  # fmt: skip
    assert signature.parameters["nearest"].default == 3
    assert "centred: Subtract the mean of all tokens first." in tiny.alike.__doc__
    result = tiny.alike(TEXT, token="France", centred=True)
    assert result.view == view(token="France", centred=True)
    assert abs(result.data.cosine.mean()) < 0.2 < result.data.cosine.max()
    assert run_again(result) == result.to_json()
    assert "Token 4 is most like" in to_text(result.blocks)
    with pytest.raises(TypeError, match="nearst"):
        tiny.alike(TEXT, nearst=2)


def test_a_result_shows_itself_in_a_notebook(tiny):
    for result, words in (
        (tiny.alike(TEXT), "Token 6 is most like token"),
        (tiny.lens(TEXT), "Paris is at rank 1 from layer 7 on."),
        (tiny.corpus(layer=5, head=2), "5.2"),  # many dots
        (tiny.attention(layer=3, head=1), "strongest in layer 3"),  # many numbers
    ):
        with mock.patch("rich.console._is_jupyter", return_value=True):
            bundle = result._repr_mimebundle_()
        picture = len(bundle["image/png"]) * 4 // 3  # as a notebook writes it
        assert picture + len(bundle["text/html"]) + len(bundle["text/plain"]) < 300_000
        remote = set(re.findall(r"https?://[^/&]+", bundle["text/html"])) - {"http://www.w3.org"}
        assert set(bundle) == {"text/html", "image/png", "text/plain"}
        assert 'sandbox="allow-scripts"' in bundle["text/html"] and not remote
        assert bundle["image/png"].startswith(b"\x89PNG")
        assert words in bundle["text/plain"]


@pytest.mark.filterwarnings("default")  # what servers and browsers leave open is theirs
def test_a_tab_whose_cells_select_a_token(tiny, browser, tmp_path, expected):
    from tests.browser import served, visit

    with served({"tiny": tiny}) as (address, _):
        person = visit(browser, address)
        page = person.page
        person.open(text=TEXT, view="predict")
        person.tab(NAME)
        assert page.inner_text(f'[data-view="{NAME}"]') == "Alike"
        canvas = page.locator('canvas[data-key="heat Cosines"]')
        box = canvas.bounding_box()
        canvas.click(position={"x": (box["width"] - 2) / 9 * 4.5, "y": 10})
        nearest = int(np.argsort(-expected[4])[1])
        page.wait_for_selector(f".line:has-text('Token 4 is most like token {nearest}.')")
        person.settle()
        assert "token=4" in page.url and page.inner_text(".chip.held").startswith("France")
        page.click("#mb-setting-centred")
        page.wait_for_selector(".foot code:has-text('--centred')")
        person.settle()
        told = page.inner_text(".foot code")
        assert told.startswith(f"mbexplore {NAME} '{TEXT}'") and "--token 4" in told
        saved = json.loads(person.saved("json"))
        assert saved["limits"] == "All tokens may share a direction."
        page.context.close()
        assert person.foreign == [] and person.errors == []
    saved = tmp_path / "saved.html"
    assert run_cli(NAME, TEXT, "-o", saved).code == 0
    page = browser.new_page()
    page.goto(saved.as_uri())
    assert page.locator("figure canvas").count() >= 1
    assert "Token 6 is most like" in page.inner_text("body")
    page.close()


def test_an_endpoint_with_its_parameters(tiny):
    from mbexplore_ui.endpoints import Endpoints
    from mbexplore_ui.sessions import Sessions

    endpoints = Endpoints(Sessions({"tiny": tiny}))
    [endpoint] = (one for one in endpoints.public() if one.__name__ == NAME)
    assert {"layer", "token", "centred", "nearest"} <= set(inspect.signature(endpoint).parameters)
    answer = endpoints.call(NAME, "p", "tiny", TEXT, -1, 4, True)
    assert answer["line"].startswith("Token 4 is most like") and "--centred" in answer["command"]
