"""What we save, transformers opens, and the other way round, with the same numbers."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import ModernBertForMaskedLM as TheirModel
from transformers import ModernBertModel as TheirEncoder

from mbexplore.checkpoints.model import load_model, save_model
from mbexplore.checkpoints.weights import Unfilled
from mbexplore.errors import OutputError
from mbexplore.network.init import init_weights
from mbexplore.network.model import ModernBertForMaskedLM, ModernBertModel
from tests import parity
from tests.parity import Case, build_inputs, build_ours

CASES = [
    Case(40, parity.draw_case(40).config | {"tie_word_embeddings": True}, (70,), "right"),
    Case(41, parity.draw_case(41).config | {"tie_word_embeddings": False}, (70,), "right"),
]
both = pytest.mark.parametrize("case", CASES, ids=["tied", "untied"])


def logits_of(model, case):
    with torch.no_grad():
        output = model(build_inputs(case)[0])
    return output if isinstance(output, torch.Tensor) else output[0]


@both
def test_transformers_opens_what_we_saved(case, tmp_path):
    ours = build_ours(case)
    save_model(tmp_path / "new" / "folder", ours)
    theirs, report = TheirModel.from_pretrained(
        tmp_path / "new" / "folder", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert (logits_of(theirs, case) - logits_of(ours, case)).abs().max() < 1e-5


@both
def test_a_round_trip_through_each_keeps_every_bit(case, tmp_path):
    ours = build_ours(case)
    save_model(tmp_path / "ours", ours)
    TheirModel.from_pretrained(tmp_path / "ours").eval().save_pretrained(tmp_path / "theirs")
    again = load_model(tmp_path / "theirs", ModernBertForMaskedLM)
    assert torch.equal(logits_of(again, case), logits_of(ours, case))
    save_model(tmp_path / "again", again)
    first, last = (load_file(tmp_path / name / "model.safetensors") for name in ("ours", "again"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)
    assert ("decoder.weight" in first) != case.config["tie_word_embeddings"]


def test_a_bare_encoder_is_saved_without_a_prefix(tmp_path):
    ours = build_ours(CASES[0])
    save_model(tmp_path, ours.encoder)
    assert "embeddings.norm.weight" in load_file(tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [
        "ModernBertModel"
    ]
    expected = logits_of(ours.encoder, CASES[0])
    theirs = TheirEncoder.from_pretrained(tmp_path)
    assert (logits_of(theirs, CASES[0]) - expected).abs().max() < 1e-5
    again = load_model(tmp_path, ModernBertModel)
    assert torch.equal(logits_of(again, CASES[0]), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_dtype_is_kept_and_named(dtype, tmp_path):
    ours = build_ours(CASES[0]).to(dtype)
    save_model(tmp_path, ours)
    assert TheirModel.from_pretrained(tmp_path, dtype="auto").dtype == dtype
    assert load_model(tmp_path, ModernBertForMaskedLM).dtype == dtype
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_the_keys_of_transformers_4_are_there(tmp_path):
    config = parity.draw_case(40).config | {"num_hidden_layers": 5}
    for key in ("layer_types", "rope_parameters"):
        config.pop(key, None)
    config |= {"global_attn_every_n_layers": 2, "global_rope_theta": 7e4, "local_rope_theta": 900.0}
    ours = build_ours(Case(40, config, (70,), "right"))
    save_model(tmp_path, ours)
    saved = json.loads((tmp_path / "config.json").read_text())
    for key in ("layer_types", "rope_parameters", "architectures", "dtype"):
        saved.pop(key)  # what transformers 5 alone reads
    assert saved["model_type"] == "modernbert"
    assert {key: saved[key] for key in config if key not in ("layer_norm_eps",)} == {
        key: value for key, value in config.items() if key != "layer_norm_eps"
    }
    (tmp_path / "config.json").write_text(json.dumps(saved))
    again = load_model(tmp_path, ModernBertForMaskedLM)
    assert again.config.layer_kinds == ours.config.layer_kinds
    case = Case(40, config, (70,), "right")
    assert torch.equal(logits_of(again, case), logits_of(ours, case))


def test_saving_over_the_file_that_is_open_changes_nothing_underfoot(tmp_path):
    save_model(tmp_path, build_ours(CASES[0]))
    ours = load_model(tmp_path, ModernBertForMaskedLM)  # mapped from the file
    before = logits_of(ours, CASES[0])
    save_model(tmp_path, build_ours(Case(99, CASES[0].config, (70,), "right")))
    assert torch.equal(logits_of(ours, CASES[0]), before)
    other = load_model(tmp_path, ModernBertForMaskedLM)
    assert not torch.equal(logits_of(other, CASES[0]), before)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_save_that_breaks_off_leaves_the_old_files(tmp_path, monkeypatch):
    save_model(tmp_path, build_ours(CASES[0]))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full_disk(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mbexplore.checkpoints.weights.save_file", full_disk)
    with pytest.raises(OutputError, match=r"can't be written \(No space left on device\)"):
        save_model(tmp_path, build_ours(CASES[1]))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="taken can't be written"):
        save_model(tmp_path / "taken", build_ours(CASES[0]))


def test_loading_never_waits_for_luckier_memory(monkeypatch):
    model = build_ours(CASES[0])
    for parameter in model.parameters():
        parameter.data.fill_(100.0)  # what unfilled memory may hold, far outside the cut

    def drawn_again(*args, **kwargs):
        raise AssertionError("a sample was rejected, and unfilled memory is never redrawn")

    monkeypatch.setattr(torch, "empty_like", drawn_again)
    with Unfilled():
        ModernBertForMaskedLM(model.config)
        init_weights(model, model.config)
    assert all((parameter == 100.0).all() for parameter in model.parameters())
