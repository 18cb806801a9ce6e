"""Ablation: on a model whose one working head is known, and against what they are meant to be."""

import csv
import io
import json

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
from mbexplore.display.blocks import Heat, Row
from mbexplore.errors import RangeError
from mbexplore.explorer import load
from mbexplore.hooks import hooked
from mbexplore.session import Session
from mbexplore.views.ablate import AblateView
from tests.cli_runner import run_again, run_cli
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


def test_blocked_tokens_are_what_an_edit_of_the_scores_gives():
    """In global layers and in windows; together with such an edit they are refused."""
    explorer = build_explorer(build_random(3))
    config, blocked = explorer.model.config, (2, 6)

    def forbid(half_window):
        def edit(scores):  # (batch, heads, query, key or offset)
            query = torch.arange(scores.shape[2])[:, None]
            key = torch.arange(scores.shape[3])
            key = key if half_window is None else query - half_window + key
            hidden = torch.isin(key, torch.tensor(blocked)) & (key != query)
            return scores.masked_fill(hidden, float("-inf"))

        return edit

    layers = range(config.num_hidden_layers)
    edits = {f"layers.{i}.scores": forbid(config.half_window(i)) for i in layers}
    assert {config.half_window(i) for i in layers} == {None, 2}
    [effect] = ablate(explorer, TEXT, [BlockedTokens(blocked)], answer="a").effects
    with explorer.edit(edits):
        [logits] = explorer.fill_masks(TEXT).logits
        assert effect.score.logit == pytest.approx(float(logits[4]), abs=1e-5)
        for part in (BlockedTokens(blocked), BlockedDistance(1)):
            with pytest.raises(RangeError, match=r"layers\.0\.scores is edited, and attention "):
                ablate(explorer, TEXT, [part])
        assert ablate(explorer, TEXT, [Head(0, 1)]).effects
    [logits] = explorer.fill_masks(TEXT).logits
    assert effect.score.logit != pytest.approx(float(logits[4]), abs=1e-3)


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


@pytest.mark.parametrize("replacement", ["zero", "mean"])
def test_a_contrast_is_the_difference_of_two_answers(explorer, replacement):
    parts = [Head(1, 0), Block(2, "mlp"), BlockedDistance(2)]
    both = ablate(explorer, TEXT, parts, answer="f", contrast="b", replacement=replacement)
    one, other = (
        ablate(explorer, TEXT, parts, answer=name, replacement=replacement) for name in "fb"
    )
    pairs = zip(
        [both.clean, *(effect.score for effect in both.effects)],
        [one.clean, *(effect.score for effect in one.effects)],
        [other.clean, *(effect.score for effect in other.effects)],
        strict=True,
    )
    for score, first, second in pairs:
        assert score.logit == pytest.approx(first.logit - second.logit, abs=1e-5)
        assert (score.probability, score.rank) == (first.probability, first.rank)
    heads, alone, against = (
        ablate_heads(explorer, TEXT, answer=answer, contrast=contrast, replacement=replacement)
        for answer, contrast in (("f", "b"), ("f", None), ("b", None))
    )
    np.testing.assert_allclose(heads.logit, alone.logit - against.logit, atol=1e-5)
    with pytest.raises(RangeError, match="is the answer itself; name another contrast"):
        ablate(explorer, TEXT, parts, answer="f", contrast="f")


def test_the_view_shows_every_head_or_the_parts():
    session = Session(build_explorer(), TEXT)
    every = AblateView().of(session)
    [heat] = (block for block in every.blocks if isinstance(block, Heat))
    assert every.headline.startswith(f"c rests most on head {COPY_LAYER}.{COPY_HEAD}")
    marked = [[text.endswith("\N{BULLET}") for text in row] for row in heat.texts]
    assert np.argwhere(marked).tolist() == [[COPY_LAYER, COPY_HEAD]]
    assert heat.select == ("layer", "head")
    assert heat.select_more == {"parts": "{row}.{column}", "all_heads": True}
    name = f"{COPY_LAYER}.{COPY_HEAD}"
    both = AblateView(parts=(name,), all_heads=True).of(session)
    assert both.data.heads is every.data.heads  # a click computes no map again
    assert "[MASK] is at rank 1" in both.headline
    bars = [block for row in both.blocks if isinstance(row, Row) for block in row.blocks]
    assert [bar.labels[0] for bar in bars] == ["c", "[MASK]"] and bars[0].strong == {0}
    assert bars[0].high == bars[1].high


def test_files_hold_the_effects(explorer):
    session = Session(explorer, TEXT)
    every = AblateView().of(session)
    found = ablate_heads(explorer, TEXT)
    with np.load(io.BytesIO(every.content("npz"))) as saved:
        np.testing.assert_array_equal(saved["heads.logit"], found.logit)
    header, *rows = csv.reader(io.StringIO(every.content("csv").decode()))
    assert rows[3][:3] == ["1", "local", "1"]
    assert [int(row[header.index("rank")]) for row in rows] == found.rank.flatten().tolist()
    parts = AblateView(parts=("1.0", "2.mlp"), distance=3).of(session)
    some = ablate(explorer, TEXT, [Head(1, 0), Block(2, "mlp"), BlockedDistance(3)])
    _, *rows = csv.reader(io.StringIO(parts.content("csv").decode()))
    logits = [some.clean.logit, *(effect.score.logit for effect in some.effects)]
    assert [float(row[1]) for row in rows] == logits
    assert "npz" in every.formats and "npz" not in parts.formats


def test_the_command(tmp_path):
    text = "The capital of France is [MASK]."
    heads = run_cli("ablate", text, "-o", tmp_path / "heads.png")
    assert heads.code == 0 and "Paris rests most on head 6.3" in heads.out
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    answer = json.loads(run_cli("ablate", text, "--json").out)
    assert np.shape(answer["heads"]["logit"]) == np.shape(answer["heads"]["rank"]) == (9, 4)
    parts = ["--part", "3.1", "--part", "4.mlp", "--block", "France", "--distance", 3]
    options = ["--replacement", "mean", "--contrast", "Rome"]
    some = run_cli("ablate", text, *parts, *options)
    assert some.code == 0 and "MLP of layer 4" in some.out and "less Rome" in some.out
    answer = json.loads(run_cli("ablate", text, *parts, *options, "--json").out)
    assert [len(effect["parts"]) for effect in answer["parts"]["effects"]] == [4, 1, 1, 1, 1]
    assert (
        "attention to token 4" in answer["parts"]["effects"][0]["parts"] and answer["heads"] is None
    )
    wrong = run_cli("ablate", text, "--part", "3")
    assert wrong.code == 2 and "'3' is no part; write 3.1 for a head" in wrong.err
    idle = run_cli("ablate", text, "--block", "France", "--replacement", "mean")
    assert idle.code == 2 and "replacement 'mean' has no effect" in idle.err


def test_the_command_line_makes_the_same_answer():
    session = Session(load("tiny", device="cpu"), "-a capital of France is [MASK].")
    for view in (
        AblateView(token=3, answer="London", replacement="mean"),
        AblateView(parts=("1.0", "2.mlp", "0.attention"), blocked=("France", "2"), distance=0),
        AblateView(parts=("3.1",), contrast="Rome", all_heads=True),
    ):
        result = view.of(session)
        assert run_again(result) == result.to_json(), result.command
