"""The panes on the bundled model: from the recording alone, and the same as the commands."""

import json
from dataclasses import replace

import pytest

from mbexplore.cli.options import sample_text
from mbexplore.explore.desk import Desk
from mbexplore.explore.lines import width_of
from mbexplore.explore.look import Look
from mbexplore.explore.panes import PANES_BY_NAME, Scene
from mbexplore.explore.state import PANES, State
from mbexplore.explore.threads import Stop
from tests.cli_runner import run_cli

TEXT = "The river runs to the sea, and the [MASK] of the sea comes up the river twice a day."


@pytest.fixture(scope="module")
def desk():
    return Desk("tiny", device="cpu")


@pytest.fixture(scope="module")
def explorer(desk):
    return desk.open(Stop(), lambda *_: None)


def run(desk, explorer, text):
    predicted = desk.predict(explorer, text, Stop(), lambda *_: None)
    return desk.record(predicted, Stop(), lambda *_: None)


@pytest.fixture(scope="module")
def short(desk, explorer):
    return run(desk, explorer, TEXT)


@pytest.fixture(scope="module")
def long(desk, explorer):
    """200 tokens."""
    words = sample_text().split()
    texts = (" ".join(words[:n]) for n in range(len(words), 0, -1))
    text = next(text for text in texts if len(explorer.encode(text)) <= 200)
    found = run(desk, explorer, text)
    assert 195 <= len(found.encoding) <= 200
    return found


def key_pictures(pane, size, long):
    """What eight keys show, each on another layer, head, token and zoom."""
    shown = PANES_BY_NAME[pane]
    for n in range(1, 9):
        place = State(layer=n, head=n % 4, token=20 * n, zoom=n % 4, pane=pane)
        if pane == "band" and long.bounds.kinds[n] == "global":
            continue
        scene = Scene(long, place, Look(), *size)
        yield place, shown.draw(shown.load(scene, Stop()), scene)


@pytest.mark.parametrize("pane", PANES)
@pytest.mark.parametrize("size", [(78, 11), (198, 47)], ids=str)
def test_a_key_is_drawn_from_the_recording_within_its_room(pane, size, long, explorer):
    passes = []
    inputs = explorer.model.encoder.embeddings
    handle = inputs.register_forward_hook(lambda *_: passes.append(1))
    for place, picture in key_pictures(pane, size, long):
        assert 0 < len(picture.lines) <= size[1], place
        assert all(width_of(line) <= size[0] for line in picture.lines), place
    handle.remove()
    assert not passes


@pytest.mark.parametrize("pane", PANES)
@pytest.mark.parametrize(
    "place",
    [State(layer=1, head=2, token=9), State(layer=1, head=3, token=9, specials=False, words=True)],
    ids=["plain", "words"],
)
def test_the_command_that_y_copies_makes_the_same(pane, place, short):
    scene = Scene(short, place, Look(), 78, 11)
    view = PANES_BY_NAME[pane].view(scene, Stop())
    done = run_cli(*view.command, "--json")
    assert done.code == 0, done.err
    ours, theirs = (json.loads(text) for text in (json.dumps(view.payload()), done.out))
    assert roughly(ours) == roughly(theirs)


def roughly(value):
    """Floats to five digits: a recording that keeps more, or a batch, may round otherwise."""
    if isinstance(value, dict):
        return {key: roughly(each) for key, each in value.items()}
    if isinstance(value, list):
        return [roughly(each) for each in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


@pytest.mark.parametrize("words", [False, True])
def test_the_longest_text_zooms_down_to_its_exact_weights(desk, explorer, words):
    found = run(desk, explorer, " ".join(["the"] * (2048 - 2)))
    assert len(found.encoding) == 2048
    place = State(layer=3, head=1, token=1500, pane="map", words=words)
    pane = PANES_BY_NAME["map"]
    for zoom in range(found.bounds.zooms + 1):
        scene = Scene(found, replace(place, zoom=zoom), Look(), 78, 11)
        data = pane.load(scene, Stop())
        picture = pane.draw(data, scene)
        assert len(picture.lines) <= 11 and all(width_of(line) <= 78 for line in picture.lines)
        rows = data.map.axis.indices_of(data.map.axis.starts)
        assert len(rows) == len(data.map.axis)
    row = data.map.axis.index_of(1500)
    exact = found.recording.attention(3, 1, 1500, data.map.axis.starts.tolist())[0, 0]
    assert data.map.pool == 1
    assert data.map.weights[0, row].tolist() == pytest.approx(exact.tolist(), abs=1e-6)
    figures = [segment.text.strip() for segment in picture.lines[1 + row][1:]]
    shown = [f"{weight:.3f}"[1:] for weight in exact.tolist()]
    assert [each for each in figures if each][: len(shown)] == shown[: len(figures)]
