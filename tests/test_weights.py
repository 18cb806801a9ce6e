"""Checkpoints as transformers writes them, and every way in which one can be broken."""

import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mbexplore.checkpoints.model import load_model, save_model
from mbexplore.errors import ModelError
from mbexplore.network.model import ModernBertForMaskedLM, ModernBertModel
from tests import parity
from tests.parity import Case, build_inputs, build_ours, build_theirs

FILE = "model.safetensors"
CASE = Case(
    seed=5,
    config=parity.draw_case(5).config | {"num_hidden_layers": 3, "tie_word_embeddings": True},
    lengths=(90,),
    padding="right",
)
CASE.config.pop("layer_types", None)
CASE.config.pop("rope_parameters", None)
UNTIED = Case(6, CASE.config | {"tie_word_embeddings": False}, (90,), "right")


def save(folder, case=CASE, dtype=torch.float32, shard="1GB"):
    """Has transformers write a checkpoint; returns their model."""
    ours = build_ours(case).to(dtype)
    theirs = build_theirs(ours, case.config)
    theirs.save_pretrained(folder, max_shard_size=shard)
    return theirs


def rewrite(folder, change):
    """Changes the tensors of a checkpoint in place."""
    tensors = load_file(folder / FILE)
    changed = change({name: tensor.clone() for name, tensor in tensors.items()})
    save_file(changed, folder / FILE)


def assert_same_logits(folder, theirs, model=ModernBertForMaskedLM):
    input_ids, _ = build_inputs(CASE)
    ours = load_model(folder, model)
    assert not ours.training
    with torch.no_grad():
        difference = (ours(input_ids) - theirs(input_ids)[0]).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("case", [CASE, UNTIED], ids=["tied", "untied"])
def test_a_checkpoint_that_transformers_saved(tmp_path, case):
    theirs = save(tmp_path, case)
    assert ("decoder.weight" in load_file(tmp_path / FILE)) != case.config["tie_word_embeddings"]
    assert_same_logits(tmp_path, theirs)


def test_a_legacy_config_beside_the_weights(tmp_path):
    theirs = save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CASE.config))
    assert_same_logits(tmp_path, theirs)


def test_shards(tmp_path):
    theirs = save(tmp_path, shard="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert not (tmp_path / FILE).exists()
    assert_same_logits(tmp_path, theirs)


def test_a_bare_encoder_has_no_prefix(tmp_path):
    theirs = save(tmp_path / "whole").model
    theirs.save_pretrained(tmp_path / "bare")
    assert "embeddings.norm.weight" in load_file(tmp_path / "bare" / FILE)
    assert_same_logits(tmp_path / "bare", theirs, ModernBertModel)


def test_the_encoder_of_a_checkpoint_with_a_head(tmp_path):
    theirs = save(tmp_path)
    assert_same_logits(tmp_path, theirs.model, ModernBertModel)


def test_a_tied_decoder_repeated_in_the_file(tmp_path):
    theirs = save(tmp_path)
    embeddings = "model.embeddings.tok_embeddings.weight"
    rewrite(tmp_path, lambda ts: ts | {"decoder.weight": ts[embeddings].clone()})
    assert_same_logits(tmp_path, theirs)


def test_tied_weights_stay_one_tensor(tmp_path):
    save(tmp_path)
    ours = load_model(tmp_path, ModernBertForMaskedLM, dtype=torch.float64)
    assert ours.decoder.weight is ours.model.embeddings.tok_embeddings.weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_is_the_files_own_or_the_one_asked_for(tmp_path, dtype):
    save(tmp_path, dtype=dtype)
    assert load_model(tmp_path, ModernBertForMaskedLM).dtype == dtype
    upcast = load_model(tmp_path, ModernBertForMaskedLM, dtype=torch.float32)
    stored = load_file(tmp_path / FILE)
    assert upcast.dtype == torch.float32
    for name, tensor in stored.items():
        assert torch.equal(upcast.get_parameter(name), tensor.float())


GROWTH = """
import re, sys
from pathlib import Path
from mbexplore.checkpoints.model import load_model
from mbexplore.network.model import ModernBertForMaskedLM

def own_memory():  # what no file backs
    return 1024 * int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

warm = load_model(sys.argv[1], ModernBertForMaskedLM)  # torch imports much of itself here
before = own_memory()
model = load_model(sys.argv[1], ModernBertForMaskedLM)
print(own_memory() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
def test_loading_copies_no_weights(tmp_path):
    case = Case(0, CASE.config | {"vocab_size": 150_000, "num_hidden_layers": 1}, (3,), "right")
    save(tmp_path, case)
    size = (tmp_path / FILE).stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert size > 25e6
    assert int(done.stdout) < size / 10


HOLD = """
import sys
from mbexplore.checkpoints.model import load_model
from mbexplore.network.model import ModernBertForMaskedLM

model = load_model(sys.argv[1], ModernBertForMaskedLM)
touched = sum(float(each.detach().sum()) for each in model.parameters())
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")
def test_two_processes_share_the_pages_of_a_model(tmp_path):
    save(tmp_path)
    size = (tmp_path / FILE).stat().st_size
    with ExitStack() as stack:
        for _ in range(2):
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", HOLD, str(tmp_path)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert process.stdout.readline() == b"ready\n"
        maps = Path(f"/proc/{process.pid}/smaps").read_text().split("VmFlags")
        of_file = "".join(one for one in maps if FILE in one)
        shared, own = (
            1024 * sum(map(int, re.findall(rf"{kind}: +(\d+)", of_file)))
            for kind in ("Shared_(?:Clean|Dirty)", "Private_(?:Clean|Dirty)")
        )
        process.communicate()
    assert shared > 0.95 * size
    assert own < 0.05 * size


@pytest.fixture
def folder(tmp_path):
    save(tmp_path)
    return tmp_path


def without(name):
    return lambda tensors: {key: tensor for key, tensor in tensors.items() if key != name}


def plus(name, tensor):
    return lambda tensors: tensors | {name: tensor}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (
            without("model.layers.1.attn.Wo.weight"),
            "lacks the tensor model.layers.1.attn.Wo.weight",
        ),
        (without("head.norm.weight"), "lacks the tensor head.norm.weight"),
        (plus("model.layers.9.x", torch.ones(1)), "has the tensor model.layers.9.x"),
        (plus("model.layers.0.attn_norm.weight", torch.ones(1)), "layers.0.attn_norm.weight"),
        (plus("model.final_norm.weight", torch.ones(3)), "final_norm.weight of shape \\(3,\\)"),
        (plus("model.final_norm.weight", torch.ones(3, dtype=torch.int8)), "as I8"),
    ],
    ids=["missing", "no head", "extra", "norm on layer 0", "wrong shape", "integers"],
)
def test_a_tensor_that_does_not_fit_the_config(folder, change, named):
    rewrite(folder, change)
    assert_refused(folder, named)


