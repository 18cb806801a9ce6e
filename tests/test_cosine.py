"""Cosines between tokens: against numpy, pair by pair."""

import itertools
import json

import numpy as np
import pytest

from mbexplore.analysis.similarity import KEEP, token_similarity
from mbexplore.display.blocks import Heat, Lines, Table
from mbexplore.errors import RangeError, TextError
from mbexplore.session import Session
from mbexplore.views.cosine import CosineView
from tests.cli_runner import run_cli
from tests.handbuilt import build_explorer, build_random

TEXT = "a b c [MASK] d"


@pytest.fixture(scope="module")
def explorer():
    return build_explorer(build_random())


def cosine(a, b):
    a, b = np.float64(a), np.float64(b)
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_every_pair_and_the_mean_of_all_pairs(explorer):
    recording = explorer.record(TEXT, keep=KEEP)
    for layer in range(3):
        found = token_similarity(recording, layer)
        states = [recording.hidden_states(n).numpy() for n in range(4)]
        for (i, a), (j, b) in itertools.product(enumerate(states[layer + 1]), repeat=2):
            assert found.cosine[i, j] == pytest.approx(cosine(a, b), abs=1e-6)
        for mean, state in zip(found.mean, states, strict=True):
            pairs = [cosine(a, b) for a, b in itertools.permutations(state, 2)]
            assert mean == pytest.approx(np.mean(pairs), abs=1e-6)
    with pytest.raises(RangeError, match="no layer 3; choose 0 to 2"):
        token_similarity(recording, 3)


def test_a_single_token_has_no_pair(explorer, monkeypatch):
    recording = explorer.record(TEXT, keep=KEEP)
    monkeypatch.setattr(type(recording), "__len__", lambda self: 1)
    with pytest.raises(TextError, match="no pair to compare"):
        token_similarity(recording, 0)


def test_the_view_names_the_nearest_and_selects_tokens(explorer):
    result = CosineView(token="b").of(Session(explorer, TEXT))
    place, values = 2, result.data.cosine
    [table] = (block for block in result.blocks if isinstance(block, Table))
    [heat] = (block for block in result.blocks if isinstance(block, Heat))
    [lines] = (block for block in result.blocks if isinstance(block, Lines))
    others = [i for i in np.argsort(-values[place], kind="stable") if i != place]
    assert [row[0].value for row in table.cells] == others
    assert [row[2].value for row in table.cells] == [float(values[place, i]) for i in others]
    assert table.cells[0][0].select == {"token": others[0]}
    assert (heat.select, heat.mark) == (("token", "token"), (place, None))
    np.testing.assert_array_equal(heat.values, values)
    assert lines.series[0].y == tuple(result.data.mean)
    assert f"({others[0]}), cosine {values[place, others[0]]:.2f}" in result.headline


def test_a_long_text_shows_the_part_around_the_token(explorer):
    result = CosineView(token=50).of(Session(explorer, "a b c d e f " * 9))
    assert len(result.data.tokens) == 56
    wide = CosineView(token=100).of(Session(build_wide(), "a b c d e f " * 30))
    [heat] = (block for block in wide.blocks if isinstance(block, Heat))
    assert heat.row_values == heat.column_values == tuple(range(40, 160))
    np.testing.assert_array_equal(heat.values, wide.data.cosine[40:160, 40:160])
    assert heat.title.endswith(", tokens 40 to 159") and heat.mark == (60, None)


def build_wide():
    """A model that takes longer texts."""
    import dataclasses

    from mbexplore.network.model import ModernBertForMaskedLM
    from tests.handbuilt import handbuilt_config

    config = dataclasses.replace(handbuilt_config(), max_position_embeddings=512)
    return build_explorer(ModernBertForMaskedLM(config).eval())


def test_the_command(tmp_path):
    text = "The capital of France is [MASK]."
    shown = run_cli("cosine", text, "-l", 8, "-o", tmp_path / "cosine.png")
    assert shown.code == 0 and "[MASK] (6) is most like France (4)" in " ".join(shown.out.split())
    assert (tmp_path / "cosine.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(run_cli("cosine", text, "--layer", "-1", "--json").out)
    assert found["layer"] == 8 and np.shape(found["cosine"]) == (9, 9)
    wrong = run_cli("cosine", text, "--layer", 9)
    assert wrong.code == 1 and "no layer 9; choose 0 to 8" in wrong.err
