"""Parts that are switched off: against `ablate`, against maps by brute force, and in the view."""

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis import focus
from mbexplore.analysis.ablate import Block, BlockedTokens, Head, ablate
from mbexplore.analysis.readout import build_readout
from mbexplore.analysis.without import hide_keys, run_without
from mbexplore.errors import RangeError
from mbexplore.hooks import hooked
from mbexplore.session import Session
from mbexplore.views.lens import LensView
from mbexplore.views.model_view import ModelMapsView
from tests.handbuilt import COPY_HEAD, COPY_LAYER, build_explorer, build_random

PARIS = "The capital of France is [MASK]."
KEEP = ("attention", "hidden_states")


@pytest.mark.parametrize(
    "parts",
    [[Head(6, 3)], [Head(6, 3), Head(8, 2), Block(4, "mlp")], [BlockedTokens((0, 4))]],
    ids=["head", "parts", "tokens"],
)
def test_the_answer_is_that_of_ablation(tiny, parts):
    clean = tiny.record(PARIS, keep=KEEP)
    found = run_without(tiny, clean, parts)
    expected = ablate(tiny, PARIS, parts)
    assert found.parts == expected.effects[0].parts
    assert found.before.rows[-1].probability == pytest.approx(expected.clean.probability, rel=1e-4)
    assert found.after.rows[-1].probability == pytest.approx(
        expected.effects[0].score.probability, rel=1e-4
    )
    assert found.after.rows[-1].rank == expected.effects[0].score.rank
    assert found.after.rows[-1].predictions[0].token == expected.effects[0].top1
    assert found.before.target == found.after.target == expected.target


def test_the_copying_head_is_what_the_answer_goes_with():
    explorer = build_explorer()
    clean = explorer.record("a b [MASK]", keep=KEEP)
    found = run_without(explorer, clean, [Head(COPY_LAYER, COPY_HEAD)])
    assert found.before.rows[-1].predictions[0].token.strip() == "b"
    assert found.after.rows[-1].predictions[0].token.strip() == "[MASK]"
    before, after = ([row.rank for row in side.rows] for side in (found.before, found.after))
    layer = COPY_LAYER + 1  # states up to the layer of the head are the same
    assert before[:layer] == after[:layer] and before[-1] == 1 < after[-1]


def test_the_lens_is_that_of_a_model_whose_head_writes_nothing(tiny):
    cut = mbexplore.load("tiny", device="cpu")
    attn, size = cut.model.encoder.layers[6].attn, cut.model.config.head_dim
    with torch.no_grad():
        attn.Wo.weight[:, 3 * size : 4 * size] = 0
    found, expected = tiny.lens(PARIS, parts=("6.3",)), cut.lens(PARIS, answer="Paris").data
    assert found.headline.startswith("Without head 6.3 Paris goes from 59.0% to ")
    for ours, theirs in zip(found.data.after.rows, expected.rows, strict=True):
        assert ours.rank == theirs.rank
        assert ours.probability == pytest.approx(theirs.probability, rel=1e-3, abs=1e-7)
    assert found.data.before == tiny.lens(PARIS).data
    plain = found.to_json()
    assert plain["without"]["parts"] == ["head 6.3"]
    before = plain["without"]["before"]["rows"][-1]["probability"]
    assert plain["rows"][-1]["probability"] < 0.5 * before
    everywhere = tiny.lens(PARIS, parts=("6.3",), all_tokens=True)
    assert everywhere.data.top == cut.lens(PARIS, all_tokens=True).data.top
    assert everywhere.headline.startswith("Without 6.3: half of the tokens")


def test_lens_and_model_view_share_the_pass_without_the_parts(tiny, monkeypatch):
    from mbexplore.analysis import without

    passes, real = [], run_without
    monkeypatch.setattr(without, "run_without", lambda *a, **k: passes.append(1) or real(*a, **k))
    session, off = Session(tiny, PARIS), {"parts": ("6.3",), "blocked": ("France",)}
    for view in (ModelMapsView(**off), LensView(**off), LensView(**off, all_tokens=True)):
        assert "6.3" in view.of(session).command and "--block France" in view.of(session).command
    assert len(passes) == 1


