"""Attributions: they add up, name the copied token, and leave nothing on the model."""

import csv
import io
import json

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis.attribute import attribute
from mbexplore.display.blocks import Bars, TokenStrip
from mbexplore.errors import ModelError, RangeError
from mbexplore.session import Session
from mbexplore.views.attribute import AttributeView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import VOCAB, answer_logits, build_explorer, build_random, hook_count

TEXT = "a b c [MASK] d"
PARIS = "The capital of France is [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return build_explorer(build_random())


@pytest.mark.parametrize("baseline", ["mask", "pad"])
@pytest.mark.parametrize("contrast", [None, "f"])
def test_integrated_gradients_are_complete_at_the_default_steps(explorer, baseline, contrast):
    found = attribute(explorer, TEXT, baseline=baseline, contrast=contrast)
    difference = found.value - found.baseline_value
    assert abs(difference) > 0.1
    assert sum(found.integrated) == pytest.approx(difference, rel=0.01)
    assert found.completeness_error == pytest.approx(
        abs(sum(found.integrated) / difference - 1), abs=1e-6
    )
    assert found.completeness_error < 0.01
    kept = [i for i, token in enumerate(found.tokens) if token.startswith("[")]
    assert [found.integrated[i] for i in kept] == [0.0] * 3


@pytest.mark.parametrize("baseline", ["mask", "pad"])
def test_completeness_on_the_bundled_model(baseline):
    tiny = mbexplore.load("tiny", device="cpu")
    found = attribute(tiny, PARIS, answer="Paris", contrast="Rome", baseline=baseline)
    assert found.completeness_error < 0.01
    coarse = attribute(tiny, PARIS, answer="Paris", contrast="Rome", baseline=baseline, steps=1)
    assert coarse.completeness_error > found.completeness_error


def test_the_values_are_the_models(explorer):
    found = attribute(explorer, TEXT, answer="e", contrast="f")
    e, f = VOCAB.index("e"), VOCAB.index("f")
    for value, text in (
        (found.value, TEXT),
        (found.baseline_value, "[MASK] [MASK] [MASK] [MASK] [MASK]"),
    ):
        ids = torch.tensor([explorer.encode(text).ids])
        logits = answer_logits(explorer.model, ids, 4)[0]
        assert value == pytest.approx(float(logits[e] - logits[f]), abs=1e-5)


def test_the_copied_token_gets_it_all():
    copier = build_explorer()
    found = attribute(copier, TEXT)
    assert (found.target.token, np.argmax(found.integrated)) == ("c", 3)
    assert found.integrated[3] > 0.99 * sum(map(abs, found.integrated))


def test_gradient_times_input_is_the_slope_of_scaling_a_token(explorer):
    """d/ds of the logit with token j's hidden state 0 scaled by s, at s = 1, in float64."""
    wide = build_explorer(build_random().double())
    found = attribute(wide, TEXT, answer="e")
    from mbexplore.hooks import hooked

    ids = torch.tensor([wide.encode(TEXT).ids])

    def logit(position, scale):
        def action(value):
            value = value.clone()
            value[:, position] *= scale
            return value

        with hooked(wide.model, {"embed": action}):
            return float(answer_logits(wide.model, ids, 4)[0, VOCAB.index("e")])

    for position in range(7):
        slope = (logit(position, 1 + 1e-5) - logit(position, 1 - 1e-5)) / 2e-5
        assert found.gradient_input[position] == pytest.approx(slope, abs=1e-6)


def test_nothing_stays_on_the_model(explorer, monkeypatch):
    before = {name: value.clone() for name, value in explorer.model.state_dict().items()}
    attribute(explorer, TEXT)
    assert hook_count(explorer.model) == 0
    assert all(parameter.grad is None for parameter in explorer.model.parameters())
    assert all(torch.equal(before[name], v) for name, v in explorer.model.state_dict().items())

    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(explorer.model.encoder.layers[1]), "forward", fail)
    with pytest.raises(KeyboardInterrupt):
        attribute(explorer, TEXT, answer="e")
    assert hook_count(explorer.model) == 0


def test_mistakes(explorer):
    with pytest.raises(RangeError, match="'e' is the answer itself"):
        attribute(explorer, TEXT, answer="e", contrast="e")
    with pytest.raises(RangeError, match="0 steps"):
        attribute(explorer, TEXT, steps=0)
    import dataclasses

    model = build_random()
    model.config = dataclasses.replace(model.config, pad_token_id=None)
    with pytest.raises(ModelError, match="has no pad token"):
        attribute(build_explorer(model), TEXT, baseline="pad")


def test_the_view_colours_the_text_and_its_files_hold_the_shares(explorer):
    result = AttributeView(contrast="f", steps=8).of(Session(explorer, TEXT))
    found = attribute(explorer, TEXT, contrast="f", steps=8)
    [strip] = (block for block in result.blocks if isinstance(block, TokenStrip))
    [bars] = (block for block in result.blocks if isinstance(block, Bars))
    assert strip.values == bars.values == found.integrated and bars.theirs == found.gradient_input
    largest = int(np.argmax(np.abs(found.integrated)))
    assert strip.mark == found.target.position and bars.strong == {largest}
    assert bars.select[largest] == {"token": largest}
    assert "less f most" in result.headline and f"({largest})" in result.headline
    _, *rows = csv.reader(io.StringIO(result.content("csv").decode()))
    assert [float(row[2]) for row in rows] == list(found.integrated)
    assert [float(row[3]) for row in rows] == list(found.gradient_input)
    assert [row[1] for row in rows] == list(found.tokens)


def test_the_command(tmp_path):
    options = ("--answer", "Paris", "--contrast", "Rome")
    shown = run_cli("attribute", PARIS, *options, "-o", tmp_path / "why.png")
    assert shown.code == 0 and "completeness error" in shown.out and "above 1%" not in shown.out
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(run_cli("attribute", PARIS, *options, "--json").out)
    assert len(found["integrated"]) == len(found["tokens"]) == 9
    assert found["target"]["token"] == " Paris" and found["contrast"]["token"] == " Rome"
    assert "above 1%; take" in " ".join(run_cli("attribute", PARIS, "--steps", 2).out.split())
    wrong = run_cli("attribute", PARIS, "--baseline", "zero")
    assert wrong.code == 2 and "baseline of attribute is 'zero'; choose mask, pad" in wrong.err
    view = AttributeView(token="4", contrast="Rome", baseline="pad", steps=3)
    result = view.of(Session(mbexplore.load("tiny", device="cpu"), PARIS))
    assert run_again(result) == result.to_json()


def test_the_text_of_a_strip_keeps_its_spaces():
    lines = run_cli("attribute", "The capital of France is [MASK].").out.splitlines()
    strip = next(line for line in lines if line.startswith("[CLS]") and "(+" in line)
    assert strip.startswith("[CLS]The") and " capital" in strip and " of" in strip
