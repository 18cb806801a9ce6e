"""Labels, labels by token, answers and choices: against transformers, brute force and by hand."""

import itertools
import json
import shlex
from dataclasses import replace

import pytest
import torch
import transformers
from transformers import PreTrainedTokenizerFast

import mbexplore
from mbexplore.analysis.classify import (
    MOST_ANSWER_TOKENS,
    classify,
    compare_classes,
    encode_question,
)
from mbexplore.analysis.readout import NO_ANSWER
from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import save_model
from mbexplore.display.blocks import Bars, Heat, TokenStrip
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import CLASSIFIERS
from mbexplore.reference.batches import build_batch
from mbexplore.reference.verify import verify
from mbexplore.session import Session
from mbexplore.views.predict import PredictView
from tests.cli_runner import run_cli
from tests.parity import spread_weights
from tests.test_predict_views import nearly

TEXT, CONTEXT = "Where do the boats lie?", "The sea comes in, and the boats lie in $Harbour 7."
CHOICES = ["so he pays.", "and the sea comes in over the sands.", "- or not."]
MULTI = {"problem_type": "multi_label_classification"}
KINDS = {
    "labels": ("SequenceClassification", ("bad", "fair", "$good"), {}),
    "any label": ("SequenceClassification", ("a", "b"), MULTI),
    "number": ("SequenceClassification", ("score",), {"classifier_pooling": "mean"}),
    "tokens": ("TokenClassification", ("O", "B-PLACE", "I-PLACE"), {}),
    "answer": ("QuestionAnswering", ("start", "end"), {}),
    "choice": ("MultipleChoice", ("LABEL_0",), {"classifier_pooling": "mean"}),
}


@pytest.fixture(scope="module")
def explorers(tmp_path_factory):
    """A small model of every kind, with random weights and the bundled tokenizer."""
    tiny, found = locate("tiny").folder, {}
    base = ModernBertConfig.from_folder(tiny)
    for kind, (head, labels, changes) in KINDS.items():
        folder = tmp_path_factory.mktemp(kind.replace(" ", "-"))
        config = replace(
            base, hidden_size=32, intermediate_size=24, num_attention_heads=2, num_hidden_layers=3,
            layer_kinds=base.layer_kinds[:3], local_attention=8, labels=labels, **changes,
        )  # fmt: skip
        model = CLASSIFIERS[f"ModernBertFor{head}"](config)
        spread_weights(model, 5)
        save_model(folder, model)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).write_bytes((tiny / name).read_bytes())
        found[kind] = mbexplore.load(str(folder), device="cpu")
    return found


def ask(explorer, kind, **options):
    """The answer to the question that suits the kind of head."""
    context = CONTEXT if kind == "answer" else None
    choices = CHOICES if kind == "choice" else ()
    encodings = encode_question(explorer, TEXT, context, choices)
    return classify(explorer, encodings, choices, **options)


def see(explorer, kind, hf=True):
    """The view of the question that suits the kind of head."""
    session = Session(explorer, TEXT, context=CONTEXT if kind == "answer" else None)
    return PredictView(choices=tuple(CHOICES) if kind == "choice" else (), hf=hf).of(session)


def arguments(kind):
    more = {"answer": ["--context", CONTEXT], "choice": [f"--choice={c}" for c in CHOICES]}
    return ["predict", TEXT, *more.get(kind, [])]


