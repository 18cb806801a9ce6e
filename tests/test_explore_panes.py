"""The panes on the bundled model: from the recording alone, and the same as the commands."""

import json
import shlex

import pytest

from mbexplore.explore.lines import width_of
from mbexplore.explore.look import Look
from mbexplore.explore.panes import build_view, draw, pane_names
from mbexplore.explore.runner import Runner
from mbexplore.explore.state import State
from mbexplore.explore.threads import Stop
from tests.cli_runner import run_cli

TEXT = "The river runs to the sea, and the [MASK] of the sea comes up the river twice a day."
SLOW = {"ablate", "patch", "attribute", "compare", "verify", "predict", "score", "likelihood"}
"""Views that run the model: they change what it computes, or compare it."""
PANES = pane_names()


@pytest.fixture(scope="module")
def runner():
    return Runner("tiny", device="cpu")


@pytest.fixture(scope="module")
def explorer(runner):
    return runner.open(Stop(), lambda *_: None)


@pytest.fixture(scope="module")
def run(runner, explorer):
    predicted = runner.predict(explorer, TEXT, Stop(), lambda *_: None)
    return runner.record(predicted, Stop(), lambda *_: None)


@pytest.mark.parametrize("pane", sorted(set(PANES) - SLOW))
@pytest.mark.parametrize("width", [78, 198])
def test_a_key_is_drawn_from_the_recording_within_its_room(pane, width, run, explorer):
    passes = []
    inputs = explorer.model.encoder.embeddings
    handle = inputs.register_forward_hook(lambda *_: passes.append(1))
    for n in range(1, 9, 3):
        where = State(layer=n, head=n % 4, token=2 * n, zoom=n % 3, pane=pane)
        picture = draw(build_view(where, run.bounds).of(run.session), Look(), width)
        assert picture.lines
        assert all(width_of(line) <= width for line in picture.lines), where
    handle.remove()
    assert not passes


@pytest.mark.parametrize("pane", sorted(set(PANES) - {"verify"}))
def test_the_command_that_y_copies_makes_the_same(pane, run):
    where = State(layer=1, head=2, token=9, pane=pane)
    result = build_view(where, run.bounds).of(run.session)
    done = run_cli(*shlex.split(result.command)[1:], "--json")
    assert done.code == 0, done.err
    assert roughly(json.loads(result.content("json"))) == roughly(json.loads(done.out))


def roughly(value):
    """Floats to three digits: a recording that keeps more, or a batch, may round otherwise."""
    if isinstance(value, dict):
        return {key: roughly(each) for key, each in value.items()}
    if isinstance(value, list):
        return [roughly(each) for each in value]
    return float(f"{value:.3g}") if isinstance(value, float) and abs(value) > 1e-4 else value


def test_without_colours_no_pane_has_one(run):
    for pane in sorted(set(PANES) - SLOW):
        where = State(layer=1, token=9, pane=pane)
        picture = draw(build_view(where, run.bounds).of(run.session), Look(colour=False), 78)
        styles = [segment.style for line in picture.lines for segment in line if segment.style]
        assert not any(style.color or style.bgcolor for style in styles), pane
