"""Why: the route is known in models made by hand, and shares are those of single runs."""

import copy
import csv
import io
import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
import torch

from mbexplore.analysis.readout import build_readout
from mbexplore.analysis.why import why
from mbexplore.analysis.why.counterfactual import check, find
from mbexplore.analysis.why.evidence import fewer, gather
from mbexplore.analysis.why.pair import Part, TextPair
from mbexplore.analysis.why.question import ask
from mbexplore.analysis.why.route import choose, prune
from mbexplore.analysis.why.sensitivity import estimate
from mbexplore.analysis.why.trust import OtherChange, Spread, Trust
from mbexplore.display.blocks import Bars, TokenStrip, walk
from mbexplore.display.story_blocks import RouteGraph
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.session import Session
from mbexplore.views._why_story import thresholds
from mbexplore.views.why import WhyView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import (
    COPY_HEAD,
    COPY_LAYER,
    SLOT,
    VOCAB,
    build_copier,
    build_explorer,
    hook_count,
)
from tests.parity import spread_weights
from tests.test_every_head import ASKS
from tests.test_every_head import TEXT as HEADS_TEXT
from tests.test_predict_heads import explorers as explorers  # a fixture

TEXT, OTHER = "a b c [MASK] d", "a b e [MASK] d"
SOURCE, MASK = 3, 4  # [CLS] a b c [MASK]
PARIS = "The capital of France is [MASK]."


@torch.no_grad()
def build_redundant():
    """Two heads that each copy the token before the mask, all but "l", and a head that saturates.

    Whether one of them or both copy "c", it is the answer; where neither does, "[MASK]" is.
    """
    model = build_copier()
    attention = model.encoder.layers[COPY_LAYER].attn
    weights = attention.Wqkv.weight.view(3, 2, SLOT, 2 * SLOT)
    weights[:, 1 - COPY_HEAD] = weights[:, COPY_HEAD]
    weights[2, :, :, VOCAB.index("l")] = 0
    own, twin = (slice(head * SLOT, (head + 1) * SLOT) for head in (COPY_HEAD, 1 - COPY_HEAD))
    attention.Wo.weight[:, twin] = attention.Wo.weight[:, own]
    model.head.dense.weight[:SLOT, SLOT:] = 4000.0 * torch.eye(SLOT)
    return model


@pytest.fixture(scope="module")
def paris(tiny):
    return WhyView().of(Session(tiny, PARIS))


def pair_of(explorer, text=TEXT, other=OTHER, **asked):
    question = ask(explorer, explorer.encode(text), **asked)
    encoding = explorer.encode(other)
    return TextPair.build(question, encoding, check(question, encoding).target)


def test_the_copying_head_and_token_are_named_and_no_others():
    found = why(build_explorer(), TEXT)
    change, route = found.counterfactual, found.route
    assert (found.target.token, found.verdict) == ("c", "explained")
    assert [(one.position, one.old) for one in change.changes] == [(SOURCE, "c")]
    assert change.answer.token == change.changes[0].new  # what is copied
    assert route.tokens == (SOURCE,)
    [step] = route.steps
    assert (step.layer, step.head, step.query, step.key) == (COPY_LAYER, COPY_HEAD, MASK, SOURCE)
    assert (step.restored, step.restored_from_key, step.lost) == pytest.approx((1, 1, 1), abs=1e-3)
    assert (step.distance, step.kind, step.in_window) == (1, "local", True)
    assert step.weight > 0.9 and route.backups == ()
    trust = route.trust
    assert (trust.sufficiency, trust.necessity) == pytest.approx((1, 1), abs=1e-3)
    assert (trust.random.mean, trust.random.std) == pytest.approx((0, 0), abs=1e-3)
    assert trust.random_necessity.mean == pytest.approx(0, abs=1e-3) and trust.random.n == 20
    held = [(one.position, one.first, one.last) for one in route.carried.held]
    assert held == [(SOURCE, 0, COPY_LAYER), (MASK, COPY_LAYER + 1, 3)]
    assert (found.first_state, found.decided_state) == (COPY_LAYER + 1, COPY_LAYER + 1)
    tokens, size = found.evidence.tokens, range(len(found.tokens))
    for measure in (lambda i: tokens[i].attribution, lambda i: tokens[i].ablation):
        assert max(size, key=measure) == SOURCE
    assert max(size, key=found.evidence.rests) == SOURCE