@torch.no_grad()
def run_theirs(explorer, kind):
    """Logits of transformers from the texts themselves: its own tokenizer, padding and model."""
    folder = explorer.files.folder
    theirs = getattr(transformers, f"ModernBertFor{KINDS[kind][0]}").from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]"
    )
    if kind == "choice":
        inputs = tokenizer([TEXT] * 3, CHOICES, padding=True, return_tensors="pt")
        inputs = {k: v[None] for k, v in inputs.items() if k != "token_type_ids"}
    else:
        inputs = tokenizer(TEXT, CONTEXT if kind == "answer" else None, return_tensors="pt")
        inputs.pop("token_type_ids", None)
    output = theirs.eval()(**inputs)
    if kind == "answer":
        return torch.stack((output.start_logits[0], output.end_logits[0]), dim=-1)
    return output.logits[0]


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_theirs(explorers, kind):
    explorer = explorers[kind]
    found = ask(explorer, kind)
    expected = run_theirs(explorer, kind)
    assert found.logits.shape == expected.shape
    torch.testing.assert_close(found.logits, expected, rtol=0, atol=1e-5)
    comparison = compare_classes(explorer, found)
    assert comparison.max_abs_logit_difference < 1e-5 and comparison.same_order


def test_a_difference_of_theirs_is_seen(explorers, monkeypatch):
    explorer = explorers["labels"]
    real = explorer.reference.classify
    monkeypatch.setattr(explorer.reference, "classify", lambda *a: real(*a).roll(1, dims=-1))
    comparison = compare_classes(explorer, ask(explorer, "labels"))
    assert comparison.max_abs_logit_difference > 1e-2 and not comparison.same_order


def test_labels_have_the_probabilities_of_their_problem(explorers):
    [output] = ask(explorers["labels"], "labels").outputs
    logits = torch.tensor([c.logit for c in output.candidates])
    assert [c.logit for c in output.candidates] == sorted(logits.tolist(), reverse=True)
    assert [c.probability for c in output.candidates] == pytest.approx(logits.softmax(0).tolist())
    assert {c.answer: c.id for c in output.candidates} == {"bad": 0, "fair": 1, "$good": 2}
    [output] = ask(explorers["any label"], "any label").outputs
    logits = torch.tensor([c.logit for c in output.candidates])
    assert [c.probability for c in output.candidates] == pytest.approx(logits.sigmoid().tolist())
    [output] = ask(explorers["number"], "number").outputs
    [alone] = output.candidates
    assert alone.probability is None and alone.answer == "score"


def test_every_token_has_its_labels(explorers):
    found = ask(explorers["tokens"], "tokens", top_k=2)
    assert [output.position for output in found.outputs] == list(range(len(found.encodings[0])))
    for output, row in zip(found.outputs, found.logits, strict=True):
        assert [c.id for c in output.candidates] == row.argsort(descending=True)[:2].tolist()


def brute_force_spans(found):
    """Every span of the context and the empty answer, by falling score."""
    [encoding] = found.encodings
    text_from = encoding.text.index("\n") + 1
    inside = [
        i for i, (start, end) in enumerate(encoding.offsets) if start >= text_from and end > start
    ]
    starts, ends = found.logits.T.tolist()
    both = [(starts[0] + ends[0], None)]
    for a, b in itertools.product(inside, inside):
        if 0 <= b - a < MOST_ANSWER_TOKENS:
            both.append((starts[a] + ends[b], (a, b)))
    rows = found.logits[[0, *inside]].softmax(0).tolist()
    share = dict(zip([0, *inside], rows, strict=True))
    return [
        (score, span, share[span[0] if span else 0][0] * share[span[1] if span else 0][1])
        for score, span in sorted(both, key=lambda pair: -pair[0])
    ]


def test_answers_are_the_best_spans(explorers):
    explorer = explorers["answer"]
    found = ask(explorer, "answer", top_k=8)
    expected = brute_force_spans(found)
    for candidate, (score, span, share) in zip(found.outputs[0].candidates, expected, strict=False):
        assert candidate.logit == pytest.approx(score, abs=1e-5)
        assert candidate.tokens == span
        assert candidate.probability == pytest.approx(share, rel=1e-4)
        if span is not None:
            assert candidate.answer in CONTEXT and candidate.answer == candidate.answer.strip()
    assert len(found.outputs[0].candidates) == 8


