"""Knock-outs: on a model whose one working head is known, and against what they are meant to be."""

import json
import re

import numpy as np
import pytest
import torch

from mbexplore.analysis.ablate import (
    Block,
    BlockedDistance,
    BlockedTokens,
    Head,
    ablate,
    ablate_heads,
    ablated_predictions,
    ablation_hooks,
)
from mbexplore.errors import RangeError
from mbexplore.hooks import hooked
from tests.cli_runner import run_cli
from tests.handbuilt import (
    COPY_HEAD,
    COPY_LAYER,
    answer_logits,
    build_explorer,
    build_random,
    hook_count,
)

TEXT = "a b c [MASK] d e f"
PLACE = 4


@pytest.fixture(scope="module")
def explorer():
    return build_explorer(build_random())


def logits_without(explorer, *parts, replacement="zero"):
    ids = torch.tensor([explorer.encode(TEXT).ids])
    with hooked(explorer.model, ablation_hooks(explorer.model.config, parts, replacement)):
        return answer_logits(explorer.model, ids, PLACE)


@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_only_the_head_that_copies_flips_the_answer(replacement):
    copier = build_explorer()
    effects = ablate_heads(copier, TEXT, replacement=replacement)
    assert (effects.target.token, effects.clean.rank) == ("c", 1)
    flipped = np.argwhere(effects.rank != 1).tolist()
    assert flipped == [[COPY_LAYER, COPY_HEAD]]
    others = np.abs(effects.logit) > 1e-4
    assert np.argwhere(others).tolist() == flipped
    alone = ablate(copier, TEXT, [Head(COPY_LAYER, COPY_HEAD)], replacement=replacement).effects[0]
    assert alone.top1 != "c"
    change = alone.score.logit - effects.clean.logit
    assert change == pytest.approx(effects.logit[COPY_LAYER, COPY_HEAD], abs=1e-4)


def test_what_feeds_the_copying_head_flips_the_answer_and_the_rest_does_not():
    parts = {
        Block(1, "attention"): True, Block(0, "attention"): False, Block(1, "mlp"): False,
        BlockedTokens((3,)): True, BlockedTokens((1, 2, 5)): False, BlockedDistance(0): True,
        BlockedDistance(1): False,
    }  # fmt: skip
    found = ablate(build_explorer(), TEXT, list(parts))
    assert found.effects[0].top1 == "[MASK]"
    assert [effect.top1 != "c" for effect in found.effects[1:]] == list(parts.values())


def test_the_predictions_without_parts_are_those_of_the_changed_model(explorer):
    copier = build_explorer()
    encoding = copier.encode(TEXT)
    for parts, first in (([], "c"), ([Head(COPY_LAYER, COPY_HEAD)], "[MASK]")):
        found = ablated_predictions(copier, encoding, parts, PLACE, top_k=3)
        assert len(found) == 3 and found[0].token == first
    encoding, parts = explorer.encode(TEXT), [Head(2, 1), BlockedTokens((1,))]
    logits = logits_without(explorer, *parts, replacement="mean")[0]
    found = ablated_predictions(explorer, encoding, parts, PLACE, replacement="mean", top_k=2)
    best = logits.topk(2)
    assert [p.token_id for p in found] == best.indices.tolist()
    assert [p.logit for p in found] == best.values.tolist()
    with pytest.raises(RangeError, match="no head 2"):
        ablated_predictions(explorer, encoding, [Head(0, 2)], PLACE)


def test_nothing_silenced_changes_nothing_bit_for_bit(explorer):
    plain = answer_logits(explorer.model, torch.tensor([explorer.encode(TEXT).ids]), PLACE)
    assert torch.equal(logits_without(explorer), plain)
    assert torch.equal(logits_without(explorer, BlockedDistance(8)), plain)
    [effect] = ablate(explorer, TEXT, []).effects
    assert effect.score == ablate(explorer, TEXT, []).clean


