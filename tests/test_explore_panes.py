"""The panes on the bundled model: from the recording alone, and the same as the commands."""

import json
import shlex

import pytest
from rich.segment import Segment

from mbexplore.explore.panes import KEEP, build_view, draw, open_model, pane_names, view_of_answer
from mbexplore.explore.state import Bounds, State
from mbexplore.session import Session
from tests.cli_runner import run_cli

TEXT = "The river runs to the sea, and the [MASK] of the sea comes up the river twice a day."
SLOW = {
    "ablate", "patch", "attribute", "compare", "verify", "predict", "score", "likelihood", "why",
    "corpus",
}  # fmt: skip
"""Views that run the model: they change what it computes, compare it, or run other texts."""
PANES = pane_names()


@pytest.fixture(scope="module")
def explorer():
    return open_model("tiny", device="cpu")


@pytest.fixture(scope="module")
def session(explorer):
    made = Session(explorer, TEXT, keep=KEEP)
    made.recording()
    return made


@pytest.mark.parametrize("pane", sorted(set(PANES) - SLOW))
@pytest.mark.parametrize("width", [78, 198])
def test_a_key_is_drawn_from_the_recording_within_its_room(pane, width, session, explorer):
    passes, bounds = [], Bounds.of(session)
    inputs = explorer.model.encoder.embeddings
    handle = inputs.register_forward_hook(lambda *_: passes.append(1))
    for n in range(1, 9, 3):
        where = State(layer=n, head=n % 4, token=2 * n, zoom=n % 3, pane=pane)
        lines = draw(build_view(where, bounds).of(session).blocks, width, colour=True)
        assert lines
        assert all(Segment.get_line_length(line) <= width for line in lines), where
    handle.remove()
    assert not passes


@pytest.mark.parametrize("pane", sorted(set(PANES) - {"verify"}))
def test_the_command_that_y_copies_makes_the_same(pane, session):
    where = State(layer=1, head=2, token=9, pane=pane)
    result = view_of_answer(where, session, Bounds.of(session)).of(session)
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


def test_without_colours_no_pane_has_one(session):
    for pane in sorted(set(PANES) - SLOW):
        where = State(layer=1, token=9, pane=pane)
        lines = draw(build_view(where, Bounds.of(session)).of(session).blocks, 78, colour=False)
        styles = [segment.style for line in lines for segment in line if segment.style]
        assert not any(style.color or style.bgcolor for style in styles), pane