def passes_of(model, text):
    """What `why` finds, and how many copies of the text reach the last layer's end for it."""
    rows = []
    with hooked(model, {"layers.2.resid_post": lambda value: rows.append(len(value))}):
        return why(build_explorer(model), text), sum(rows)


def test_a_long_text_is_explained_in_fewer_passes_and_says_so():
    model = build_copier()
    model.config = model.encoder.config = replace(model.config, max_position_embeddings=1024)
    (_, short), (found, long) = (passes_of(model, TEXT + " f g h i" * n) for n in (10, 200))
    assert len(found.tokens) == 807 and long < short / 2
    [step] = found.route.steps
    assert (step.layer, step.head, step.query, step.key) == (COPY_LAYER, COPY_HEAD, MASK, SOURCE)
    assert found.verdict == "explained" and found.evidence.completeness_error < 0.02
    assert sum(one.ablation is not None for one in found.evidence.tokens) == 9
    assert len(found.route.carried.positions) == 6
    assert "attribution chose the tokens that were measured" in thresholds(found)
    assert [fewer(32, 8, seq) for seq in (9, 64, 128, 256, 8192)] == [32, 32, 22, 16, 8]


def test_of_many_heads_those_with_the_largest_estimates_are_measured(monkeypatch):
    monkeypatch.setattr("mbexplore.analysis.why.route.MOST_HEADS", 2)
    monkeypatch.setattr("mbexplore.analysis.why.route.LEAST_HEADS", 2)
    found = why(build_explorer(), TEXT)
    [step] = found.route.steps
    assert (step.layer, step.head, step.lost) == (COPY_LAYER, COPY_HEAD, pytest.approx(1, abs=1e-3))
    assert found.route.measured == (2, 6)
    assert "Of 6 heads the 2 with the largest estimates were measured." in thresholds(found)


def test_two_heads_that_each_suffice_are_redundant_and_neither_is_necessary():
    found = why(build_explorer(build_redundant()), TEXT, counterfactual="a b l [MASK] d")
    route, trust = found.route, found.route.trust
    [step], [backup] = route.steps, route.backups
    assert {(step.layer, step.head), (backup.layer, backup.head)} == {(1, 0), (1, 1)}
    assert (step.restored, step.lost, backup.lost) == pytest.approx((1, 0, 0), abs=0.01)
    assert trust.is_redundant and trust.sufficiency == pytest.approx(1, abs=0.01)
    assert trust.necessity == pytest.approx(0, abs=0.01)
    assert trust.necessity_with_backups == pytest.approx(1, abs=0.01)
    session = Session(build_explorer(build_redundant()), TEXT)
    result = WhyView(counterfactual="a b l [MASK] d").of(session)
    [sentence] = [one.text for one in result.data.story if "Neither is necessary" in one.text]
    assert f"head {backup.name} can do as well" in sentence


@pytest.mark.parametrize("seed", [None, 1])
def test_random_weights_have_no_short_explanation(tiny, seed):
    """As ModernBERT begins its training, and with weights that peak the attention."""
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(tiny.model.config).eval()
    if seed is not None:
        spread_weights(model, seed)
    result = WhyView().of(Session(Explorer(model, tiny.tokenizer, tiny.files), PARIS))
    assert result.data.why.verdict == "none"
    assert result.headline.startswith("No short explanation found")


