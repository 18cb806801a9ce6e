"""Activation patching: where the copied token is known to travel, and what must come back."""

import csv
import io
import json

import numpy as np
import pytest
import torch

from mbexplore.analysis.patch import KEEP, patch, patched_logits
from mbexplore.analysis.readout import build_readout
from mbexplore.display.blocks import Heat
from mbexplore.display.data import walk
from mbexplore.errors import MissingError, RangeError, TextError
from mbexplore.explorer import load
from mbexplore.hooks import hooked
from mbexplore.session import Session
from mbexplore.views.patch import COMPONENTS, PatchView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import (
    COPY_HEAD,
    COPY_LAYER,
    answer_logits,
    build_explorer,
    hook_count,
)

CLEAN, CORRUPTED = "a b c [MASK] d", "a b e [MASK] d"


def test_the_copied_token_is_followed_to_the_mask():
    found = patch(build_explorer(), CLEAN, CORRUPTED)
    assert (found.target.token, found.contrast.token) == ("c", "e")
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
    found = patch(explorer, CLEAN, CORRUPTED, answer="c", contrast="e")
    monkeypatch.setattr("mbexplore.analysis.patch.BATCH_TOKENS", 15)
    steps = []
    again = patch(
        explorer, CLEAN, CORRUPTED, answer="c", contrast="e", progress=lambda *s: steps.append(s)
    )
    assert steps[-1] == (4 * 7 + 2 * 3 * 7 + 3 * 2,) * 2
    for name in ("residual", "attention", "mlp", "heads"):
        np.testing.assert_allclose(getattr(again, name), getattr(found, name), atol=1e-4)
    # only token 3 differs between the texts, so it alone matters at the embeddings
    np.testing.assert_allclose(found.residual[0], np.eye(7)[3], atol=1e-4)
    np.testing.assert_allclose(found.residual[-1], np.eye(7)[4], atol=1e-4)
    assert hook_count(explorer.model) == 0


def test_texts_of_unequal_length_are_patched_at_their_common_ends(explorer):
    """Against runs of the corrupted text with the value put in by hand."""
    longer = "a e f c [MASK] d"
    clean, corrupted = explorer.encode(CLEAN), explorer.encode(longer)
    found = patch(explorer, CLEAN, longer, answer="c", contrast="e")
    view = PatchView(other=longer, answer="c", other_answer="e")
    note = view.of(Session(explorer, CLEAN)).blocks[-1].text
    assert "counterpart: b (2) in this text; e (2), f (3) in the second text." in note
    same = [(i, i) for i in range(2)] + [(i, i + 1) for i in range(3, 7)]
    assert list(zip(found.alignment.first, found.alignment.second, strict=True)) == same
    assert found.aligned_tokens[0] == found.aligned_tokens[1]
    recording = explorer.record(clean, keep=KEEP)
    ids = torch.tensor([corrupted.ids])
    c, e = found.target.token_id, found.contrast.token_id

    def difference(tap, edit):
        with hooked(explorer.model, {tap: edit}), torch.inference_mode():
            logits = explorer.model(ids)[0, corrupted.mask_positions[0]]
        return float(logits[c] - logits[e])

    span = found.clean_difference - found.corrupted_difference
    for column, (source, target) in enumerate(same):

        def put(value, source=source, target=target):
            value = value.clone()
            value[0, target] = recording.tap("layers.1.mlp_out")[source]
            return value

        share = (difference("layers.1.mlp_out", put) - found.corrupted_difference) / span
        assert found.mlp[1, column] == pytest.approx(share, abs=1e-4)

    def put_head(value):
        value = value.clone()
        for source, target in same:
            value[0, 1, target] = recording.tap("layers.1.z")[1, source]
        return value

    share = (difference("layers.1.z", put_head) - found.corrupted_difference) / span
    assert found.heads[1, 1] == pytest.approx(share, abs=1e-4)


def test_every_patched_place_names_its_own_indices(explorer):
    found = patch(explorer, CLEAN, CORRUPTED, answer="c", contrast="e")
    for cell in found.cells():
        values = getattr(found, cell.what)
        row = cell.state if cell.what == "residual" else cell.layer
        column = cell.head if cell.what == "heads" else cell.position
        assert cell.restored == values[row, column]
        assert (cell.state is None) == (cell.what != "residual")
        assert (cell.layer is None) == (cell.what == "residual")


def test_mistakes(explorer):
    copier = build_explorer()
    with pytest.raises(RangeError, match="Token 1 of the first text has no counterpart"):
        patch(copier, CLEAN, "e b c [MASK] d f", 1)
    with pytest.raises(RangeError, match="Both texts are answered 'c'"):
        patch(copier, CLEAN, "a e c [MASK] d")
    with pytest.raises(RangeError, match="alike"):
        patch(copier, CLEAN, "a e c [MASK] d", contrast="e")
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
    found = patch(explorer, CLEAN, CORRUPTED, answer="b", contrast="c")
    header, *rows = csv.reader(io.StringIO(result.content("csv").decode()))
    with np.load(io.BytesIO(result.content("npz"))) as saved:
        assert tuple(saved["corrupted_tokens"]) == found.corrupted_tokens
        for name, component in COMPONENTS.items():
            np.testing.assert_array_equal(saved[name], getattr(found, name))
            shares = np.float32([row[-1] for row in rows if row[0] == component])
            np.testing.assert_array_equal(shares, getattr(found, name).flatten())
    assert header == ["component", "state", "layer", "head", "position", "token", "restored"]
    seq = len(found.clean_tokens)
    assert [row[1:3] for row in rows[: 2 * seq : seq]] == [["0", ""], ["1", ""]]
    assert {tuple(row[1:3]) for row in rows if row[0] == "MLP output"} == {
        ("", str(layer)) for layer in range(3)
    }


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
    result = PatchView(other=texts[1], answer="Paris", other_answer="Madrid").of(
        Session(load("tiny", device="cpu"), texts[0])
    )
    assert run_again(result) == result.to_json()
    longer = "The capital of the Republic of Italy is [MASK]."
    found = json.loads(run_cli("patch", texts[0], longer, *answers, "--json").out)
    assert np.shape(found["residual"]) == (10, 8)  # France has no counterpart
