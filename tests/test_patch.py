"""Activation patching: where the copied token is known to travel, and what must come back."""

import csv
import io
import json
import re

import numpy as np
import pytest
import torch

from mbexplore.analysis.patch import KEEP, patch, patched_logits
from mbexplore.analysis.readout import build_readout
from mbexplore.display.blocks import Heat
from mbexplore.display.data import walk
from mbexplore.errors import MissingError, RangeError, TextError
from mbexplore.explorer import load
from mbexplore.session import Session
from mbexplore.views.patch import COMPONENTS, PatchView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import (
    COPY_HEAD,
    COPY_LAYER,
    answer_logits,
    build_explorer,
    build_random,
    hook_count,
)

CLEAN, CORRUPTED = "a b c [MASK] d", "a b e [MASK] d"


@pytest.fixture(scope="module")
def explorer():
    return build_explorer(build_random())


def test_the_copied_token_is_followed_to_the_mask():
    found = patch(build_explorer(), CLEAN, CORRUPTED)
    assert (found.target.token, found.other.token) == ("c", "e")
    source, mask = 3, 4  # [CLS] a b c [MASK]
    residual = np.zeros((4, 7))
    residual[: COPY_LAYER + 1, source] = 1  # until the layer copies, it is at its own place
    residual[COPY_LAYER + 1 :, mask] = 1
    np.testing.assert_allclose(found.residual, residual, atol=1e-5)
    attention, heads = np.zeros((3, 7)), np.zeros((3, 2))
    attention[COPY_LAYER, mask] = heads[COPY_LAYER, COPY_HEAD] = 1
    np.testing.assert_allclose(found.attention, attention, atol=1e-5)
    np.testing.assert_allclose(found.heads, heads, atol=1e-5)
    np.testing.assert_allclose(found.mlp, 0, atol=1e-5)


def test_all_positions_of_the_input_layer_restore_the_clean_logits_exactly(explorer):
    clean, corrupted = explorer.encode(CLEAN), explorer.encode(CORRUPTED)
    recording = explorer.record(clean, keep=KEEP)
    everywhere, readout = [range(len(clean))], build_readout(explorer, clean, 4)
    expected = answer_logits(explorer.model, torch.tensor([clean.ids]), 4)
    for tap in ("embed", "layers.0.resid_post", "layers.2.resid_post"):
        restored = patched_logits(readout, recording, corrupted, tap, everywhere)
        assert torch.equal(restored, expected), tap
    nothing = patched_logits(readout, recording, corrupted, "embed", [[]])
    assert torch.equal(nothing, answer_logits(explorer.model, torch.tensor([corrupted.ids]), 4))


def test_shares_are_those_of_single_runs_whatever_the_batches(explorer, monkeypatch):
    found = patch(explorer, CLEAN, CORRUPTED, answer="c", other="e")
    monkeypatch.setattr("mbexplore.analysis.patch.BATCH_TOKENS", 15)
    steps = []
    again = patch(
        explorer, CLEAN, CORRUPTED, answer="c", other="e", progress=lambda *s: steps.append(s)
    )
    assert steps[-1] == (4 * 7 + 2 * 3 * 7 + 3 * 2,) * 2
    for name in ("residual", "attention", "mlp", "heads"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-4)
    # only token 3 differs between the texts, so it alone matters at the embeddings
    np.testing.assert_allclose(found.residual[0], np.eye(7)[3], atol=1e-4)
    np.testing.assert_allclose(found.residual[-1], np.eye(7)[4], atol=1e-4)
    assert hook_count(explorer.model) == 0


def test_mistakes(explorer):
    copier = build_explorer()
    sentence = r"7 tokens \(\[CLS\]\|a\|b.*\) and 6 \(.*\); choose words"
    with pytest.raises(TextError, match=sentence):
        patch(copier, CLEAN, "a b [MASK] d")
    with pytest.raises(RangeError, match="Both texts are answered 'c'"):
        patch(copier, CLEAN, "a e c [MASK] d")
    with pytest.raises(RangeError, match="alike"):
        patch(copier, CLEAN, "a e c [MASK] d", other="e")
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        patch(copier, "a b", "a c")


def test_the_view_follows_the_token_to_the_mask():
    session = Session(build_explorer(), "a b [MASK]")
    result = PatchView(other="a c [MASK]").of(session)
    name = f"layer {COPY_LAYER}"
    assert result.headline.startswith(
        f"[MASK] (3) holds the difference between b and c from {name}"
    )
    assert "b / c (2) up to" in result.headline
    heats = {block.title: block for block in walk(result.blocks) if isinstance(block, Heat)}
    assert [*heats] == [
        "Residual stream", "Heads at all tokens", "Attention output", "MLP output",
    ]  # fmt: skip
    np.testing.assert_array_equal(heats["MLP output"].values, result.data.mlp)
    assert heats["Residual stream"].mark == (None, 2) and heats["MLP output"].columns[2] == "b / c"
    with pytest.raises(MissingError, match="add one of 5 tokens"):
        PatchView(other=" ").of(session)


def test_files_hold_the_shares(explorer):
    result = PatchView(other=CORRUPTED, answer="b", other_answer="c").of(Session(explorer, CLEAN))
    found = patch(explorer, CLEAN, CORRUPTED, answer="b", other="c")
    header, *rows = csv.reader(io.StringIO(result.content("csv").decode()))
    with np.load(io.BytesIO(result.content("npz"))) as saved:
        assert tuple(saved["corrupted_tokens"]) == found.corrupted_tokens
        for name, component in COMPONENTS.items():
            np.testing.assert_array_equal(saved[name], getattr(found, name))
            shares = np.float32([row[-1] for row in rows if row[0] == component])
            np.testing.assert_array_equal(shares, getattr(found, name).flatten())
    assert header == ["component", "layer", "head", "position", "token", "restored"]
    seq = len(found.clean_tokens)
    assert [row[1] for row in rows[: 2 * seq : seq]] == ["", "0"]  # the embeddings have no layer


def test_the_command(tmp_path):
    texts = ("The capital of France is [MASK].", "The capital of Italy is [MASK].")
    answers = ("--answer", "Paris", "--other-answer", "Rome")
    shown = run_cli("patch", *texts, *answers, "-o", tmp_path / "patch.png")
    assert shown.code == 0 and "Logit of Paris less Rome" in shown.out
    assert (tmp_path / "patch.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(run_cli("patch", *texts, *answers, "--json").out)
    assert np.shape(found["residual"]) == (10, 9) and np.shape(found["heads"]) == (9, 4)
    place = found["clean_tokens"].index(" France")
    assert int(np.argmax(found["residual"][0])) == place
    wrong = run_cli("patch", texts[0], "The capital of the Republic of Italy is [MASK].")
    assert wrong.code == 1 and re.match("Error: The texts differ in length, 9", wrong.err)
    result = PatchView(other=texts[1], answer="Paris", other_answer="Madrid").of(
        Session(load("tiny", device="cpu"), texts[0])
    )
    assert run_again(result) == result.to_json()
