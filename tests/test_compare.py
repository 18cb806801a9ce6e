"""Two runs side by side: nothing between a run and itself, and the known place where two part."""

import json

import numpy as np
import pytest
import torch

from mbexplore.analysis.compare import compare
from mbexplore.errors import RangeError, TextError
from mbexplore.session import Session
from mbexplore.views.compare import CompareView
from tests.cli_runner import run_cli
from tests.handbuilt import COPY_LAYER, build_explorer, build_random

ONE, OTHER = "a b c [MASK] d", "a b e [MASK] d"
FRANCE, ITALY = "The capital of France is [MASK].", "The capital of Italy is [MASK]."


def test_a_run_beside_itself_differs_in_nothing():
    explorer = build_explorer(build_random())
    same = compare((explorer, ONE), (explorer, ONE), layer=1)
    assert same.first == same.second and same.kl == 0
    assert (
        not same.attention.any()
        and not same.residual_distance.any()
        and same.unavailable_reason == ""
    )


def test_two_texts_part_where_the_token_is_and_then_where_it_is_copied():
    copier = build_explorer()
    found = compare((copier, ONE), (copier, OTHER), layer=COPY_LAYER, head=0, top_k=1)
    assert [side.predictions[0].token for side in (found.first, found.second)] == ["c", "e"]
    apart = found.residual_distance > 1e-6
    expected = np.zeros((4, 7), dtype=bool)
    expected[:, 3] = True
    expected[COPY_LAYER + 1 :, 4] = True
    assert np.array_equal(apart, expected)
    np.testing.assert_allclose(found.attention, 0, atol=1e-6)  # it looks back, whatever is there


def test_recordings_are_as_good_as_their_texts():
    explorer = build_explorer(build_random())
    fresh = compare((explorer, ONE), (explorer, OTHER), layer=2, head=1)
    both = [(explorer, explorer.record(text)) for text in (ONE, OTHER)]
    again = compare(*both, layer=2, head=1)
    assert (again.first, again.second, again.kl) == (fresh.first, fresh.second, fresh.kl)
    np.testing.assert_array_equal(again.attention, fresh.attention)
    np.testing.assert_array_equal(again.residual_distance, fresh.residual_distance)


def test_two_models_on_one_text():
    one, other = build_explorer(build_random(0)), build_explorer(build_random(1))
    found = compare((one, ONE), (other, ONE), layer=2, head=1, top_k=3)
    difference = other.record(ONE).attention(2, 1)[0] - one.record(ONE).attention(2, 1)[0]
    np.testing.assert_allclose(found.attention, difference.numpy(), atol=1e-7)
    for side, explorer in ((found.first, one), (found.second, other)):
        [mask] = explorer.fill_masks(ONE, top_k=3).masks
        assert [p.token_id for p in side.predictions] == [p.token_id for p in mask.predictions]
    p, q = (e.fill_masks(ONE).logits[0].softmax(0) for e in (one, other))
    kl = torch.nn.functional.kl_div(q.log(), p, reduction="sum")
    assert found.kl == pytest.approx(float(kl), rel=1e-4)
    swapped = compare((other, ONE), (one, ONE), layer=2, head=1)
    np.testing.assert_array_equal(swapped.attention, -found.attention)
    np.testing.assert_allclose(swapped.residual_distance, found.residual_distance, atol=1e-7)


def test_what_has_no_common_shape_says_so():
    explorer = build_explorer(build_random())
    found = compare((explorer, ONE), (explorer, "a b [MASK] d"))
    assert found.attention is None and found.residual_distance is None
    assert found.unavailable_reason.startswith("The texts are 7 and 6 tokens")
    with pytest.raises(RangeError, match="no layer 3"):
        compare((explorer, ONE), (explorer, OTHER), layer=3)
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        compare((explorer, ONE), (explorer, "a b c"))


def test_both_are_asked_before_either_runs(monkeypatch):
    explorer = build_explorer(build_random())
    monkeypatch.setattr(type(explorer), "record", None)
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        compare((explorer, ONE), (explorer, "a b c"))


def test_a_look_at_another_layer_runs_no_model_again(monkeypatch):
    session = Session(build_explorer(build_random()), ONE)
    first = CompareView(other=OTHER).of(session)
    monkeypatch.setattr(type(session.explorer), "record", None)
    again = CompareView(other=OTHER, layer=0, head=1).of(session)
    monkeypatch.undo()
    found = compare((session.explorer, ONE), (session.explorer, OTHER), layer=0, head=1)
    np.testing.assert_array_equal(again.data.attention, found.attention)
    assert first.data.layer == 2 and CompareView(other=OTHER).of(session) is first


def test_the_command(tmp_path):
    shown = run_cli("compare", FRANCE, ITALY, "--layer", 6, "-o", tmp_path / "pair.png")
    assert shown.code == 0 and "Paris (59.0%) against Rome" in shown.out and "layer 8" in shown.out
    assert (tmp_path / "pair.png").read_bytes().startswith(b"\x89PNG")
    uneven = run_cli("compare", FRANCE, "A [MASK].", "-o", tmp_path / "uneven.svg")
    assert uneven.code == 0 and "can't be laid over each other" in " ".join(uneven.out.split())
    found = json.loads(run_cli("compare", FRANCE, "--with", "tiny", "--json").out)
    assert found["kl"] == 0 and np.shape(found["residual_distance"]) == (10, 9)
    wrong = run_cli("compare", FRANCE)
    assert wrong.code == 2 and "nothing to compare with" in wrong.err
