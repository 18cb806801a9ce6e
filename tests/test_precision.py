"""Half precision: what stays in float32, and what it costs."""

import json
import math

import pytest
import torch

import mbexplore
from mbexplore.checkpoints.model import load_model, save_model
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.reference.precision import PrecisionLoss, compare_predictions, measure_loss
from tests.cli_runner import run_cli

TEXT = "The capital of France is [MASK], and the tide rises and the tide falls by the sea wall."


def load(dtype):
    return mbexplore.load("tiny", device="cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_only_the_encoders_linear_layers_are_narrow(dtype):
    model = load(str(dtype).removeprefix("torch.")).model
    assert model.dtype == dtype
    for name, parameter in model.named_parameters():
        is_linear = name.startswith("model.layers.") and "norm" not in name
        assert parameter.dtype == (dtype if is_linear else torch.float32), name


def test_what_is_summed_up_stays_in_float32():
    explorer = load("bfloat16")
    recording = explorer.record(TEXT, keep=("attention", "hidden_states"))
    assert recording.hidden_states(4).dtype == torch.float32
    assert recording.q(4).dtype == torch.bfloat16
    assert recording.attention(4).dtype == torch.float32
    assert recording.logits.dtype == torch.float32


def test_it_is_more_exact_than_everything_in_bfloat16():
    exact = load("float64").fill_masks(TEXT).logits
    mixed = load("bfloat16").fill_masks(TEXT).logits
    narrow = load("float32")
    narrow.model.bfloat16()
    whole = narrow.fill_masks(TEXT).logits

    def error(logits):
        return float((logits.double() - exact).square().mean().sqrt())

    assert 1.5 * error(mixed) < error(whole)


def test_a_narrow_model_is_saved_in_its_precision(tmp_path):
    model = load("bfloat16").model
    save_model(tmp_path, model)
    again = load_model(tmp_path, ModernBertForMaskedLM)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.bfloat16}
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"


def test_the_loss_of_known_predictions():
    wide = torch.tensor([[0.5, 0.5], [0.8, 0.2], [0.4, 0.6]]).log()
    narrow = torch.tensor([[0.5, 0.5], [0.6, 0.4], [0.6, 0.4]]).log()
    kl = (
        0.8 * math.log(0.8 / 0.6)
        + 0.2 * math.log(0.2 / 0.4)
        + 0.4 * math.log(0.4 / 0.6)
        + 0.6 * math.log(0.6 / 0.4)
    ) / 3
    found = compare_predictions(wide, narrow)
    assert found.tokens == 3
    assert found.same_answer == pytest.approx(2 / 3)
    assert found.mean_kl == pytest.approx(kl, rel=1e-5)
    assert found.largest_change == pytest.approx(0.2)
    assert compare_predictions(wide, wide) == PrecisionLoss(3, 1.0, 0.0, 0.0)


def test_the_loss_of_a_model():
    explorer = load("bfloat16")
    ids = explorer.encode(TEXT).ids
    found = measure_loss(explorer, [ids, ids[:9]])
    assert found.tokens == len(ids) + 9
    assert found.same_answer > 0.9
    assert 0 < found.mean_kl < 0.01
    assert 0 < found.largest_change < 0.1
    assert measure_loss(load("float32"), [ids]) is None


def test_verify_prints_the_loss():
    result = run_cli("verify", TEXT, "--dtype", "bfloat16")
    words = " ".join(result.out.split())
    assert "likeliest token is float32's at" in words
    assert "error against float64, root mean square" in words and "square, error" not in words
    answer = json.loads(run_cli("verify", TEXT, "--dtype", "bfloat16", "--json").out)
    assert 0 < answer["precision_loss"]["mean_kl"] < 0.01
    assert json.loads(run_cli("verify", TEXT, "--json").out)["precision_loss"] is None