def test_tokens_are_as_likely_part_of_the_answer_as_the_spans_over_them(explorers):
    view = see(explorers["answer"], "answer")
    expected = [0.0] * len(view.data.found.encodings[0])
    for _, span, share in brute_force_spans(view.data.found):
        for place in range(span[0], span[1] + 1) if span else ():
            expected[place] += share
    [strip] = [block for block in view.blocks if isinstance(block, TokenStrip)]
    assert max(expected) > 0.05 and strip.values == pytest.approx(expected, abs=1e-5)
    assert strip.mark == view.data.outputs[0].candidates[0].tokens[0]


def test_no_answer_and_the_longest_answer(explorers):
    from mbexplore.analysis.classify import _spans

    explorer = explorers["answer"]
    encoding = explorer.encode(TEXT, pair="water " * 60)
    logits = torch.zeros(len(encoding), 2)
    logits[0] = 9.0
    [nothing, *_] = _spans(encoding, logits, 3)
    assert (nothing.answer, nothing.tokens, nothing.logit) == (NO_ANSWER, None, 18.0)
    first = encoding.pair_positions[0]
    logits = torch.full((len(encoding), 2), -9.0)
    logits[1, :] = 50.0  # in the question, and never an answer
    logits[first, 0] = logits[first + MOST_ANSWER_TOKENS, 1] = 9.0
    logits[first + MOST_ANSWER_TOKENS - 1, 1] = 8.0
    [best, *_] = _spans(encoding, logits, 3)
    assert best.tokens == (first, first + MOST_ANSWER_TOKENS - 1)
    logits[first + 1, 1], logits[first, 0] = 20.0, -9.0
    logits[first + 5, 0] = 20.0  # starts after its end
    assert all(c.tokens is None or c.tokens[0] <= c.tokens[1] for c in _spans(encoding, logits, 9))


