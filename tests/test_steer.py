"""Steering against edits made by hand, on a hand-built model, and directions from files."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mbexplore
from mbexplore.analysis.steer import _ablating, find_direction, load_direction, steer
from mbexplore.errors import MissingError, RangeError, TextError, UsageError
from mbexplore.network.heads import ModernBertForSequenceClassification
from mbexplore.session import Session
from mbexplore.views.steer import SteerView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import (
    COPY_LAYER,
    build_explorer,
    build_random,
    handbuilt_config,
    hook_count,
)

TEXT = "The capital of France is [MASK]."
ITALY = "The capital of Italy is [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.mark.parametrize("layer", [0, 4, 8])
def test_it_is_the_edit_that_anyone_can_make(explorer, layer):
    direction = find_direction(explorer, [ITALY], [TEXT], layer)
    states = [explorer.record(text, keep=("hidden_states",)) for text in (ITALY, TEXT)]
    ours, other = (one.hidden_states(layer + 1)[6] for one in states)
    torch.testing.assert_close(direction, ours - other, rtol=1e-4, atol=1e-4)
    found = steer(explorer, explorer.encode(TEXT), direction, layer, strength=1.5)
    with explorer.edit({f"layers.{layer}.resid_post": lambda x: x + 1.5 * direction}):
        expected = explorer.fill_masks(TEXT).masks[0].predictions
    plain = explorer.fill_masks(TEXT).masks[0].predictions
    for mine, theirs in ((found.before, plain), (found.after, expected)):
        assert [one.token for one in mine] == [one.token for one in theirs]
        assert [one.logit for one in mine] == pytest.approx([one.logit for one in theirs], abs=1e-3)
    rest = [one for one in found.curve if one.strength == 0]
    assert rest[0].before.probability == pytest.approx(plain[0].probability, abs=1e-5)
    assert [one.strength for one in found.curve] == [-1.5, -0.75, 0, 0.75, 1.5, 2.25, 3.0]
    assert found.curve[4].after.probability == pytest.approx(expected[0].probability, abs=1e-4)
    assert hook_count(explorer.model) == 0


def test_divergence_is_of_all_answers(explorer):
    direction = find_direction(explorer, [ITALY], [TEXT], 4)
    found = steer(explorer, explorer.encode(TEXT), direction, 4)
    answers = [explorer.fill_masks(TEXT).logits[0]]
    with explorer.edit({"layers.4.resid_post": lambda x: x + direction}):
        answers.append(explorer.fill_masks(TEXT).logits[0])
    before, after = (one.double().log_softmax(-1) for one in answers)
    expected = float((before.exp() * (before - after)).sum())
    assert found.kl == pytest.approx(expected, rel=1e-3) and found.kl > 0


def test_a_direction_between_two_answers_turns_one_into_the_other():
    explorer = build_explorer()  # its mask holds the token before it, from COPY_LAYER on
    toward, away = ["d b [MASK]", "e b [MASK]"], ["d a [MASK]", "f a [MASK]"]
    direction = find_direction(explorer, toward, away, COPY_LAYER)
    found = steer(explorer, explorer.encode("c a [MASK]"), direction, COPY_LAYER)
    assert (found.target.token, found.steered.token) == ("a", "b")
    nothing = find_direction(explorer, ["d b [MASK]"], ["d a [MASK]"], COPY_LAYER - 1)
    assert nothing.norm() < 1e-5  # no mask has seen its neighbour yet
    with pytest.raises(RangeError, match="The direction has length 0"):
        steer(explorer, explorer.encode("c a [MASK]"), torch.zeros(32), COPY_LAYER)
    slot = torch.zeros(32)
    slot[16 + explorer.tokenizer.id_of("a")] = 1.0  # where the copy is written
    without = steer(explorer, explorer.encode("c a [MASK]"), slot, COPY_LAYER, ablate=True)
    assert without.steered.token != "a" and without.strength is None and not without.curve


def test_ablation_takes_all_of_it_and_nothing_else():
    random = torch.Generator().manual_seed(0)
    x, direction = torch.randn(2, 5, 8, generator=random), torch.randn(8, generator=random)
    left = _ablating(direction)(x)
    torch.testing.assert_close(left @ direction, torch.zeros(2, 5), rtol=0, atol=1e-5)
    taken = x - left
    along = taken @ direction / direction.norm()
    torch.testing.assert_close(taken.norm(dim=-1), along.abs())
    torch.testing.assert_close(_ablating(3 * direction)(left), left)


def test_prompts_without_masks_are_read_over_their_words():
    explorer = build_explorer(build_random())
    direction = find_direction(explorer, ["a b c"], ["d [MASK]"], 1)
    states = [explorer.record(one, keep=("hidden_states",)).hidden_states(2)
              for one in ("a b c", "d [MASK]")]  # fmt: skip
    expected = states[0][1:-1].mean(dim=0) - states[1][1:-1].mean(dim=0)
    torch.testing.assert_close(direction, expected, rtol=1e-4, atol=1e-4)


def test_a_classifier_is_steered_too():
    from dataclasses import replace

    config = replace(handbuilt_config(), labels=("bad", "fair", "good"))
    torch.manual_seed(0)
    explorer = build_explorer(ModernBertForSequenceClassification(config).eval())
    direction = torch.randn(32)
    found = steer(explorer, explorer.encode("a b"), direction, 1, strength=5.0)
    assert {one.token for one in found.after} == {"bad", "fair", "good"}
    with explorer.edit({"layers.1.resid_post": lambda x: x + 5 * direction}), torch.no_grad():
        logits = explorer.model(torch.tensor([explorer.encode("a b").ids]))[0]
    assert found.after[0].logit == pytest.approx(float(logits.max()), abs=1e-4)


def test_directions_come_from_files(tmp_path):
    explorer = build_explorer()
    one = torch.arange(32.0)
    np.save(tmp_path / "a.npy", one[None].numpy())
    save_file({"x": one, "y": 2 * one}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", direction=one.numpy())
    for path, times in (("a.npy", 1), ("a.npz", 1), ("a.npz:direction", 1), ("a.safetensors:y", 2)):
        torch.testing.assert_close(load_direction(explorer, str(tmp_path / path)), times * one)
    np.save(tmp_path / "short.npy", np.ones(3))
    np.save(tmp_path / "whole.npy", np.ones(32, dtype=int))
    (tmp_path / "bad.npy").write_text("x")
    for path, sentence in (
        ("a.safetensors", r"holds x, y; name one: .*a.safetensors:NAME"),
        ("a.safetensors:z", "holds no 'z'; name one of x, y"),
        ("short.npy", r"has the shape \(3,\), and a direction in handbuilt has 32 numbers"),
        ("whole.npy", "a direction in handbuilt has 32 numbers"),
        ("bad.npy", "can't be read"),
        ("none.npy", "can't be read"),
        ("a.txt", "holds no vector; name a .npy"),
    ):
        with pytest.raises(TextError, match=sentence):
            load_direction(explorer, str(tmp_path / path))


def test_the_command(explorer, tmp_path):
    (tmp_path / "italy.txt").write_text(f"{ITALY}\nRome is the capital of [MASK].\n")
    done = run_cli(
        "steer", TEXT, "--toward-file", tmp_path / "italy.txt", "--away", TEXT, "-l", 4,
        "--strength", 2, "--json", "-o", tmp_path / "found.npz",
    )  # fmt: skip
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert answer["layer"] == 4 and answer["target"]["token"] == " Paris"
    saved = np.load(tmp_path / "found.npz")["direction"]
    again = SteerView(vector=str(tmp_path / "found.npz"), layer=4, strength=2.0).of(
        Session(explorer, TEXT)
    )
    np.testing.assert_array_equal(again.data.direction, saved)
    assert again.data.kl == pytest.approx(answer["kl"], rel=1e-3)
    assert run_again(again)["kl"] == pytest.approx(answer["kl"], rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "error", "sentence"),
    [
        ({}, MissingError, "There is no direction; give prompts"),
        ({"toward": (ITALY,)}, MissingError, "add prompts that it leads away from"),
        ({"away": (ITALY,)}, MissingError, "add prompts that it leads toward"),
        ({"toward": (ITALY,), "away": (TEXT,), "vector": "x.npy"}, UsageError, "both given"),
        ({"toward": (ITALY,), "away": (TEXT,), "layer": 9}, RangeError, "There is no layer 9"),
        ({"toward": (ITALY,), "away": (TEXT,), "ablate": True, "strength": 2.0}, UsageError,
         "has no effect without ablate False"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(explorer, parameters, error, sentence):
    with pytest.raises(error, match=sentence):
        SteerView(**parameters).of(Session(explorer, TEXT))
