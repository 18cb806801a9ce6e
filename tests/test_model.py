"""Our model against transformers', on the same random weights."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.models.modernbert import modeling_modernbert

import mbexplore.network.model
from mbexplore.errors import ModelError
from mbexplore.network.activations import build_activation
from mbexplore.network.attention import attention_band, attention_weights
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM, build_norm
from mbexplore.network.packing import pack
from mbexplore.network.rope import rope_tables
from tests import parity
from tests.parity import CASES, build_inputs, build_ours, build_theirs, largest_difference

every_case = pytest.mark.parametrize("case", CASES, ids=str)
REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


def compare(ours, theirs, input_ids, mask) -> float:
    """Largest difference of the logits and of every hidden state on real tokens."""
    logits, hidden_states = parity.run_ours(ours, input_ids, mask)
    output = parity.run_theirs(theirs, input_ids, mask)
    assert len(hidden_states) == len(output.hidden_states)
    pairs = [(logits, output.logits), *zip(hidden_states, output.hidden_states, strict=True)]
    return parity.largest(largest_difference(mine, other, mask) for mine, other in pairs)


@every_case
def test_logits_and_hidden_states_equal_theirs(case, record_property):
    ours = build_ours(case)
    difference = compare(ours, build_theirs(ours, case.config), *build_inputs(case))
    record_property("difference", difference)
    assert difference < 1e-5


@every_case
def test_logits_and_hidden_states_equal_theirs_in_float64(case, monkeypatch, record_property):
    monkeypatch.setattr(modeling_modernbert, "apply_rotary_pos_emb", parity.rotate_in_own_dtype)
    ours = build_ours(case).double()
    difference = compare(ours, build_theirs(ours, case.config), *build_inputs(case))
    record_property("difference", difference)
    assert difference < 1e-11


@every_case
def test_attention_maps_equal_theirs(case, record_property):
    ours = build_ours(case)
    input_ids, mask = build_inputs(case)
    layers = ours.model.layers
    taps = [tap for layer in layers for tap in (layer.attn.rot_q, layer.attn.rot_k)]
    with torch.no_grad(), parity.kept_outputs(taps) as rotated:
        ours(input_ids, mask)
    theirs = parity.run_theirs(build_theirs(ours, case.config, "eager"), input_ids, mask)
    assert len(theirs.attentions) == len(layers)
    differences = []
    for layer, expected in enumerate(theirs.attentions):
        half_window = ours.config.half_window(layer)
        for row, real in enumerate(mask.bool()):
            q, k = (x[row][:, real] for x in rotated[2 * layer : 2 * layer + 2])
            weights = attention_weights(q, k, half_window=half_window)
            expected_weights = expected[row][:, real][:, :, real]
            differences.append((weights - expected_weights).abs().max())
            if half_window is not None:
                torch.testing.assert_close(
                    attention_band(q, k, half_window), straightened(weights, half_window)
                )
    difference = parity.largest(differences)
    record_property("difference", difference)
    assert difference < 1e-6


def straightened(weights, half_window):
    """The band of a dense map (heads, seq, seq), column by column from its diagonals."""
    heads, seq, _ = weights.shape
    band = torch.zeros(heads, seq, 2 * half_window + 1)
    for offset in range(-min(half_window, seq - 1), min(half_window, seq - 1) + 1):
        rows = slice(max(0, -offset), seq - max(0, offset))
        band[:, rows, half_window + offset] = weights.diagonal(offset, 1, 2)
    return band


@every_case
def test_gradients_equal_theirs(case, record_property):
    ours = build_ours(case)
    theirs = build_theirs(ours, case.config)
    input_ids, mask = build_inputs(case)
    labels = input_ids.roll(1, dims=1).masked_fill(mask == 0, -100)
    cross_entropy(ours(input_ids, mask).flatten(0, 1), labels.flatten()).backward()
    cross_entropy(theirs(input_ids, mask).logits.flatten(0, 1), labels.flatten()).backward()
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    # A gradient that is zero but for rounding (q and k of a single token) has no relative error.
    floor = 1e-3 * max(gradient.abs().max() for gradient in expected.values())
    differences = []
    for name, parameter in ours.named_parameters():
        their_gradient = expected.pop(name)
        scale = their_gradient.abs().max().clamp(min=floor)
        differences.append((parameter.grad - their_gradient).abs().max() / scale)
    assert not expected
    difference = parity.largest(differences)
    record_property("difference", difference)
    assert difference < 1e-4


def test_the_table_covers_what_a_config_can_say():
    configs = [case.config for case in CASES]

    def said(key):
        return {config[key] for config in configs if key in config}

    assert len(CASES) >= 60
    assert said("num_hidden_layers") == set(range(1, 10))
    assert said("global_attn_every_n_layers") == {1, 2, 3, 4}
    assert {2, 3, 127, 128} <= said("local_attention")
    assert said("hidden_activation") == said("classifier_activation") == {"gelu", "silu", "relu"}
    for part in ("attention", "mlp", "norm", "decoder", "classifier"):
        assert said(f"{part}_bias") == {True, False}
    assert said("tie_word_embeddings") == {True, False}
    assert None in said("local_rope_theta")
    assert sum("layer_types" in config for config in configs) > 20
    assert {case.padding for case in CASES} == {"left", "right"}
    lengths = {length for case in CASES for length in case.lengths}
    assert (min(lengths), max(lengths)) == (1, 700)


# What the comparison above would catch. Each fault is put into our model; theirs is left alone.
FAULT_CASE = parity.Case(
    seed=1,
    config=parity.draw_case(0).config
    | {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 4,
        "local_attention": 16,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160_000.0,
        "local_rope_theta": 10_000.0,
        "hidden_activation": "gelu",
        "norm_eps": 1e-5,
    },
    lengths=(100, 60),
    padding="left",
)


def with_config(**changes):
    def put(ours, _monkeypatch):
        ours.config = ours.model.config = replace(ours.config, **changes)

    return put


def with_norm_on_layer_0(ours, _monkeypatch):
    ours.model.layers[0].attn_norm = build_norm(ours.config)


def with_tanh_gelu(ours, _monkeypatch):
    for layer in ours.model.layers:
        layer.mlp.Wi.act = build_activation("gelu_pytorch_tanh")


def with_halves_swapped(ours, _monkeypatch):
    for layer in ours.model.layers:
        inner, gate = layer.mlp.Wi.weight.data.chunk(2)
        layer.mlp.Wi.weight.data = torch.cat((gate, inner))


def with_interleaved_rope(_ours, monkeypatch):
    def interleaved(x, cos, sin):
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)

    monkeypatch.setattr(mbexplore.network.model, "apply_rope", interleaved)


def with_padding_ignored(_ours, monkeypatch):
    monkeypatch.setattr(mbexplore.network.model, "find_segments", lambda *_: None)


FAULTS = {
    "one key less on each side": with_config(local_attention=14),
    "one key more on each side": with_config(local_attention=18),
    "local layers with the global theta": with_config(local_rope_theta=160_000.0),
    "all layers local": with_config(layer_kinds=("local",) * 4),
    "a norm on layer 0": with_norm_on_layer_0,
    "tanh gelu": with_tanh_gelu,
    "the gate activated": with_halves_swapped,
    "interleaved rope": with_interleaved_rope,
    "padding ignored": with_padding_ignored,
}


def test_the_sound_model_passes_where_the_faults_are_put():
    ours = build_ours(FAULT_CASE)
    difference = compare(ours, build_theirs(ours, FAULT_CASE.config), *build_inputs(FAULT_CASE))
    assert difference < 1e-5


@pytest.mark.parametrize("put_fault", FAULTS.values(), ids=FAULTS.keys())
def test_the_comparison_would_catch(put_fault, monkeypatch, record_property):
    ours = build_ours(FAULT_CASE)
    theirs = build_theirs(ours, FAULT_CASE.config)
    put_fault(ours, monkeypatch)
    difference = compare(ours, theirs, *build_inputs(FAULT_CASE))
    record_property("difference", difference)
    assert difference > 1e-4


def test_a_nan_is_a_difference():
    ours = build_ours(FAULT_CASE)
    theirs = build_theirs(ours, FAULT_CASE.config)
    ours.model.layers[2].attn.Wo.weight.data[0, 0] = float("nan")
    assert math.isnan(compare(ours, theirs, *build_inputs(FAULT_CASE)))


def test_base_equals_theirs_at_full_size(record_property):
    config = {"model_type": "modernbert"}
    torch.manual_seed(0)
    with torch.device("meta"):
        ours = ModernBertForMaskedLM(ModernBertConfig.base())
    ours = ours.to_empty(device="cpu").eval()
    ours.tie_weights()
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0)
            else:  # the initialisation's range; queries and keys large enough to peak
                reach = 0.035 if name.endswith("Wqkv.weight") else 0.02
                parameter.uniform_(-reach * math.sqrt(3), reach * math.sqrt(3))
    theirs = build_theirs(ours, config)
    for length in (40, 320):
        input_ids = torch.randint(0, 50_280, (1, length))
        difference = compare(ours, theirs, input_ids, torch.ones_like(input_ids))
        record_property(f"difference of {length}", difference)
        assert difference < 1e-5


@pytest.mark.skipif(not REFERENCE.exists(), reason=f"{REFERENCE} is not on this machine")
def test_the_published_base_has_our_keys_and_shapes():
    values = json.loads((REFERENCE / "ModernBERT-base.config.json").read_text())
    published = json.loads((REFERENCE / "modernbert-base-state-dict-shapes.json").read_text())
    with torch.device("meta"):
        ours = ModernBertForMaskedLM(ModernBertConfig.from_dict(values))
    shapes = {name: list(value.shape) for name, value in ours.state_dict().items()}
    assert shapes == published


@pytest.mark.parametrize(
    ("config", "count"),
    [(ModernBertConfig.base(), 149_655_232), (ModernBertConfig.large(), 395_881_664)],
    ids=["base", "large"],
)
def test_published_parameter_counts(config, count):
    with torch.device("meta"):
        model = ModernBertForMaskedLM(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def small_model(**changes) -> ModernBertForMaskedLM:
    case = replace(FAULT_CASE, config=FAULT_CASE.config | changes)
    return build_ours(case)


@pytest.mark.parametrize("length", [3, 150])
@pytest.mark.parametrize("global_every", [2, 3])  # the last of 4 layers is local, or global
def test_query_positions_give_those_rows_of_all_logits(length, global_every):
    model = small_model(global_attn_every_n_layers=global_every)
    input_ids = torch.randint(1, 61, (2, length))
    mask = torch.ones_like(input_ids)
    mask[1, : length // 2] = 0
    wanted = torch.tensor([length - 1, length // 2, length - 1])
    expected = model(input_ids, mask)[:, wanted]
    found = model(input_ids, mask, query_positions=wanted)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_packed_texts_get_the_logits_they_get_alone():
    model = small_model().double()
    texts = torch.randint(1, 61, (30,)).tolist(), torch.randint(1, 61, (70,)).tolist()
    alone = torch.cat([model(torch.tensor([text])) for text in texts], dim=1)
    packed = pack(texts, model.device)
    torch.testing.assert_close(model(**packed), alone, rtol=0, atol=1e-11)
    wanted = torch.tensor([0, 29, 30, 99])
    some = model(**packed, query_positions=wanted)
    torch.testing.assert_close(some, alone[:, wanted], rtol=0, atol=1e-11)
    # Scores depend on distances alone, so positions need not start anew; but angles are float32,
    # and a shifted text agrees only to their rounding.
    del packed["position_ids"]
    torch.testing.assert_close(model(**packed), alone, rtol=0, atol=1e-4)


def test_a_packed_row_may_end_in_padding():
    model = small_model().double()
    input_ids, texts = torch.randint(1, 61, (1, 90)), torch.tensor([[1] * 30 + [2] * 60])
    mask = torch.ones_like(input_ids)
    mask[:, 80:] = 0
    padded = model(input_ids, mask, segment_ids=texts)
    for rows in ([0, 1], [1, 0]):  # in one row, and in two that differ
        batch = model(
            torch.cat((input_ids, input_ids.flip(1)))[rows],
            torch.cat((mask, mask.flip(1)))[rows],
            segment_ids=torch.cat((texts, texts.flip(1)))[rows],
        )
        torch.testing.assert_close(batch[rows.index(0), :80], padded[0, :80], rtol=0, atol=1e-11)
    torch.testing.assert_close(padded[:, 30:80], model(input_ids[:, 30:80]), rtol=0, atol=1e-4)


def test_one_path_whether_or_not_gradients_are_wanted(monkeypatch):
    """To the bit, plain or packed; `Linear` may choose another product, so torch's stands in."""
    monkeypatch.setattr("mbexplore.network.linear.onednn", lambda: None)
    model, input_ids = small_model(), torch.randint(1, 61, (1, 150))
    inputs = [{"input_ids": input_ids}, pack([input_ids[0, :60].tolist(), [5] * 90], model.device)]
    for each in inputs:
        wanted = model(**each).detach()
        with torch.no_grad():
            assert torch.equal(model(**each), wanted)
        with torch.inference_mode():
            assert torch.equal(model(**each), wanted)