def test_choices_are_chosen(explorers):
    found = ask(explorers["choice"], "choice")
    [output] = found.outputs
    assert [c.id for c in output.candidates] == found.logits.argsort(descending=True).tolist()
    assert all(CHOICES[c.id] == c.answer for c in output.candidates)
    assert sum(c.probability for c in output.candidates) == pytest.approx(1.0)
    assert [encoding.texts for encoding in found.encodings] == [(TEXT, one) for one in CHOICES]


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_prints_both_sides_and_makes_its_view_again(explorers, kind):
    explorer = explorers[kind]
    view = see(explorer, kind)
    result = run_cli(*shlex.split(view.command)[1:], "--json")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert nearly(view.to_json(), answer)
    assert set(answer) == {"model", "task", "text", "context", "choices", "tokens", "answers", "hf"}
    ours = [a["predictions"] for a in answer["answers"]]
    assert nearly(ours, [a["hf_predictions"] for a in answer["answers"]])
    table = run_cli(*arguments(kind), "-m", explorer.info.name)
    assert table.code == 0 and "Hugging" in table.out and "same order as Hugging Face" in table.out
    alone = run_cli(*arguments(kind), "-m", explorer.info.name, "--no-hf")
    assert "Hugging" not in alone.out and TEXT in alone.out
    assert view.view.position(view.data) == (view.data.outputs[0].candidates[0].tokens or [None])[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_form(explorers, kind):
    explorer = explorers[kind]
    for hf in (False, True):
        view = see(explorer, kind, hf=hf)
        assert view.content("png").startswith(b"\x89PNG")
        lines = view.content("csv").decode().splitlines()
        assert len(lines) == 1 + sum(len(output.candidates) for output in view.data.outputs)
        assert lines[0].count(",") == (8 if hf else 5)
        [bars] = [block for block in view.blocks if isinstance(block, Bars)] or [None]
        best = view.data.outputs[0].candidates
        if kind == "tokens":
            [heat] = [block for block in view.blocks if isinstance(block, Heat)]
            assert pytest.approx(view.data.found.logits.softmax(-1).numpy()) == heat.values.T
        else:
            assert list(bars.values) == [
                c.logit if kind == "number" else c.probability for c in best
            ]
            assert (bars.theirs is not None) == hf
            assert bars.theirs is None or bars.theirs == pytest.approx(bars.values, abs=1e-4)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_verify_compares_the_head_too(explorers, kind, padded, monkeypatch):
    explorer = explorers[kind]
    batch = build_batch(explorer.encode(CONTEXT).ids, explorer.model.config, padded=padded)
    result = verify(explorer, batch)
    assert result.passed, result.first_mismatch
    assert {"final norm", "head", "logits"} <= {check.what for check in result.checks}
    bias = explorer.model.classifier.bias
    monkeypatch.setattr(bias, "data", bias.data + 1e-3)
    assert verify(explorer, batch).first_mismatch.what == "logits"


def test_the_wrong_pooling_is_caught(explorers, monkeypatch):
    explorer = explorers["number"]
    monkeypatch.setattr(
        explorer.model, "config", replace(explorer.model.config, classifier_pooling="cls")
    )
    assert verify(explorer, [explorer.encode(CONTEXT).ids]).first_mismatch.what == "head"


MISTAKES = {
    "answer without context": ("answer", [], 1, "needs a second text, the one to search; give it"),
    "one choice": ("choice", ["--choice", "a"], 1, "two choices or more"),
    "choice with context": ("choice", ["--choice=a", "--choice=b", "--context=c"], 1, "takes no"),
    "labels of choices": ("labels", ["--choice=a", "--choice=b"], 1, "takes no choices"),
    "empty context": ("answer", ["--context", " "], 1, "second text is empty"),
    "top-k": ("labels", ["-k", "0"], 1, "top_k is 0"),
}


@pytest.mark.parametrize(("kind", "more", "code", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_sentence(explorers, kind, more, code, sentence):
    result = run_cli("predict", TEXT, *more, "-m", explorers[kind].info.name)
    assert (result.code, result.out) == (code, "")
    assert sentence in result.err and result.err.count("\n") == 1


def test_models_of_another_kind_say_so():
    result = run_cli("predict", "The [MASK].", "--context", "The tide.")
    assert result.code == 2
    assert (
        "has no head that takes a second text or choices" in result.err
        and result.err.count("\n") == 1
    )
    with pytest.raises(ModelError, match="fine-tuned"):
        encode_question(mbexplore.load("tiny", device="cpu"), TEXT)


def test_a_pair_may_be_labelled_and_a_number_needs_no_problem_type(explorers):
    explorer = explorers["labels"]
    alone = classify(explorer, encode_question(explorer, TEXT))
    pair = classify(explorer, encode_question(explorer, TEXT, CONTEXT))
    assert not torch.allclose(alone.logits, pair.logits)
    with pytest.raises(RangeError):
        classify(explorer, pair.encodings, top_k=0)
    with pytest.raises(TextError, match="model takes"):
        encode_question(explorer, TEXT, "water " * 3000)
    assert encode_question(explorer, TEXT, "water " * 3000, truncate=True)[0].is_cut


def test_several_texts_of_a_classifier_are_saved_in_one_file(explorers, tmp_path):
    (tmp_path / "texts.txt").write_text("The tide rises.\nHe paid.\n")
    for kind in ("labels", "tokens"):
        arguments = ["predict", "--lines", tmp_path / "texts.txt", "-m", explorers[kind].info.name]
        arguments += ["--no-hf", "--json", "-o"]
        done = run_cli(*arguments, tmp_path / "many.json")
        printed = [json.loads(line) for line in done.out.splitlines()]
        assert json.loads((tmp_path / "many.json").read_text()) == {"results": printed}
        assert run_cli(*arguments, tmp_path / "many.csv").code == 0
        lines = (tmp_path / "many.csv").read_text().splitlines()
        assert lines[0].startswith("line,text,position,token,rank,answer")
        assert {line[0] for line in lines[1:]} == {"0", "1"}
