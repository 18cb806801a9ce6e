"""Model cards: counted from headers, against the models themselves and known figures."""

import csv
import io
import json
import shlex
import struct
from math import prod

import pytest
import torch

import mbexplore
from mbexplore.analysis.card import map_memory, read_card
from mbexplore.checkpoints import hub
from mbexplore.display.blocks import Bars, walk
from mbexplore.errors import RangeError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.session import Session
from mbexplore.views.info import InfoView
from tests.cli_runner import run_cli


def write_hollow_checkpoint(folder, config, prefix="model."):
    """A checkpoint whose weights are a hole in the file: only its header can be of use."""
    with torch.device("meta"):
        state = ModernBertForMaskedLM(config).state_dict()
    header, place = {}, 0
    for name, value in state.items():
        if name != "decoder.weight":
            end = place + 4 * prod(value.shape)
            header[name] = {"dtype": "F32", "shape": [*value.shape], "data_offsets": [place, end]}
            place = end
    head = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + place)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return hub.ModelFiles("hollow", str(folder), folder)


def test_the_card_of_base_has_the_published_count(tmp_path):
    files = write_hollow_checkpoint(tmp_path, ModernBertConfig.base())
    card = read_card(files)
    assert card.parameters == 149_655_232
    assert card.file_bytes // 10**6 == 598
    assert card.parts["token embeddings"] == 50_368 * 768
    assert card.parts["attention"] == 22 * 4 * 768 * 768
    assert card.parts["MLP"] == 22 * 3 * 768 * 1152
    assert card.has_head and card.dtypes == {"float32": 149_655_232}
    assert [layer.kind for layer in card.layers[:4]] == ["global", "local", "local", "global"]
    # The first layer has no norm before its attention.
    assert card.layers[1].parameters - card.layers[0].parameters == 768
    assert round(card.memory.all_maps / 1e9, 1) == 70.9
    assert round(card.memory.recorded / 2**30, 2) == 1.03
    # It took no more disk than the header: nothing could have been read from the rest.
    assert (tmp_path / "model.safetensors").stat().st_blocks * 512 < 10**6


def test_the_card_of_the_bundled_model_counts_what_is_loaded():
    explorer = mbexplore.load("tiny", device="cpu")
    card = read_card(explorer.files)
    assert card.parameters == explorer.info.parameters == sum(card.parts.values())
    for layer, module in zip(card.layers, explorer.model.encoder.layers, strict=True):
        assert layer.parameters == sum(p.numel() for p in module.parameters())
    assert "other" not in card.parts


def test_memory_counts_the_values_of_a_recording():
    explorer = mbexplore.load("tiny", device="cpu")
    recording = explorer.record("The river runs to the sea.", keep=("attention",))
    memory = map_memory(recording.config, len(recording))
    assert memory.recorded == sum(value.nbytes for value in recording.values.values())
    assert memory.one_layer == recording.attention(0).nbytes
    assert memory.one_band == recording.attention_band(1).nbytes
    with pytest.raises(RangeError, match="The length is 1,000,000; choose 1 to"):
        map_memory(recording.config, 10**6)


@pytest.mark.parametrize("name", ["info", "rope"])
def test_what_looks_at_the_config_reads_no_weight_and_no_tokenizer(tmp_path, name):
    write_hollow_checkpoint(tmp_path, ModernBertConfig.base())
    found = json.loads(run_cli(name, "-m", tmp_path, "--dtype", "bfloat16", "--json").out)
    model = found["model"]
    assert (model["parameters"], model["dtype"]) == (149_655_232, "bfloat16")
    assert (tmp_path / "model.safetensors").stat().st_blocks * 512 < 10**6
    assert run_cli("predict", "a [MASK]", "-m", tmp_path).code == 1


def test_info_on_the_command_line(tmp_path):
    result = run_cli("info", "--length", 100)
    assert result.code == 0 and "MLP" in result.out and "100 tokens" in result.out
    card = json.loads(run_cli("info", "--json").out)
    assert card["parameters"] == sum(card["parts"].values())
    assert card["config"]["model_type"] == "modernbert"
    refused = run_cli("info", "--length", 0)
    assert refused.code == 1 and refused.err.startswith("Error: The length is 0; choose 1 to")
    assert run_cli("info", "-m", tmp_path).code == 1


def test_a_view_and_its_command_are_one_answer(tmp_path):
    explorer = mbexplore.load("tiny", device="cpu")
    view = InfoView(length=300).of(Session(explorer))
    card = view.data
    answer = run_cli(*shlex.split(view.command)[1:], "--json")
    assert json.loads(answer.out) == json.loads(view.content("json"))
    assert view.formats == ("png", "svg", "pdf", "html", "json", "csv")
    assert run_cli("info", "-o", tmp_path / "info.svg").code == 0
    assert (tmp_path / "info.svg").read_bytes().startswith(b"<?xml")
    table = list(csv.DictReader(io.StringIO(view.content("csv").decode())))
    assert [int(row["parameters"]) for row in table] == [each.parameters for each in card.layers]
    assert [row["half_window"] for row in table[:2]] == ["", "16"]


def test_the_bars_are_the_parts():
    view = mbexplore.load("tiny", device="cpu").describe()
    [bars] = [block for block in walk(view.blocks) if isinstance(block, Bars)]
    assert sum(bars.values) == pytest.approx(1.0)
    assert bars.labels[0] == f"MLP, {view.data.parts['MLP']:,}"