PER_LAYER = [
    "resid_pre", "q", "k", "v", "rot_q", "rot_k", "scores", "pattern", "z", "attn_out", "resid_mid",
    "mlp_post", "mlp_out", "resid_post",
]  # fmt: skip


def test_taps_are_named_in_the_order_of_the_pass():
    model = small_model()
    names = ["embed", *(f"layers.{i}.{name}" for i in range(4) for name in PER_LAYER)]
    assert list(model.taps) == names
    with parity.kept_outputs(list(model.taps.values())) as kept, torch.no_grad():
        model(torch.randint(1, 61, (1, 9)))
    assert len(kept) == len(names) - 2 * 4  # scores and patterns are made only where hooked


@pytest.mark.parametrize("dropout", ["attention_dropout", "embedding_dropout", "mlp_dropout"])
def test_dropout_works_in_training_alone(dropout):
    model = small_model(**{dropout: 0.5})
    input_ids = torch.randint(1, 61, (1, 30))
    assert torch.equal(model(input_ids), model(input_ids))
    model.train()
    assert not torch.equal(model(input_ids), model(input_ids))


@pytest.mark.parametrize(("dtype", "near"), [(torch.bfloat16, 0.5), (torch.float16, 0.05)])
def test_half_precision_runs_and_is_near(dtype, near):
    input_ids = torch.randint(1, 61, (1, 90))
    model = small_model()
    expected = model(input_ids)
    logits = model.to(dtype)(input_ids)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=near)


