"""The memory of tensors: given back, moved, and never changed."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mbexplore.checkpoints.model import load_model, save_model
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.linear import ROWS, onednn
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.network.pages import free_mapped, join_pages

linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are Linux's")
MIB = 2**20


def of_files():
    """Bytes of files that this process holds in its own memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    [found] = [line.split()[1] for line in lines if line.startswith("RssFile")]
    return int(found) * 1024


@pytest.fixture
def mapped(tmp_path):
    """A tensor of 16 MiB in a mapped file, and its values."""
    values = torch.arange(4 * MIB, dtype=torch.float32)
    save_file({"x": values}, tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        yield file.get_tensor("x"), values


@linux
def test_what_is_mapped_is_given_back_and_read_again(mapped):
    tensor, values = mapped
    tensor.sum()
    before = of_files()
    free_mapped(tensor)
    assert before - of_files() > 15 * MIB
    assert torch.equal(tensor, values)
    assert of_files() > before - MIB


@pytest.mark.parametrize("place", [0, 5, 2_000_000, 4 * MIB - 1])
@pytest.mark.parametrize("read", [True, False])
def test_an_edit_stays(place, read, mapped):
    tensor, values = mapped
    if read:
        tensor.sum()
    tensor[place] = values[place] = -7.0
    free_mapped(tensor)
    assert torch.equal(tensor, values)


def test_what_is_not_mapped_stays():
    values = torch.arange(float(MIB))
    for tensor in (values.clone(), values.clone().share_memory_(), values.clone()[7:1000]):
        expected = tensor.clone()
        free_mapped(tensor)
        join_pages(tensor.data_ptr(), tensor.nbytes)
        assert torch.equal(tensor, expected)


@linux
def test_packed_weights_can_be_joined():
    with torch.inference_mode():
        weight = torch.randn(2304, 768)
        packed, same = onednn().pack(weight), torch.randn(ROWS, 768)
        before = onednn().product(same, packed, None)
        join_pages(torch.ops.mkldnn.data_ptr(packed), torch.ops.mkldnn._nbytes(packed))
        assert torch.equal(onednn().product(same, packed, None), before)
    assert torch.ops.mkldnn._nbytes(packed) >= weight.nbytes


@linux
def test_a_model_that_is_used_again_keeps_its_weights_once(tmp_path):
    config = ModernBertConfig(
        vocab_size=64, hidden_size=512, intermediate_size=1024, num_hidden_layers=4,
        layer_kinds=("global",) * 4, num_attention_heads=8, pad_token_id=0,
    )  # fmt: skip
    save_model(tmp_path, ModernBertForMaskedLM(config))
    for is_warm in (False, True):  # the first run reads libraries, too
        start, model = of_files(), load_model(tmp_path, ModernBertForMaskedLM)
        weights = sum(parameter.nbytes for parameter in model.parameters())
        with torch.inference_mode():
            for tokens in (4, ROWS, ROWS):
                model(torch.arange(tokens)[None])
                assert of_files() - start < weights / 4 or not is_warm
