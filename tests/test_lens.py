"""The logit lens: against the model itself, and on a model whose answer is known to come late."""

import json

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis.lens import lens, lens_map, state_logits, top1_from_states
from mbexplore.errors import RangeError, TextError
from tests.cli_runner import run_cli
from tests.handbuilt import COPY_LAYER, VOCAB, build_explorer, build_random

TEXT = "a b c [MASK] d"


@pytest.fixture(scope="module")
def explorer():
    return build_explorer(build_random())


def test_the_last_row_is_the_model_itself(explorer):
    recording = explorer.record(TEXT)
    [place] = recording.encoding.mask_positions
    assert torch.equal(state_logits(explorer, recording, 3, [place]), recording.logits)
    found = lens(explorer, TEXT, top_k=5)
    [mask] = explorer.fill_masks(TEXT, top_k=5).masks
    last = found.rows[-1]
    assert [p.token_id for p in last.predictions] == [p.token_id for p in mask.predictions]
    for ours, model in zip(last.predictions, mask.predictions, strict=True):
        assert ours.logit == pytest.approx(model.logit, abs=1e-5)
    assert (last.kl_final_to_layer, last.rank) == (0.0, 1)
    tiny = mbexplore.load("tiny", device="cpu")
    recording = tiny.record("The capital of France is [MASK].")
    place = recording.encoding.mask_positions[0]
    assert torch.equal(state_logits(tiny, recording, 9, [place]), recording.logits)


def test_numbers_of_a_row_are_those_of_its_distribution(explorer):
    recording, found = explorer.record(TEXT), lens(explorer, TEXT, answer="e")
    model, token_id = explorer.model, VOCAB.index("e")
    final = recording.logits[0].softmax(0)
    for row in found.rows:
        hidden = recording.hidden_states(row.state)[4]
        with torch.inference_mode():
            p = model.logits(model.encoder.final_norm(hidden)).softmax(0)
        assert row.probability == pytest.approx(float(p[token_id]), rel=1e-4)
        assert row.rank == 1 + sum(p > p[token_id])
        assert row.entropy == pytest.approx(float(torch.special.entr(p).sum()), rel=1e-4)
        kl = torch.nn.functional.kl_div(p.log(), final, reduction="sum")
        assert row.kl_final_to_layer == pytest.approx(float(kl), abs=1e-5)


def test_a_copied_token_appears_after_the_layer_that_copies():
    found = lens(build_explorer(), TEXT)
    assert found.target.token == "c"
    tops = [row.predictions[0].token for row in found.rows]
    assert tops == ["[MASK]", "[MASK]", "c", "c"]
    assert found.top1_from == COPY_LAYER + 1


def test_the_map_is_the_lens_at_every_position(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore.analysis.lens.BLOCK", 3)
    told = []
    everywhere = lens_map(explorer, TEXT, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 12) for done in range(1, 13)]  # 3 blocks of 4 states
    for position in range(7):
        one = lens(explorer, TEXT, position, top_k=1)
        assert [row.predictions[0].token for row in one.rows] == [
            row[position] for row in everywhere.top
        ]
        assert [row.rank for row in one.rows] == everywhere.rank[:, position].tolist()
        for name in ("kl_final_to_layer", "entropy"):
            rows = [getattr(row, name) for row in one.rows]
            np.testing.assert_allclose(getattr(everywhere, name)[:, position], rows, atol=1e-5)
        assert top1_from_states(everywhere)[position] == one.top1_from


def test_a_recording_is_as_good_as_its_text(explorer, monkeypatch):
    recording = explorer.record(TEXT)
    fresh, everywhere = lens(explorer, TEXT, 2), lens_map(explorer, TEXT)
    monkeypatch.setattr(type(explorer), "record", None)  # nothing runs again
    assert lens(explorer, recording, 2) == fresh
    again = lens_map(explorer, recording)
    assert again.top == everywhere.top
    np.testing.assert_array_equal(again.kl_final_to_layer, everywhere.kl_final_to_layer)


def test_mistakes(explorer):
    with pytest.raises(TextError, match=r"has no \[MASK\]; put"):
        lens(explorer, "a b")
    with pytest.raises(RangeError, match="no token 9; choose 0 to 6"):
        lens(explorer, TEXT, 9)
    with pytest.raises(RangeError, match="is 2 tokens"):
        lens(explorer, TEXT, answer="a b")


def test_the_command(tmp_path):
    text = "The capital of France is [MASK]."
    answer = json.loads(run_cli("lens", text, "--json").out)
    assert list(answer) == ["model", "tokens", "target", "rows", "top1_from", "limits"]
    assert len(answer["rows"]) == 10 and answer["rows"][-1]["kl_final_to_layer"] == 0
    shown = run_cli("lens", text, "-o", tmp_path / "lens.svg")
    assert shown.code == 0 and "layer 8" in shown.out and "can't read" in shown.out
    assert (tmp_path / "lens.svg").read_bytes().startswith(b"<?xml")
    for colour in ("rank", "kl"):
        path = tmp_path / f"{colour}.png"
        assert run_cli("lens", text, "--all", "--colour", colour, "-o", path).code == 0
        assert path.stat().st_size > 10_000
    everywhere = json.loads(run_cli("lens", text, "--all", "--json").out)
    assert np.shape(everywhere["rank"]) == (10, len(everywhere["tokens"]))
    wrong = run_cli("lens", text, "--colour", "red")
    assert wrong.code == 2 and "'red'; choose rank, entropy, kl" in wrong.err
