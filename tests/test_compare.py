"""Two runs side by side: nothing between a run and itself, and the known place where two part."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.analysis.alignment import align
from mbexplore.analysis.compare import compare
from mbexplore.errors import RangeError, TextError
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.session import Session
from mbexplore.views.compare import CompareView
from tests.cli_runner import run_cli
from tests.handbuilt import COPY_LAYER, build_explorer, build_random, handbuilt_config

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
    kinds = handbuilt_config().layer_kinds[:2]
    shorter = dataclasses.replace(handbuilt_config(), num_hidden_layers=2, layer_kinds=kinds)
    other = build_explorer(ModernBertForMaskedLM(shorter).eval())
    found = compare((explorer, ONE), (other, ONE))
    assert found.residual_distance is None and found.attention.shape == (7, 7)
    assert found.unavailable_reason.startswith("The models are 3 layers of")
    with pytest.raises(RangeError, match="no layer 3"):
        compare((explorer, ONE), (explorer, OTHER), layer=3)
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        compare((explorer, ONE), (explorer, "a b c"))


def test_texts_of_unequal_length_are_compared_at_their_common_ends(monkeypatch):
    explorer = build_explorer(build_random())
    longer = "a e f c [MASK] d"
    found = compare((explorer, ONE), (explorer, longer), layer=2, head=1)
    pairs = list(zip(found.alignment.first, found.alignment.second, strict=True))
    one, two = explorer.record(ONE), explorer.record(longer)
    tokens = [(one.encoding.ids[i], two.encoding.ids[j]) for i, j in pairs]
    assert all(a == b for a, b in tokens) and len(pairs) < min(len(one), len(two)) + 1
    maps = [r.attention(2, 1)[0].numpy() for r in (one, two)]
    for row, (i, j) in enumerate(pairs):
        for column, (k, m) in enumerate(pairs):
            expected = maps[1][j, m] - maps[0][i, k]
            assert found.attention[row, column] == pytest.approx(expected, abs=1e-6)
        vectors = one.hidden_states(3)[i], two.hidden_states(3)[j]
        distance = 1 - float(torch.cosine_similarity(*vectors, dim=0))
        assert found.residual_distance[3, row] == pytest.approx(distance, abs=1e-5)
    assert "common beginning and end" in found.unavailable_reason
    assert found.nbytes == found.attention.nbytes + found.residual_distance.nbytes
    assert compare((explorer, ONE), (explorer, OTHER)).layer == 2  # the last by default
    monkeypatch.setattr("mbexplore.analysis.compare.MOST_MAP_TOKENS", 3)
    assert compare((explorer, ONE), (explorer, OTHER)).attention is None


@given(start=st.lists(st.integers(5, 9), max_size=4), end=st.lists(st.integers(5, 9), max_size=4),
       middles=st.tuples(*[st.lists(st.integers(10, 14), max_size=3)] * 2))  # fmt: skip
def test_alignment_of_common_ends(start, end, middles):
    texts = [[1, *start, *middle, *end, 2] for middle in middles]
    encodings = [SimpleNamespace(ids=ids) for ids in texts]
    found = align(*encodings)
    pairs = list(zip(found.first, found.second, strict=True))
    if len(texts[0]) == len(texts[1]):
        assert pairs == [(i, i) for i in range(len(texts[0]))] and found.is_whole
        return
    assert not found.is_whole and len(pairs) >= len(start) + len(end) + 2
    assert all(texts[0][i] == texts[1][j] for i, j in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in itertools.pairwise(pairs))


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
    assert uneven.code == 0 and "common beginning and end" in " ".join(uneven.out.split())
    found = json.loads(run_cli("compare", FRANCE, "--with", "tiny", "--json").out)
    assert found["kl"] == 0 and np.shape(found["residual_distance"]) == (10, 9)
    wrong = run_cli("compare", FRANCE)
    assert wrong.code == 2 and "nothing to compare with" in wrong.err