@pytest.mark.parametrize(
    "key",
    [
        "model.layers.0.attn.rotary_emb.inv_freq",
        "model.rotary_emb.full_attention_inv_freq",
        "rotary_emb.sliding_attention_original_inv_freq",
        "model.embeddings.position_ids",
    ],
)
def test_a_tensor_that_follows_from_the_config_is_left_alone(folder, key):
    theirs = load_model(folder, ModernBertForMaskedLM).state_dict()
    rewrite(folder, plus(key, torch.ones(4)))
    ours = load_model(folder, ModernBertForMaskedLM).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def assert_refused(folder, named, model=ModernBertForMaskedLM):
    with pytest.raises(ModelError, match=named) as caught:
        load_model(folder, model)
    message = str(caught.value)
    assert str(folder) in message
    assert message.endswith(".") and "\n" not in message


@pytest.mark.parametrize("keep", [0, 4, 100, -1000])
def test_a_truncated_file(folder, keep):
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[:keep])
    assert_refused(folder, "truncated")


@pytest.mark.parametrize("garbage", [b"\xff" * 500, b"<html>not found</html>", bytes(500)])
def test_a_garbage_file(folder, garbage):
    (folder / FILE).write_bytes(garbage)
    assert_refused(folder, "truncated or no safetensors")


def test_a_pickle_is_refused(folder):
    (folder / FILE).rename(folder / "pytorch_model.bin")
    assert_refused(folder, "pytorch_model.bin")


def test_no_weights(folder):
    (folder / FILE).unlink()
    assert_refused(folder, "has no model.safetensors")


def test_a_missing_shard_is_named(tmp_path):
    save(tmp_path, shard="20KB")
    shard = sorted(tmp_path.glob("model-*.safetensors"))[0]
    shard.unlink()
    assert_refused(tmp_path, shard.name)


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 5}}'])
def test_an_unreadable_index(folder, index):
    (folder / FILE).unlink()
    (folder / "model.safetensors.index.json").write_text(index)
    assert_refused(folder, r"index\.json (can't be read|holds no JSON object)")


def test_an_encoder_without_a_head_cannot_predict(tmp_path):
    save_model(tmp_path, save(tmp_path / "whole").model)
    assert_refused(tmp_path, "lacks the tensor decoder.bias|lacks the tensor head")


def test_a_config_of_another_size(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 62}))
    assert_refused(folder, r"of shape \(61, \d+\) where its config.json asks for \(62")


@pytest.mark.parametrize(
    "absurd",
    [
        {"hidden_size": 10**9, "num_attention_heads": 2},
        {"vocab_size": 10**9},
        {"intermediate_size": 10**9},
    ],
    ids=str,
)
def test_a_config_that_asks_for_more_than_any_machine_holds(folder, absurd):
    """Terabytes: told by the shapes, and nothing of it is ever allocated."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | absurd))
    assert_refused(folder, "config.json asks for|that the config asks for")
