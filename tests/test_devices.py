"""Everything runs on a device that has no float64, and says the same there."""

import dataclasses

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis.ablate import BlockedDistance, BlockedTokens, Head, ablate, ablate_heads
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.band import band_map
from mbexplore.analysis.compare import compare
from mbexplore.analysis.context_mixing import context_mixing
from mbexplore.analysis.embed import embed
from mbexplore.analysis.heads import head_atlas
from mbexplore.analysis.lens import lens, lens_map
from mbexplore.analysis.links import links_of_query
from mbexplore.analysis.maps import layer_map
from mbexplore.analysis.neurons import layer_neurons, token_neurons
from mbexplore.analysis.patch import patch
from mbexplore.analysis.residual import residual_norms
from mbexplore.analysis.rope import pair_norms, score_contributions
from mbexplore.analysis.similar_heads import similar_heads
from mbexplore.analysis.similarity import similarity
from mbexplore.recording import KEEP, to_float64
from mbexplore.reference.forward import real_part
from tests.fake_device import OnDevice, fake_device, move

TEXT = "The [MASK] of France is Paris, and the river is long."
OTHER = "The [MASK] of Spain is Paris, and the river is long."


@pytest.fixture(scope="module")
def plain():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def moved():
    explorer = mbexplore.load("tiny", device="cpu")
    move(explorer.model)
    return explorer


def recorded(explorer, text=TEXT):
    return explorer.record(text, keep=tuple(KEEP))


RUNS = {
    "predict": lambda e: [p for m in e.fill_masks(TEXT).masks for p in m.predictions],
    "predict many": lambda e: [list(a.masks) for a in e.fill_masks_many([TEXT, OTHER])],
    "record many": lambda e: [r.attention_band(4) for r in e.record_many([TEXT, OTHER])],
    "edit": lambda e: edited(e),
    "a part of a map": lambda e: recorded(e).attention(3, 1, slice(2, 9), [4, 1]),
    "atlas": lambda e: list(head_atlas([recorded(e)])),
    "similar heads": lambda e: sorted(similar_heads(recorded(e), 3, 1), key=str),
    "score": lambda e: score_contributions(recorded(e), 3, 1, 5, 2),
    "pair norms": lambda e: pair_norms(recorded(e), 3),
    "similarity": lambda e: similarity(recorded(e)),
    "residual": lambda e: residual_norms(recorded(e)),
    "mix": lambda e: context_mixing(e, TEXT, 4),
    "layer neurons": lambda e: layer_neurons(e, recorded(e), 3),
    "token neurons": lambda e: token_neurons(e, recorded(e), 2),
    "lens": lambda e: lens(e, TEXT),
    "lens of all": lambda e: lens_map(e, TEXT),
    "compare": lambda e: compare((e, TEXT), (e, OTHER)),
    "ablation": lambda e: ablate(e, TEXT, [Head(3, 1), BlockedTokens((4,)), BlockedDistance(3)]),
    "ablation of all": lambda e: ablate_heads(e, TEXT, replacement="mean"),
    "patch": lambda e: patch(e, TEXT, OTHER, answer=" dog", contrast=" cat"),
    "attribute": lambda e: attribute(e, TEXT, steps=4),
    "embed": lambda e: embed(e, [TEXT, OTHER]).vectors,
    "band": lambda e: band_map(recorded(e), 4, None),
    "layer map": lambda e: layer_map(recorded(e), 3, None),
    "links": lambda e: links_of_query(recorded(e), 3, 2, 0, 5),
}


def edited(explorer):
    with explorer.edit(
        {"layers.4.pattern": lambda x: x.flip(1), "layers.3.scores": lambda x: 2 * x}
    ):
        return explorer.record(TEXT, keep=("resid_post",)).hidden_states(-1)


def numbers(found):
    """Everything in a result that is a number, in order."""
    if isinstance(found, torch.Tensor):
        found = found.detach().cpu().numpy()
    if isinstance(found, np.ndarray):
        return found.astype(float).flatten().tolist()
    if dataclasses.is_dataclass(found):
        found = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, (list, tuple)):
        return [number for one in found for number in numbers(one)]
    return [float(found)] if isinstance(found, (int, float)) else []


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_a_device_without_float64_gives_the_same(plain, moved, run):
    expected = numbers(run(plain))
    with fake_device():
        found = numbers(run(moved))
    assert len(expected) > 3
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=2e-4)


def test_the_device_has_no_float64(moved):
    with fake_device():
        q = moved.record(TEXT).q(3)
        assert isinstance(q, OnDevice) and q.device.type != "cpu"
        for widen in (torch.Tensor.double, lambda x: x.to(torch.complex128)):
            with pytest.raises(TypeError, match="The device has no"):
                widen(q)
        with pytest.raises(RuntimeError, match="on the device and on the CPU"):
            q + torch.ones(q.shape)
        assert to_float64(q).dtype == torch.float64


def test_verify_compares_in_main_memory(moved):
    with fake_device():
        value = moved.record(TEXT).hidden_states(3)
        found = real_part("embed", value, len(value) - 1)
    assert found.dtype == torch.float64 and found.shape[0] == len(value) - 1