def test_shares_are_those_of_single_runs(explorer, monkeypatch):
    """Against runs with the values put in by hand."""
    pair = pair_of(explorer)
    rows = [[Part(2, 1, MASK)], [Part(0, 0, 2), Part(1, 1, SOURCE)], [Part(1, 0, MASK)]]
    c, e = pair.target.token_id, pair.other.token_id

    def share(ids, tap_edits):
        with hooked(explorer.model, tap_edits), torch.no_grad():
            logits = explorer.model(torch.tensor([ids]))[0, MASK]
        return (float(logits[c] - logits[e]) - pair.corrupted_difference) / pair.span

    def put(source, parts, layer):
        def action(value):
            value = value.clone()
            for part in parts:
                if part.layer == layer:
                    z = source.tap(f"layers.{layer}.z")
                    value[0, part.head, part.query] = z[part.head, part.query]
            return value

        return action

    def keep(parts, layer):
        def action(value):
            made = pair.corrupted.tap(f"layers.{layer}.z")[None].clone()
            for part in parts:
                if part.layer == layer:
                    made[0, part.head, part.query] = value[0, part.head, part.query]
            return made

        return action

    clean, corrupted = pair.clean.encoding.ids, pair.corrupted.encoding.ids
    for size in (1024, 7):
        monkeypatch.setattr("mbexplore.analysis.why.pair.BATCH_TOKENS", size)
        restored, replaced = pair.restored(rows), pair.replaced(rows)
        kept, bare = pair.kept([*rows, []], [SOURCE]), pair.kept(rows, [])
        for i, parts in enumerate(rows):
            edits = {f"layers.{n}.z": put(pair.clean, parts, n) for n in range(3)}
            assert restored[i] == pytest.approx(share(corrupted, edits), abs=1e-3)
            edits = {f"layers.{n}.z": put(pair.corrupted, parts, n) for n in range(3)}
            assert replaced[i] == pytest.approx(share(clean, edits), abs=1e-3)
            edits = {f"layers.{n}.z": keep(parts, n) for n in range(3)}
            assert kept[i] == pytest.approx(share(clean, edits), abs=1e-3)
            assert bare[i] == pytest.approx(share(corrupted, edits), abs=1e-3)
        edits = {f"layers.{n}.z": keep([], n) for n in range(3)}
        assert kept[-1] == pytest.approx(share(clean, edits), abs=1e-3)
    everything = [Part(n, h, i) for n in range(3) for h in range(2) for i in range(len(pair))]
    assert pair.kept([everything], [SOURCE])[0] == pytest.approx(1, abs=1e-3)
    assert pair.without([SOURCE]) == pytest.approx(0, abs=1e-3)
    assert hook_count(explorer.model) == 0


def test_what_the_keys_add_is_what_the_head_restores(explorer):
    """The change of a head's output is the sum of what each key changes."""
    from mbexplore.analysis.why.route import _by_key

    pair, part = pair_of(explorer), Part(2, 1, MASK)
    change = pair.clean.tap("layers.2.z") - pair.corrupted.tap("layers.2.z")
    added = _by_key(pair, part).sum(dim=0)
    torch.testing.assert_close(added, change[1, MASK], atol=1e-4, rtol=1e-4)
    whole = pair.added(part, change[1, MASK][None])
    assert whole[0] == pytest.approx(pair.restored([[part]])[0], abs=1e-3)


def test_estimates_are_directional_derivatives():
    """Where the way is straight, as in the copier's last steps, the estimate names the head."""
    pair = pair_of(build_explorer())
    effects = estimate(pair)
    assert effects.shape == (3, 2, len(pair))
    best = np.unravel_index(np.argmax(effects), effects.shape)
    assert best == (COPY_LAYER, COPY_HEAD, MASK)
    others = np.delete(effects.ravel(), np.ravel_multi_index(best, effects.shape))
    assert np.abs(others).max() < 1e-4


def test_greedy_search_drops_what_is_not_needed():
    pair = pair_of(build_explorer())
    copying, idle = Part(COPY_LAYER, COPY_HEAD, MASK), [Part(0, 0, MASK), Part(2, 1, MASK)]
    path = prune(pair, [idle[0], copying, idle[1]], [SOURCE])
    assert [len(parts) for parts, _ in path] == [3, 2, 1, 0]
    assert [share for _, share in path] == pytest.approx([1, 1, 1, 0], abs=1e-3)
    assert path[2][0] == (copying,) and choose(path, 6, 0.8) == (copying,)
    assert choose([((copying, *idle), 0.6), ((copying,), 0.58), ((), 0.0)], 6, 0.8) == (copying,)
    assert choose([((copying, *idle), 0.9), ((copying,), 0.4), ((), 0.0)], 2, 0.8) == (copying,)


