"""Mixing: against direct products, the model's own sums, and the definition run token by token."""

import json

import numpy as np
import pytest
import torch

from mbexplore.analysis.context_mixing import (
    KEEP,
    METHODS,
    context_mixing,
    mixing_matrix,
    norms,
    rollout,
    terms,
    value_zeroing,
)
from mbexplore.display.blocks import Heat
from mbexplore.display.data import walk
from mbexplore.errors import RangeError
from mbexplore.hooks import hooked
from mbexplore.network.attention import attention_weights
from mbexplore.session import Session
from mbexplore.views.mix import MixView
from tests.cli_runner import run_cli
from tests.handbuilt import COPY_LAYER, build_explorer, build_random, hook_count

TEXT = "a b c [MASK] d e f a g h b i"
SEQ = 14


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=KEEP)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_terms_sum_to_the_attention_output(explorer, recording, layer):
    module = explorer.model.encoder.layers[layer]
    with torch.inference_mode():
        for query in range(SEQ):
            summed = terms(recording, module, layer, query).sum(0) + module.attn.Wo.bias
            torch.testing.assert_close(summed, recording.tap(f"layers.{layer}.attn_out")[query])


@torch.inference_mode()
def test_norms_are_kobayashis_formula(explorer, recording):
    """||sum_h a_ij W_O^h (W_V^h LN(x_j) + b_V^h)|| spelt out, with no tap of the values."""
    for layer in range(3):
        module = explorer.model.encoder.layers[layer]
        x = recording.hidden_states(layer)
        x = x if layer == 0 else module.attn_norm(x)
        values = torch.nn.functional.linear(
            x, module.attn.Wqkv.weight[64:], module.attn.Wqkv.bias[64:]
        )
        found, weights = norms(recording, module, layer), recording.attention(layer)
        for i, j in ((0, 1), (4, 4), (6, 5), (13, 12), (2, 9)):
            vector = sum(
                weights[h, i, j]
                * module.attn.Wo.weight[:, 16 * h : 16 * h + 16]
                @ values[j, 16 * h : 16 * h + 16]
                for h in range(2)
            )
            assert float(found[i, j]) == pytest.approx(float(vector.norm()), rel=1e-4, abs=1e-7)


def test_rollout_is_the_product_of_the_matrices(recording):
    product = np.eye(SEQ)
    for layer, rolled in enumerate(rollout(recording)):
        weights = attention_weights(
            recording.q(layer), recording.k(layer), half_window=recording.config.half_window(layer)
        )
        product = (0.5 * np.eye(SEQ) + 0.5 * weights.mean(0).double().numpy()) @ product
        np.testing.assert_allclose(rolled.numpy(), product, atol=1e-6)
        np.testing.assert_allclose(rolled.sum(-1), 1, atol=1e-5)


def test_rollout_reaches_as_far_as_the_windows_and_no_further():
    from dataclasses import replace

    from mbexplore.network.model import ModernBertForMaskedLM
    from tests.parity import spread_weights

    model = build_random()
    kinds = ("local", "local", "local")
    model = ModernBertForMaskedLM(replace(model.config, layer_kinds=kinds)).eval()
    spread_weights(model, 1)
    recording = build_explorer(model).record(TEXT, keep=KEEP)
    distance = np.abs(np.subtract.outer(np.arange(SEQ), np.arange(SEQ)))
    for layer, rolled in enumerate(rollout(recording)):
        reach = (layer + 1) * 2  # local_attention is 4: two tokens each side, in each layer
        assert np.array_equal(rolled.numpy() > 0, distance <= reach)


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_value_zeroing_is_its_definition_run_token_by_token(explorer, recording, layer):
    found = value_zeroing(recording, explorer.model.encoder.layers[layer], layer)
    ids = torch.tensor([recording.encoding.ids])
    after = recording.hidden_states(layer + 1)
    for j in range(SEQ):
        kept = {}

        def zero(value, j=j):
            value = value.clone()
            value[:, :, j] = 0
            return value

        def keep(value, kept=kept):
            kept["out"] = value[0]

        actions = {f"layers.{layer}.v": zero, f"layers.{layer}.resid_post": keep}
        with torch.inference_mode(), hooked(explorer.model, actions):
            explorer.model.encoder(ids)
        expected = 1 - torch.cosine_similarity(kept["out"].double(), after.double(), dim=-1)
        # the value bias of Wqkv belongs to the value, so it is zeroed too
        torch.testing.assert_close(found[:, j], expected, atol=1e-6, rtol=1e-3)
    half_window = recording.config.half_window(layer)
    if half_window is not None:
        outside = ~torch.ones(SEQ, SEQ).tril(half_window).triu(-half_window).bool()
        assert (found[outside] == 0).all() and (found > 0).any()


def test_every_way_names_the_copied_token():
    found = context_mixing(build_explorer(), "a b c [MASK] d", COPY_LAYER)
    for method in ("norms", "value_zeroing"):
        assert getattr(found, method)[4].argmax() == 3 and getattr(found, method)[4, 3] > 0.99
    # the idle head spreads its weight and has no value: weights alone see half of the copying
    assert found.attention[4].argmax() == 3 and found.attention[4, 3] < 0.7


def test_rows_sum_to_one_and_nothing_stays_hooked(explorer):
    found = context_mixing(explorer, TEXT, 2)
    for method in METHODS:
        np.testing.assert_allclose(getattr(found, method).sum(-1), 1, atol=1e-5)
    assert hook_count(explorer.model) == 0


def test_mistakes(explorer, monkeypatch):
    with pytest.raises(RangeError, match="no layer 3; choose 0 to 2"):
        context_mixing(explorer, TEXT, 3)
    with pytest.raises(RangeError, match="no layer 99; choose 0 to 2"):
        mixing_matrix(explorer, TEXT, 99, "norms")
    monkeypatch.setattr("mbexplore.analysis.context_mixing.MOST_TOKENS", 5)
    with pytest.raises(RangeError, match="has 14 tokens and mixing compares every pair"):
        context_mixing(explorer, TEXT, 0)


def test_nothing_is_drawn_beyond_the_window():
    result = MixView(layer=COPY_LAYER).of(Session(build_explorer(), "a b c d e f [MASK] g h i j"))
    heats = [block for block in walk(result.blocks) if isinstance(block, Heat)]
    places = np.arange(len(result.data.tokens))
    beyond = abs(places[:, None] - places) > result.data.half_window
    assert beyond.any()
    for heat in heats:
        nothing = np.isnan(heat.values)
        np.testing.assert_array_equal(nothing, beyond if heat.title != "Rollout" else False)
        assert heat.mark == (7, None) and heat.select == ("token", None)


def test_the_command(tmp_path):
    text = "The capital of France is [MASK]."
    shown = run_cli("mix", text, "--layer", 6, "-o", tmp_path / "mix.png")
    assert shown.code == 0 and "In layer 6 (global) [MASK] (6) takes most from France" in shown.out
    assert (tmp_path / "mix.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(run_cli("mix", text, "--json").out)
    assert found["layer"] == 8
    assert all(np.shape(found[method]) == (9, 9) for method in METHODS)
    wrong = run_cli("mix", text, "--layer", 9)
    assert wrong.code == 1 and "no layer 9; choose 0 to 8" in wrong.err
