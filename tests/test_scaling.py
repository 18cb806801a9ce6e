"""Scaled rotary frequencies: the numbers of transformers, in tables and through whole models."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import ModernBertConfig as TheirConfig
from transformers import ModernBertForMaskedLM as TheirModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from mbexplore.analysis.rope import rope_spectra
from mbexplore.checkpoints.hub import locate
from mbexplore.errors import ModelError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.network.rope import apply_rope, inverse_frequencies, rope_tables
from tests.cli_runner import run_cli
from tests.parity import spread_weights

GLOBAL, LOCAL = "full_attention", "sliding_attention"
SMALL = {
    "model_type": "modernbert",
    "vocab_size": 41,
    "hidden_size": 32,
    "intermediate_size": 12,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "local_attention": 16,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "cls_token_id": 1,
    "sep_token_id": 2,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PLAIN = {"rope_type": "default", "rope_theta": 300.0}


def both(rope, plain=PLAIN):
    return {GLOBAL: {"rope_theta": 5_000.0} | rope, LOCAL: plain}


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
ROPES = {
    "linear": {"rope_parameters": both({"rope_type": "linear", "factor": 2.5})},
    "yarn": {"rope_parameters": both(YARN)},
    "yarn, its own magnitude": {"rope_parameters": both(YARN | {"attention_factor": 1.3})},
    "yarn, scaled magnitudes": {
        "rope_parameters": both(YARN | {"mscale": 0.7, "mscale_all_dim": 1.2})
    },
    "yarn, other bounds": {"rope_parameters": both(YARN | {"beta_fast": 8, "beta_slow": 2})},
    "yarn, factor of the lengths": {"rope_parameters": both(YARN | {"factor": None})},
    "yarn, trained length of the model": {
        "rope_parameters": both({"rope_type": "yarn", "factor": 3.0})
    },
    "yarn, both kinds": {"rope_parameters": both(YARN, YARN | {"factor": 2.0, "rope_theta": 90.0})},
    "legacy linear": {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "old key": {"rope_parameters": both({"type": "linear", "factor": 4.0})},
    "legacy yarn": {"rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
}


def their_config(config):
    return TheirConfig.from_dict(json.loads(json.dumps(config)))  # it keeps what it is given


@pytest.mark.parametrize("rope", ROPES.values(), ids=ROPES)
def test_frequencies_are_theirs_to_the_bit(rope):
    ours, theirs = ModernBertConfig.from_dict(SMALL | rope), their_config(SMALL | rope)
    found = 0
    for layer, kind in enumerate(theirs.layer_types):
        scaling = ours.scaling(layer)
        rope_type = theirs.rope_parameters[kind]["rope_type"]
        assert (scaling is None) == (rope_type == "default")
        if scaling is not None:
            expected, magnitude = ROPE_INIT_FUNCTIONS[rope_type](theirs, "cpu", layer_type=kind)
            frequencies = inverse_frequencies(ours.theta(layer), ours.head_dim, scaling)
            assert torch.equal(frequencies, expected)
            assert scaling.attention_factor == magnitude
            found += 1
    assert found >= 2


@given(
    theta=st.floats(2, 1e6),
    pairs=st.integers(1, 64),
    factor=st.floats(1, 64),
    trained=st.integers(1, 100_000),
    bounds=st.tuples(st.floats(0.01, 1000), st.floats(0.01, 1000)),
)
def test_yarn_is_theirs_for_any_numbers(theta, pairs, factor, trained, bounds):
    rope = {
        "rope_type": "yarn",
        "rope_theta": theta,
        "factor": factor,
        "original_max_position_embeddings": trained,
        "beta_fast": bounds[0],
        "beta_slow": bounds[1],
    }
    config = SMALL | {"hidden_size": 4 * pairs, "rope_parameters": both(rope)}
    ours = ModernBertConfig.from_dict(config)
    expected, magnitude = ROPE_INIT_FUNCTIONS["yarn"](
        their_config(config), "cpu", layer_type=GLOBAL
    )
    found = inverse_frequencies(theta, 2 * pairs, ours.scaling(0))
    assert torch.equal(found, expected) and ours.scaling(0).attention_factor == magnitude


@pytest.mark.parametrize("rope", ROPES.values(), ids=ROPES)
def test_whole_models_give_their_logits(rope):
    config = SMALL | rope
    ours = ModernBertForMaskedLM(ModernBertConfig.from_dict(config)).eval()
    spread_weights(ours, 5)
    theirs = TheirModel._from_config(their_config(config), attn_implementation="eager").eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(3, 41, (2, 300), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found, expected = ours(ids), theirs(ids).logits
    assert (found - expected).abs().max() < 3e-5
    plain = ModernBertForMaskedLM(ModernBertConfig.from_dict(SMALL)).eval()
    plain.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert (plain(ids) - expected).abs().max() > 1e-2  # the scaling matters here


def test_linear_scaling_is_the_plain_turn_at_a_position_so_many_times_nearer():
    scaling = ModernBertConfig.from_dict(SMALL | ROPES["linear"]).scaling(0)
    cpu = torch.device("cpu")
    scaled = rope_tables(5_000.0, 16, 101, torch.float32, cpu, scaling)
    plain = rope_tables(5_000.0, 16, 101, torch.float32, cpu)
    for far, near in zip(scaled, plain, strict=True):
        torch.testing.assert_close(far[::5], near[::2][: len(far[::5])], rtol=0, atol=1e-5)


def test_yarn_lengthens_queries_by_its_magnitude():
    scaling = ModernBertConfig.from_dict(SMALL | ROPES["yarn, its own magnitude"]).scaling(0)
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    tables = rope_tables(5_000.0, 16, 20, torch.float32, torch.device("cpu"), scaling)
    torch.testing.assert_close(apply_rope(x, *tables).norm(dim=-1), 1.3 * x.norm(dim=-1))


@pytest.mark.parametrize("rope", ROPES.values(), ids=ROPES)
def test_a_written_config_reads_as_itself_on_both_sides(rope):
    config = ModernBertConfig.from_dict(SMALL | rope)
    assert ModernBertConfig.from_dict(config.to_dict()) == config
    theirs = their_config(config.to_dict())
    expected = their_config(SMALL | rope)
    for kind in (GLOBAL, LOCAL):
        rope_type = expected.rope_parameters[kind]["rope_type"]
        if rope_type != "default":
            found, wanted = (
                ROPE_INIT_FUNCTIONS[rope_type](each, "cpu", layer_type=kind)
                for each in (theirs, expected)
            )
            assert torch.equal(found[0], wanted[0]) and found[1] == wanted[1]


def test_the_rope_view_shows_scaled_wavelengths():
    config = ModernBertConfig.from_dict(SMALL | ROPES["linear"])
    wide, narrow = rope_spectra(config)
    assert narrow.scaling is None and str(wide.scaling) == "linear x 2.5"
    plain = rope_spectra(ModernBertConfig.from_dict(SMALL | {"rope_parameters": both({})}))[0]
    assert wide.wavelengths == pytest.approx(2.5 * plain.wavelengths, rel=1e-6)
    assert wide.cos[10] == pytest.approx(plain.cos[4], abs=1e-5)


def test_a_checkpoint_with_yarn_is_verified_and_says_so(tmp_path):
    for path in locate("tiny").folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"][GLOBAL] |= {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 2048,
    }
    config["max_position_embeddings"] = 8192
    (tmp_path / "config.json").write_text(json.dumps(config))
    text = "The capital of France is [MASK]."
    assert run_cli("verify", text, "-m", tmp_path).code == 0
    assert run_cli("info", "-m", tmp_path).out.count("160,000, yarn x 4") == 3
    assert "Scaled in global layers: yarn x 4." in run_cli("rope", "-m", tmp_path).out


@pytest.mark.parametrize(
    ("rope", "named"),
    [
        ({"rope_type": "linear"}, "factor is None for the linear rope of global layers"),
        ({"rope_type": "linear", "factor": 0}, "factor is 0 for"),
        ({"rope_type": "linear", "factor": True}, "factor is True for"),
        ({"rope_type": "yarn", "factor": "4"}, "factor is '4' for the yarn rope"),
        ({"rope_type": "yarn"}, "factor is 0 for"),
        (YARN | {"original_max_position_embeddings": 0.5}, "original_max_position_embeddings is"),
        (YARN | {"beta_slow": -1}, "beta_slow is -1"),
        (YARN | {"attention_factor": 0}, "attention_factor is 0"),
        (YARN | {"truncate": False}, "truncate is False"),
        (YARN | {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
        (YARN | {"rope_theta": 1.0}, "global_rope_theta is 1.0 in config.json; it must be above 1"),
        ({"rope_type": "dynamic", "factor": 2.0}, "rope_type 'dynamic' on global layers"),
    ],
)
def test_what_can_not_be_computed_is_named(rope, named):
    with pytest.raises(ModelError) as caught:
        ModernBertConfig.from_dict(SMALL | {"rope_parameters": both(rope)})
    assert named in str(caught.value)


@pytest.mark.parametrize("factor", [1e-9, 1, 1e9])
def test_the_bounds_of_a_factor_are_allowed(factor):
    rope = both({"rope_type": "linear", "factor": factor})
    assert ModernBertConfig.from_dict(SMALL | {"rope_parameters": rope}).scaling(0).factor == factor


def test_keys_that_change_nothing_may_be_there():
    usual = {"partial_rotary_factor": 1.0, "truncate": True}
    configs = [
        ModernBertConfig.from_dict(SMALL | {"rope_parameters": both(YARN | more)})
        for more in ({}, usual)
    ]
    assert configs[0] == configs[1]


def test_the_old_key_of_an_old_object_is_refused():
    """Transformers 4 honoured it, and 5 computes plain rotations."""
    scaling = {"type": "linear", "factor": 4.0}
    assert their_config(SMALL | {"rope_scaling": scaling}).rope_parameters[GLOBAL]["rope_type"] == (
        "default"
    )
    with pytest.raises(ModelError, match=r"rope_scaling has the type 'linear'.*write rope_type"):
        ModernBertConfig.from_dict(SMALL | {"rope_scaling": scaling})