def test_the_counterfactual_is_the_models_own_and_moves_the_answer(tiny, paris):
    found = paris.data.why
    change, encoding = found.counterfactual, found.counterfactual.encoding
    assert len(encoding) == len(found.tokens) and not change.is_given
    again = tiny.encode(encoding.text)
    assert again.ids == encoding.ids
    answer = tiny.fill_masks(encoding.text, top_k=1).masks[0].predictions[0]
    assert (answer.token, answer.probability) == (
        change.answer.token, pytest.approx(change.answer.probability, rel=1e-4),
    )  # fmt: skip
    assert answer.token != found.answer.token
    masked = PARIS.replace(found.tokens[change.changes[0].position].strip(), "[MASK]")
    likely = tiny.fill_masks(masked, top_k=60).masks[0].predictions
    shares = {one.token: one.probability for one in likely}
    assert shares[change.changes[0].new] == pytest.approx(change.likelihood, rel=1e-3)


def test_several_words_are_changed_where_one_is_not_enough(explorer, monkeypatch):
    """Without single words, pairs are tried, and each token is a likely one there."""
    monkeypatch.setattr("mbexplore.analysis.why.refill.REFILLS", 12)
    from mbexplore.analysis.why import counterfactual

    real = counterfactual.word_sets

    def pairs_only(question, evidence):
        return [(n, words) for n, words in real(question, evidence) if len(words) > 1]

    monkeypatch.setattr(counterfactual, "word_sets", pairs_only)
    question = ask(explorer, explorer.encode(TEXT))
    found = find(question, gather(question))
    if found is not None:
        assert len(found.changes) > 1 and found.target != question.target


def test_a_counterfactual_that_shows_nothing_is_refused(tiny):
    with pytest.raises(RangeError, match="has 10 tokens and the text 9"):
        why(tiny, PARIS, counterfactual="The old capital of Italy is [MASK].")
    with pytest.raises(RangeError, match="is answered ' Paris' as well"):
        why(tiny, PARIS, counterfactual=PARIS)
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        why(tiny, "No mask.")
    with pytest.raises(RangeError, match="is the answer itself"):
        why(tiny, PARIS, rival="Paris")


def test_a_named_rival_is_put_before_the_answer(tiny):
    found = why(tiny, PARIS, rival="Rome")
    change = found.counterfactual
    assert found.route.other == found.rival == change.target and found.rival.token == " Rome"
    logits = tiny.fill_masks(change.encoding.text).logits[0]
    assert logits[found.rival.token_id] > logits[found.target.token_id]


def test_every_sentence_has_a_command_and_their_numbers_are_the_same(paris):
    """The commands of the story, run: each shows the number that its sentence says."""
    story = {one.text: one.commands[-1] for one in paris.data.story}
    found = paris.data.why

    def of(beginning):
        [command] = [command for text, command in story.items() if beginning in text]
        program, *arguments = shlex.split(command)
        assert program == "mbexplore"
        return json.loads(run_cli(*arguments, "--json").out)

    first = of("The answer is")["masks"][0]["predictions"][0]
    assert (first["token"], first["probability"]) == (
        found.answer.token, pytest.approx(found.answer.probability, rel=1e-4),
    )  # fmt: skip
    changed = of("for France the answer is")["masks"][0]["predictions"][0]
    assert changed["token"] == found.counterfactual.answer.token
    [masked] = of("falls most without France")["targets"]
    assert masked["probability"] == pytest.approx(found.evidence.tokens[4].without, rel=1e-3)
    [whence] = [one for one in paris.data.story if "carries Paris rather than" in one.text]
    _, *arguments = shlex.split(whence.commands[0])
    shares = json.loads(run_cli(*arguments, "--json").out)["integrated"]
    expected = [one.attribution for one in found.evidence.tokens]
    assert shares == pytest.approx(expected, abs=1e-3)
    patched = of("Patching finds")
    np.testing.assert_allclose(patched["residual"], found.route.carried.shares, atol=1e-4)
    lens = of("at rank 1 after")
    assert lens["top1_from"] == found.decided_state
    step = max(found.route.steps, key=lambda one: one.restored)
    attention = of(f"Head {step.name} takes it")
    assert attention["layer"] == step.layer
    assert of("taken from the counterfactual")["tests"]["sufficiency"] == pytest.approx(
        found.route.trust.sufficiency, abs=1e-4
    )


