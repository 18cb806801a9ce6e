"""`mbexplore record`, and commands that look at what it saved."""

import json

import pytest

from mbexplore.explorer import Explorer
from tests.cli_runner import run_cli

TEXT = "The capital of France is [MASK]."


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("recordings") / "france.safetensors"
    done = run_cli("record", TEXT, "-o", path)
    assert done.code == 0 and str(path) in done.err
    return path


@pytest.mark.parametrize(
    "arguments", [["lens", "-k", 2], ["attention", "--layer", 3], ["residual"]], ids=str
)
def test_a_recording_is_looked_at_without_the_model_running(saved, arguments, monkeypatch):
    keep = ["--keep", "updates", "--keep", "hidden_states"] if arguments == ["residual"] else []
    if keep:
        saved = saved.with_stem("updates")
        run_cli("record", TEXT, "-o", saved, *keep)
    whole = json.loads(run_cli(*arguments, TEXT, "--json").out)
    monkeypatch.setattr(Explorer, "record", None)
    again = run_cli(*arguments, "--recording", saved, "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out).keys() == whole.keys()
    assert json.loads(again.out)["tokens"] == whole["tokens"]


def test_mistakes_are_sentences(saved, tmp_path):
    both = run_cli("lens", TEXT, "--recording", saved)
    assert both.code == 2 and "given in two ways" in both.err
    missing = run_cli("lens", "--recording", tmp_path / "none")
    assert missing.code == 1 and "There is no file" in missing.err
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00" * 9)
    assert "holds no recording" in run_cli("lens", "--recording", broken).err
