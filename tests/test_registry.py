"""A view that is defined here, with no other edit, appears in every front end."""

import json
import re

import pytest

import mbexplore
from tests.cli_runner import run_cli

TEXT = "The capital of France is [MASK]."


@pytest.fixture(scope="module")
def tiny():
    return mbexplore.load("tiny", device="cpu")


def test_the_command(tmp_path):
    answer = json.loads(run_cli("lens", TEXT, "--json").out)
    assert next(iter(answer)) == "model" and answer["limits"]


def test_a_method_shows_itself_in_a_notebook(tiny):
    result = tiny.lens(TEXT)
    bundle = result._repr_mimebundle_()
    remote = set(re.findall(r"https?://[^/&]+", bundle["text/html"])) - {"http://www.w3.org"}
    assert set(bundle) == {"text/html", "image/png", "text/plain"}
    assert 'sandbox="allow-scripts"' in bundle["text/html"] and not remote
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert "Paris is at rank 1 from layer 7 on." in bundle["text/plain"]