def test_a_model_used_in_inference_mode_can_train_later():
    rope_tables.cache_clear()
    model, input_ids = small_model(), torch.randint(1, 61, (1, 90))
    with torch.inference_mode():
        model(input_ids)
    model(input_ids).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_initial_weights_have_modernberts_own_spread():
    model = ModernBertForMaskedLM(
        ModernBertConfig(
            vocab_size=500,
            hidden_size=96,
            num_hidden_layers=2,
            layer_kinds=("global", "local"),
            pad_token_id=0,
            tie_word_embeddings=False,
        )
    )
    cut = 0.88  # the standard deviation of a normal cut at two of its own
    for name, parameter in model.named_parameters():
        if name.endswith(("Wo.weight", "dense.weight", "decoder.weight")):
            assert parameter.std().item() == pytest.approx(cut * 0.01, rel=0.05)
        elif name.endswith(("Wqkv.weight", "Wi.weight", "tok_embeddings.weight")):
            assert parameter.std().item() == pytest.approx(cut * 0.02, rel=0.05)
        elif name.endswith("bias"):
            assert parameter.eq(0).all()
        else:
            assert "norm" in name and parameter.eq(1).all()


def test_an_unknown_activation_is_named():
    with pytest.raises(ModelError, match="'snake'"):
        small_model(hidden_activation="snake")
