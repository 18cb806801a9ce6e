"""Scores and patterns: made only where they are wanted, and then by another kernel."""

from dataclasses import replace

import pytest
import torch

import mbexplore
from mbexplore.analysis.ablate import BlockedTokens, ablate
from mbexplore.hooks import hooked
from mbexplore.network.attention import mix_values
from mbexplore.recording import KEEP

TEXT = "The river runs from the mountains to the sea, and the [MASK] follows it. " * 4


@pytest.fixture(scope="module")
def recording(tiny):
    return tiny.record(TEXT, keep=tuple(KEEP))


def test_patterns_are_the_derived_maps(tiny):
    found = tiny.record(TEXT, keep=("attention", "scores", "pattern", "v", "z"))
    for layer in range(9):
        scores, pattern = (found.tap(f"layers.{layer}.{name}") for name in ("scores", "pattern"))
        local = found.config.half_window(layer) is not None
        derived = found.attention_band(layer) if local else found.attention(layer)
        torch.testing.assert_close(pattern, derived)
        torch.testing.assert_close(scores.softmax(-1), derived)
        assert scores.isneginf().any() == local
        torch.testing.assert_close(
            found.attention(layer) @ found.v(layer), found.tap(f"layers.{layer}.z")
        )


@pytest.mark.parametrize("name", ["scores", "pattern"])
def test_a_hook_on_a_map_that_only_observes_changes_nothing(tiny, recording, name):
    shapes = []
    names = [f"layers.{i}.{name}" for i in range(9)]
    with hooked(tiny.model, {each: lambda x: shapes.append(tuple(x.shape)) for each in names}):
        for keep in (("hidden_states",), ("attention",)):
            observed = tiny.record(TEXT, keep=keep)
            torch.testing.assert_close(observed.logits, recording.logits, rtol=0, atol=1e-4)
    assert shapes == 2 * [(1, 4, 67, 33 if i % 3 else 67) for i in range(9)]


def test_a_pattern_can_be_edited_and_patched(tiny, recording):
    """Each token attends to itself alone: z is then its own value."""

    def to_itself(pattern):
        alone = torch.zeros_like(pattern)
        if pattern.shape[-1] == pattern.shape[-2]:
            return alone + torch.eye(pattern.shape[-1])
        alone[..., pattern.shape[-1] // 2] = 1
        return alone

    edits = {f"layers.{i}.pattern": to_itself for i in range(9)}
    with tiny.edit(edits):
        edited = tiny.record(TEXT, keep=("z", "v"))
    for layer in range(9):
        torch.testing.assert_close(edited.tap(f"layers.{layer}.z"), edited.v(layer))
    clean = tiny.record("The road runs to the sea.", keep=("pattern",))
    for layer in (3, 4):
        name = f"layers.{layer}.pattern"
        with tiny.edit({name: lambda _, name=name: clean.tap(name)[None]}):
            patched = tiny.record("The sea runs to the road.", keep=("v", "z", "pattern"))
        assert torch.equal(patched.tap(name), clean.tap(name))
        dense = mix_values(clean.tap(name)[None], patched.v(layer)[None],
                           patched.config.half_window(layer))[0]  # fmt: skip
        torch.testing.assert_close(patched.tap(f"layers.{layer}.z"), dense)


def test_scores_can_forbid_a_key(tiny):
    """What no query but itself may see leaves no trace in the others, in any layer."""
    encoding = tiny.encode("The cat sat on the mat and the [MASK] slept on it.")
    hidden, seq = 3, len(encoding)

    def forbid(scores):
        keep = torch.arange(scores.shape[-2])
        if scores.shape[-1] == seq:
            scores[:, :, keep != hidden, hidden] = float("-inf")
            return scores
        columns = hidden - keep + scores.shape[-1] // 2
        inside = (columns >= 0) & (columns < scores.shape[-1]) & (keep != hidden)
        scores[:, :, keep[inside], columns[inside]] = float("-inf")
        return scores

    other = replace(
        encoding, ids=tuple(99 if i == hidden else t for i, t in enumerate(encoding.ids))
    )
    with tiny.edit({f"layers.{i}.scores": forbid for i in range(9)}):
        first, second = (tiny.record(one, keep=("hidden_states",)) for one in (encoding, other))
    places = torch.arange(seq) != hidden
    assert torch.equal(first.hidden_states(-1)[places], second.hidden_states(-1)[places])
    assert not torch.equal(first.hidden_states(-1)[hidden], second.hidden_states(-1)[hidden])
    [mask] = ablate(tiny, encoding, [BlockedTokens((hidden,))]).effects
    logits = first.logits[0]
    assert mask.score.logit == pytest.approx(
        float(logits[tiny.fill_masks(encoding).masks[0].predictions[0].token_id]), abs=1e-3
    )


def test_gradients_flow_through_the_maps(tiny):
    """The logit's gradient for a pattern, checked by moving the pattern."""
    model = mbexplore.load("tiny", device="cpu", dtype="float64").model
    ids, kept = torch.tensor([tiny.encode("It [MASK] on the sea.").ids]), {}
    for name in ("layers.3.pattern", "layers.4.pattern", "layers.4.scores"):

        def keep(value, name=name):
            kept[name] = value
            value.retain_grad()

        with hooked(model, {name: keep}):
            model(ids)[0, 2, 77].backward()
        gradient, step = kept[name].grad, torch.zeros_like(kept[name])
        place = int(gradient.abs().flatten().argmax())
        step.view(-1)[place] = 1e-5
        with torch.no_grad():
            ends = []
            for sign in (1, -1):
                with hooked(model, {name: lambda x, move=sign * step: x + move}):
                    ends.append(float(model(ids)[0, 2, 77]))
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(
            float(gradient.flatten()[place]), rel=1e-4
        )