def test_json_has_the_form_that_is_documented(paris):
    found = paris.to_json()
    for side in ("answer", "rival"):
        assert set(found[side]) == {"token", "probability"}
    assert set(found["tokens"][0]) >= {"position", "token", "attribution", "ablation"}
    assert set(found["heads"][0]) >= {"layer", "head", "query", "key", "restored", "weight"}
    assert set(found["counterfactual"]) >= {"text", "answer"}
    assert set(found["tests"]) >= {"sufficiency", "necessity", "random"}
    assert set(found["tests"]["random"]) == {"mean", "std", "n"}
    assert found["verdict"] in ("explained", "weak", "none")
    assert isinstance(found["decided_after_layer"], int) and len(found["story"]) > 5
    assert json.loads(paris.content("json")) == json.loads(json.dumps(found))


def test_the_view_draws_the_text_the_layers_and_the_tests(paris):
    blocks = list(walk(paris.blocks))
    found = paris.data.why
    [strip] = [one for one in blocks if isinstance(one, TokenStrip)]
    assert strip.values == tuple(one.attribution for one in found.evidence.tokens)
    [graph] = [one for one in blocks if isinstance(one, RouteGraph)]
    np.testing.assert_array_equal(graph.nodes.values, found.route.carried.shares)
    [bars] = [one for one in blocks if isinstance(one, Bars)]
    assert bars.values[:2] == (1.0, found.route.trust.sufficiency)
    header, row = csv.reader(io.StringIO(paris.content("csv").decode()))
    saved = dict(zip(header, row, strict=True))
    assert float(saved["necessity"]) == found.route.trust.necessity
    assert run_again(paris)["verdict"] == found.verdict


@pytest.mark.parametrize(
    "changes, verdict",
    [
        ({}, "explained"),
        ({"necessity": 0.1}, "none"),
        ({"necessity": 0.1, "necessity_with_backups": 0.9}, "explained"),
        ({"sufficiency": 0.7}, "weak"),
        ({"sufficiency": 1.3}, "weak"),
        ({"sufficiency": 0.6}, "none"),
        ({"sufficiency": 1.4}, "none"),
        ({"random": Spread(0.5, 0.3, 20)}, "none"),
        ({"other_changes": (OtherChange("", "", 0.7, 0.7), OtherChange("", "", 0.9, 0.7))},
         "explained"),
        ({"other_changes": (OtherChange("", "", 0.5, 0.7), OtherChange("", "", 0.9, 0.7))}, "none"),
    ],
)  # fmt: skip
def test_the_verdict_is_by_its_thresholds(changes, verdict):
    trust = Trust(0.9, 0.7, Spread(0.02, 0.05, 20), Spread(0.0, 0.0, 20))
    assert replace(trust, **changes).verdict == verdict


def undecided(explorer, text):
    """The same model, its labels nearly level on a text: random weights have one label for all."""
    model = copy.deepcopy(explorer.model)
    with torch.no_grad():
        logits = model(torch.tensor([explorer.encode(text).ids]))[0]
        model.classifier.bias -= 0.99 * (logits - logits.mean())
    return Explorer(model, explorer.tokenizer, explorer.files)


@pytest.mark.parametrize("kind", ["labels", "any label", "tokens", "answer"])
def test_every_head_that_chooses_is_explained(explorers, kind):
    """The counterfactual by the model's own choice, and the commands of the story run."""
    asked, is_label = ASKS[kind], "label" in kind
    explorer = undecided(explorers[kind], HEADS_TEXT) if is_label else explorers[kind]
    session = Session(explorer, HEADS_TEXT, context=asked.get("pair"))
    result = WhyView(token=asked.get("position")).of(session)
    found, change = result.data.why, result.data.why.counterfactual
    assert change is not None and found.route is not None
    readout = build_readout(explorer, session.encoding, asked.get("position"))
    logits = readout.logits(torch.tensor([change.encoding.ids]))[0]
    assert int(logits.argmax()) == change.target.token_id != found.target.token_id
    assert result.headline and len(result.data.story) > 4
    for command in dict.fromkeys(each for one in result.data.story for each in one.commands):
        program, *arguments = shlex.split(command)
        done = run_cli(*arguments, "--json")
        assert (program, done.code) == ("mbexplore", 0), (command, done.err)
        if is_label:  # the file has the labels as they were
            break
