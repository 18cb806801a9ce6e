"""config.json in both its forms, and every way in which it can be wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ModernBertConfig as TheirConfig

from mbexplore.errors import ModelError
from mbexplore.network.config import ModernBertConfig, regular_layer_kinds

LEGACY = {
    "model_type": "modernbert",
    "num_hidden_layers": 5,
    "global_attn_every_n_layers": 2,
    "global_rope_theta": 80_000.0,
    "local_rope_theta": 500.0,
    "norm_eps": 1e-6,
    "layer_norm_eps": 0.5,
    "reference_compile": None,
}
KINDS = ["full_attention", "sliding_attention"]


def rope_parameters(global_theta=80_000.0, local_theta=500.0, rope_type="default"):
    thetas = zip(KINDS, (global_theta, local_theta), strict=True)
    return {kind: {"rope_type": rope_type, "rope_theta": theta} for kind, theta in thetas}


def test_the_legacy_form():
    config = ModernBertConfig.from_dict(LEGACY)
    assert config.layer_kinds == ("global", "local", "global", "local", "global")
    assert [config.theta(layer) for layer in (0, 1)] == [80_000.0, 500.0]
    assert config.norm_eps == 1e-6


def test_the_v5_form():
    config = ModernBertConfig.from_dict(
        {
            "num_hidden_layers": 3,
            "layer_types": [KINDS[1], KINDS[1], KINDS[0]],
            "rope_parameters": rope_parameters(),
        }
    )
    assert config.layer_kinds == ("local", "local", "global")
    assert [config.theta(layer) for layer in (0, 2)] == [500.0, 80_000.0]


def test_both_forms_written_by_transformers_agree():
    theirs = TheirConfig(**LEGACY).to_dict()
    assert "layer_types" in theirs
    theirs["architectures"] = []
    assert ModernBertConfig.from_dict(theirs) == ModernBertConfig.from_dict(LEGACY)


@pytest.mark.parametrize(
    ("values", "thetas"),
    [
        ({}, (160_000.0, 10_000.0)),
        ({"local_rope_theta": None}, (160_000.0, 160_000.0)),
        ({"local_rope_theta": None, "global_rope_theta": 7.0}, (7.0, 7.0)),
        ({"rope_parameters": None, "local_rope_theta": 3.0}, (160_000.0, 3.0)),
        ({"rope_parameters": rope_parameters(), "local_rope_theta": 3.0}, (80_000.0, 500.0)),
        ({"rope_parameters": {KINDS[0]: {"rope_theta": 9.0}}}, (9.0, 10_000.0)),
        ({"rope_scaling": None}, (160_000.0, 10_000.0)),
    ],
)
def test_thetas(values, thetas):
    config = ModernBertConfig.from_dict(values)
    assert (config.global_rope_theta, config.local_rope_theta) == thetas


@pytest.mark.parametrize(("window", "half"), [(2, 1), (3, 1), (127, 63), (128, 64)])
def test_half_window(window, half):
    config = ModernBertConfig.base(local_attention=window)
    assert (config.half_window(0), config.half_window(1)) == (None, half)


def test_base_and_large_are_the_published_ones():
    assert (ModernBertConfig.base().head_dim, ModernBertConfig.large().head_dim) == (64, 64)
    assert ModernBertConfig.large().num_hidden_layers == 28
    assert ModernBertConfig.large(vocab_size=60_000).vocab_size == 60_000


@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 300))
def test_a_written_config_reads_as_itself_on_both_sides(layers, every, window):
    config = ModernBertConfig(
        num_hidden_layers=layers,
        layer_kinds=regular_layer_kinds(layers, every),
        local_attention=window,
        local_rope_theta=77.0,
    )
    values = json.loads(json.dumps(config.to_dict()))
    assert ModernBertConfig.from_dict(values) == config
    theirs = TheirConfig.from_dict(values)
    assert theirs.layer_types == values["layer_types"]
    assert theirs.rope_parameters["sliding_attention"]["rope_theta"] == 77.0
    assert theirs.local_attention == window


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "bert"}, ["model_type", "'bert'"]),
        ({"model_type": None}, ["model_type", "None"]),
        ({"hidden_size": "abc"}, ["hidden_size", "'abc'"]),
        ({"hidden_size": 768.0}, ["hidden_size", "768.0"]),
        ({"hidden_size": True}, ["hidden_size", "True"]),
        ({"hidden_size": None}, ["hidden_size", "None"]),
        ({"hidden_size": 770}, ["770", "num_attention_heads 12"]),
        ({"hidden_size": 36}, ["head dimension 3 "]),
        ({"num_attention_heads": 0}, ["num_attention_heads", "0"]),
        ({"num_hidden_layers": 0}, ["num_hidden_layers", "0"]),
        ({"num_hidden_layers": -3}, ["num_hidden_layers", "-3"]),
        ({"num_hidden_layers": "six"}, ["num_hidden_layers", "'six'"]),
        ({"num_hidden_layers": 10**8}, ["num_hidden_layers", "100000000", "1,000 or less"]),
        ({"vocab_size": -1}, ["vocab_size", "-1"]),
        ({"vocab_size": 10**23}, ["vocab_size", "1" + 23 * "0", "10^9"]),
        ({"num_labels": 10**12}, ["num_labels", "1000000000000"]),
        ({"num_labels": "two"}, ["num_labels", "'two'"]),
        ({"vocab_size": 61}, ["pad_token_id 50283", "61"]),
        ({"intermediate_size": 0}, ["intermediate_size", "0"]),
        ({"local_attention": "128"}, ["local_attention", "'128'"]),
        ({"norm_eps": "1e-5"}, ["norm_eps", "'1e-5'"]),
        ({"norm_eps": float("nan")}, ["norm_eps", "nan"]),
        ({"norm_bias": "false"}, ["norm_bias", "'false'"]),
        ({"hidden_activation": 3}, ["hidden_activation", "3"]),
        ({"pad_token_id": "0"}, ["pad_token_id", "'0'"]),
        ({"attention_dropout": 1.5}, ["attention_dropout", "1.5"]),
        ({"global_attn_every_n_layers": 0}, ["global_attn_every_n_layers", "0"]),
        ({"global_attn_every_n_layers": "3"}, ["global_attn_every_n_layers", "'3'"]),
        ({"global_rope_theta": None}, ["global_rope_theta", "None"]),
        ({"global_rope_theta": 0}, ["global_rope_theta", "0"]),
        ({"local_rope_theta": "big"}, ["local_rope_theta", "'big'"]),
        ({"layer_types": ["full_attention"]}, ["1 layer types", "22 layers"]),
        ({"layer_types": ["chunked"] * 22}, ["'chunked'"]),
        ({"layer_types": 5}, ["layer_types", "5"]),
        ({"architectures": "ModernBertModel"}, ["architectures", "'ModernBertModel'"]),
        ({"architectures": [3]}, ["architectures", "[3]"]),
        ({"rope_parameters": [1]}, ["rope_parameters", "[1]"]),
        ({"rope_parameters": {"rope_theta": 5e3}}, ["rope_parameters", "'rope_theta'"]),
        ({"rope_parameters": {KINDS[0]: 4}}, ["full_attention", "4"]),
        ({"rope_parameters": rope_parameters(rope_type="longrope")}, ["'longrope'"]),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, ["'dynamic'"]),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_used_is_named_in_one_sentence(changes, named):
    with pytest.raises(ModelError) as caught:
        ModernBertConfig.from_dict({"model_type": "modernbert"} | changes)
    message = str(caught.value)
    assert all(part in message for part in named)
    assert message.endswith(".") and "\n" not in message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "no config.json"),
        (b"{", "can't be read as JSON"),
        (b"", "can't be read as JSON"),
        (b"\xff\xfe\x00", "can't be read as JSON"),
        (b"[1, 2]", "holds no JSON object"),
    ],
)
def test_a_file_that_is_no_config(tmp_path, content, named):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=named) as caught:
        ModernBertConfig.from_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