def test_every_head_of_the_map_is_that_head_alone(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore.analysis.ablate.BATCH_TOKENS", 10)
    steps = []
    effects = ablate_heads(explorer, TEXT, progress=lambda *step: steps.append(step))
    assert steps == [(n, 6) for n in range(1, 7)]
    monkeypatch.undo()
    batched = ablate_heads(explorer, TEXT)
    np.testing.assert_allclose(batched.logit, effects.logit, atol=1e-5)
    for layer in range(3):
        for head in range(2):
            alone = logits_without(explorer, Head(layer, head))[0, effects.target.token_id]
            assert effects.logit[layer, head] == pytest.approx(
                float(alone) - effects.clean.logit, abs=1e-5
            )
    assert np.abs(effects.logit).min() > 1e-3


def test_all_heads_are_the_attention_and_silence_is_what_it_says(explorer):
    assert torch.equal(
        logits_without(explorer, Head(1, 0), Head(1, 1)), logits_without_weights(explorer, "attn")
    )
    assert torch.equal(
        logits_without(explorer, Block(1, "mlp")), logits_without_weights(explorer, "mlp")
    )


def logits_without_weights(explorer, block):
    """The same with the block's output weights of layer 1 set to zero."""
    model = build_random()
    out = getattr(model.encoder.layers[1], block).Wo
    torch.nn.init.zeros_(out.weight)
    if block == "mlp":  # silencing heads leaves the bias of attention, silencing the MLP does not
        torch.nn.init.zeros_(out.bias)
    return answer_logits(model, torch.tensor([explorer.encode(TEXT).ids]), PLACE)


def test_hidden_tokens_are_those_that_do_not_matter_any_more(explorer):
    """With token 6 hidden, its id is without effect; and the reach is that of a smaller window."""
    ids = torch.tensor([explorer.encode(TEXT).ids])
    other = ids.clone()
    other[0, 6] = 15
    model, hidden = explorer.model, ablation_hooks(explorer.model.config, [BlockedTokens((6,))])
    assert not torch.allclose(answer_logits(model, ids, PLACE), answer_logits(model, other, PLACE))
    with hooked(model, hidden):
        same = torch.equal(answer_logits(model, ids, PLACE), answer_logits(model, other, PLACE))
    assert same
    maps = {}
    actions = ablation_hooks(explorer.model.config, [BlockedDistance(1)])

    def keep(value):
        maps["context"] = actions["layers.0.z"](value)
        return maps["context"]

    with hooked(model, actions | {"layers.0.z": keep}):
        answer_logits(model, ids, PLACE)
    recording = explorer.record(TEXT)
    near = recording.attention(0) * torch.ones(9, 9).tril(1).triu(-1)
    expected = near / near.sum(-1, keepdim=True) @ recording.v(0)
    torch.testing.assert_close(maps["context"][0], expected)


def test_hooks_are_gone_after_success_and_after_an_error(explorer, monkeypatch):
    ablate_heads(explorer, TEXT)
    assert hook_count(explorer.model) == 0

    def stop(done, total):
        assert hook_count(explorer.model) == 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ablate_heads(explorer, TEXT, progress=stop)

    def fail(*arguments):
        assert hook_count(explorer.model) > 0
        raise KeyboardInterrupt

    monkeypatch.setattr("mbexplore.analysis.ablate._replacement", fail)
    with pytest.raises(KeyboardInterrupt):
        ablate_heads(explorer, TEXT)
    with pytest.raises(KeyboardInterrupt):
        ablate(explorer, TEXT, [Head(0, 0)])
    assert hook_count(explorer.model) == 0


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (Head(3, 0), "no layer 3; choose 0 to 2"),
        (Head(0, 2), "no head 2; choose 0 to 1"),
        (Block(-1, "mlp"), "no layer -1"),
        (BlockedTokens((9,)), "no token 9; choose 0 to 8"),
        (BlockedDistance(-1), "distance is -1"),
    ],
)
def test_mistakes(explorer, part, sentence):
    with pytest.raises(RangeError, match=sentence):
        ablate(explorer, TEXT, [part])


def test_the_command(tmp_path):
    text = "The capital of France is [MASK]."
    heads = run_cli("knockout", text, "--all-heads", "-o", tmp_path / "heads.png")
    assert heads.code == 0 and "capital" in heads.out and "rank" in heads.out
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads(run_cli("knockout", text, "--all-heads", "--json").out)
    assert np.shape(answer["logit"]) == np.shape(answer["rank"]) == (9, 4)
    parts = ["--head", "3.1", "--mlp", 4, "--token", 4, "--far", 3, "--mean"]
    some = run_cli("knockout", text, *parts, "-o", tmp_path / "parts.svg")
    assert some.code == 0 and "MLP of layer 4" in some.out
    answer = json.loads(run_cli("knockout", text, *parts, "--json").out)
    assert [len(effect["parts"]) for effect in answer["effects"]] == [4, 1, 1, 1, 1]
    for wrong, sentence in (
        (["--head", "3"], "'3' is no head; write LAYER.HEAD"),
        ([], "Name what to silence"),
        (["--all-heads", "--mlp", 1], "Name what to silence"),
    ):
        result = run_cli("knockout", text, *wrong)
        assert result.code == 2 and re.search(sentence, result.err), result.err