@pytest.mark.parametrize("blocked", [[4], [0, 3, 7]])
def test_maps_leave_out_blocked_keys(blocked):
    """Softmax of the scores with minus infinity at the blocked keys, a token's own excepted."""
    explorer = build_explorer(build_random())
    recording = explorer.record("a b c d e f g", keep=("attention",))
    hidden, seq = hide_keys(recording, blocked), len(recording)
    places = torch.arange(seq)
    for layer in range(3):
        scores = recording.q(layer) @ recording.k(layer).mT / recording.q(layer).shape[-1] ** 0.5
        half_window = recording.config.half_window(layer)
        seen = torch.ones(seq, seq, dtype=torch.bool)
        if half_window is not None:
            seen = (places[:, None] - places).abs() <= half_window
        seen[:, blocked] = False
        seen |= torch.eye(seq, dtype=torch.bool)
        expected = scores.masked_fill(~seen, float("-inf")).softmax(dim=-1)
        np.testing.assert_allclose(hidden.attention(layer), expected, rtol=1e-4, atol=1e-6)


def test_the_view_shows_the_answer_and_maps_without(tiny):
    session = Session(tiny, PARIS)
    plain, broken = (ModelMapsView(**v).of(session) for v in ({}, {"parts": ("6.3", "8.2")}))
    assert plain.data.without is None and "largest weight" in plain.headline
    assert broken.headline.startswith("Without 2 parts Paris goes from 59.0% to ")
    assert "--part 6.3 --part 8.2" in broken.command
    maps, broken_maps = (one.data.layers for one in (plain, broken))
    for layer in range(7):  # they are computed before anything is off
        np.testing.assert_array_equal(maps[layer].weights, broken_maps[layer].weights)
    assert not np.array_equal(maps[7].weights, broken_maps[7].weights)
    blocked = ModelMapsView(blocked=("France",)).of(session)
    assert blocked.data.blocked == (4,)
    column = np.delete(blocked.data.layers[6].weights[:, :, 4], 4, axis=1)
    assert (column == 0).all()
    without_mask = ModelMapsView(parts=("6.3",)).of(Session(tiny, "The sea is large."))
    assert without_mask.headline == "Maps without head 6.3."
    with pytest.raises(RangeError, match="no layer 9"):
        ModelMapsView(parts=("9.0",)).of(session)


def changes_at(explorer, text, position, target):
    """Change of the target's logit with each head's output at a token set to zero, one by one."""
    config, found = explorer.model.config, {}
    ids = torch.tensor([explorer.encode(text).ids])
    readout = build_readout(explorer, explorer.encode(text))
    clean = readout.logits(ids)[0, target.token_id]
    for layer in range(config.num_hidden_layers):
        for head in range(config.num_attention_heads):

            def zero(value, head=head):
                value = value.clone()
                value[0, head, position] = 0.0
                return value

            with hooked(explorer.model, {f"layers.{layer}.z": zero}):
                found[layer, head] = float(readout.logits(ids)[0, target.token_id] - clean)
    return found


@pytest.mark.parametrize("budget", [8192, 9], ids=["all heads", "those with large estimates"])
def test_the_head_that_matters_has_the_largest_measured_effect(tiny, monkeypatch, budget):
    monkeypatch.setattr(focus, "BUDGET", budget)
    found = focus.find_head(tiny, tiny.encode(PARIS))
    changes = changes_at(tiny, PARIS, 6, found.target)
    best = max(changes, key=lambda head: abs(changes[head]))
    assert (found.layer, found.head) == best
    assert found.change == pytest.approx(changes[best], rel=1e-4)
    assert (found.measured, found.heads) == (36 if budget > 9 else 8, 36)
    copier = build_explorer()
    best = focus.find_head(copier, copier.encode("a b [MASK]"))
    assert (best.layer, best.head) == (COPY_LAYER, COPY_HEAD) and best.change < 0


def test_estimates_are_exact_to_first_order():
    """With a share of a head's output gone, the error of the estimate falls with its square."""
    explorer = build_explorer(build_random().double())
    encoding = explorer.encode("a b [MASK] c d")
    readout = build_readout(explorer, encoding)
    ids = torch.tensor([encoding.ids])
    clean = readout.logits(ids)[0]
    target = readout.target(clean)
    estimates = focus.estimate_effects(readout, ids, target)
    for layer, head in ((0, 1), (1, 0), (2, 1)):
        errors = []
        for share in (1e-2, 5e-3):

            def less(value, share=share, head=head):
                value = value.clone()
                value[:, head, target.position] *= 1 - share
                return value

            with hooked(explorer.model, {f"layers.{layer}.z": less}):
                change = readout.logits(ids)[0, target.token_id] - clean[target.token_id]
            errors.append(abs(float(change) - share * estimates[layer, head]))
        assert errors[1] < 0.3 * errors[0] + 1e-9
