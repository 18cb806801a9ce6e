"""The bundled model: what it is, what it knows, and that transformers reads it the same."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from mbexplore.checkpoints.model import load_model
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.training import evaluate
from mbexplore.training.corpus import CorpusSpec, read_documents, read_words
from mbexplore.training.tokenizer import SPECIAL_TOKENS, split_words
from tests.cli_runner import run_cli

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "assets" / "tiny"
CARD = (TINY / "README.md").read_text(encoding="utf-8")
HELDOUT = ROOT.parent / "shared" / "corpus" / "heldout.txt.xz"

# A little below what the card says was measured.
LEAST_HELDOUT = 0.4
LEAST_CLOZE = (0.45, 0.71)


@pytest.fixture(scope="module")
def model():
    return load_model(TINY, ModernBertForMaskedLM, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(TINY / "tokenizer.json"))


@pytest.fixture(scope="module")
def suite():
    return evaluate.load_cloze(ROOT / "tests" / "data" / "cloze.jsonl")


def test_it_is_small():
    assert sum(path.stat().st_size for path in TINY.rglob("*")) <= 25_000_000


def test_it_is_a_modernbert_in_every_respect(model):
    config = model.config
    assert config.num_hidden_layers >= 9
    assert config.layer_kinds[3:6] == ("global", "local", "local")
    assert (config.global_rope_theta, config.local_rope_theta) == (160_000.0, 10_000.0)
    assert config.half_window(4) == 16
    assert config.max_position_embeddings >= 2048
    assert config.hidden_activation == "gelu"
    assert config.tie_word_embeddings
    assert not (config.norm_bias or config.attention_bias or config.mlp_bias)
    biases = [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert biases == ["decoder.bias"]


def test_its_tokenizer_behaves_as_modernbert(tokenizer):
    assert 8_000 <= tokenizer.get_vocab_size() <= 16_000
    assert all(tokenizer.token_to_id(token) is not None for token in SPECIAL_TOKENS)
    ids = tokenizer.encode("Paris is in[MASK].").ids
    assert tokenizer.encode("Paris is in [MASK].").ids == ids  # [MASK] eats the space before it
    assert tokenizer.encode("Cafe\u0301").ids == tokenizer.encode("Caf\u00e9").ids
    assert tokenizer.encode("a").tokens == ["[CLS]", "a", "[SEP]"]
    assert tokenizer.padding is None
    assert tokenizer.truncation is None


def test_the_names_people_ask_for_are_one_token(tokenizer):
    words = read_words(TINY / "words.txt")
    assert len(words) > 500
    assert {"Tokyo", "Rome", "Madrid", "Cairo", "Vienna", "France", "sparrow", "zinc"} <= {*words}
    assert split_words(tokenizer, words) == []


def test_paris_is_the_capital_of_france(model, tokenizer):
    question = evaluate.Cloze("", "The capital of France is [MASK].", ("Paris",))
    (result,) = evaluate.answer_cloze(model, tokenizer, [question])
    assert result.answers[0] == "Paris"


def test_the_cloze_suite_is_sound(suite, tokenizer):
    assert len(suite) >= 200
    assert len({cloze.prompt for cloze in suite}) == len(suite)
    for cloze in suite:
        assert cloze.prompt.count("[MASK]") == 1
        assert any(not split_words(tokenizer, [answer]) for answer in cloze.answers), cloze.prompt


def test_it_answers_the_cloze_suite(model, tokenizer, suite, capsys):
    table = evaluate.cloze_table(evaluate.answer_cloze(model, tokenizer, suite))
    with capsys.disabled():
        print()
        for name, (first, five, count) in table.items():
            print(f"{name:18} top-1 {first:6.1%}  top-5 {five:6.1%}  of {count}")
    first, five, _ = table["all"]
    assert first >= LEAST_CLOZE[0]
    assert five >= LEAST_CLOZE[1]


def test_its_card_has_the_figures_of_the_suite(model, tokenizer, suite):
    table = evaluate.cloze_table(evaluate.answer_cloze(model, tokenizer, suite))
    for name, (first, five, count) in table.items():
        assert f"| {name} | {first:.1%} | {five:.1%} | {count} |" in CARD


@pytest.mark.skipif(not HELDOUT.exists(), reason="the held-out text is not part of the project")
def test_its_card_names_the_heads_that_the_command_finds(tmp_path):
    """With the paragraphs that the card's own command picks."""
    lines = [line for document in read_documents(CorpusSpec(HELDOUT)) for line in document]
    long = [line for line in lines if 50 <= len(line.split()) <= 100]
    (tmp_path / "paragraphs.txt").write_text("\n".join(long[13::14]), encoding="utf-8")
    found = json.loads(run_cli("heads", "--lines", tmp_path / "paragraphs.txt", "--json").out)
    assert f"{found['texts']} held-out paragraphs, {found['tokens']:,} tokens" in CARD
    heads = {(head["layer"], head["head"]): head for head in found["heads"]}
    for layer, head, kind, row in (
        (5, 2, "previous", "attends to the token before | {:.2f} on it"),
        (5, 1, "next", "attends to the token after | {:.2f} on it"),
        (1, 3, "previous", "attends to the token before | {:.2f} on it"),
        (0, 2, "punctuation", "gathers at punctuation, near and far (global) | {:.2f} on it"),
        (6, 0, "sep", "gathers at the separators (global), the most of all heads | {:.2f} on"),
    ):
        share = heads[layer, head]["masses"][kind]
        assert f"| {layer}.{head} | {row.format(share)}" in CARD
    assert found["strongest"]["separator"]["layer"] == 6


@pytest.mark.skipif(not HELDOUT.exists(), reason="the held-out text is not part of the project")
def test_it_predicts_held_out_text(model, tokenizer):
    documents = read_documents(CorpusSpec(HELDOUT))[::6]  # all of it takes minutes
    rows = evaluate.heldout_rows(tokenizer, documents, passes=1)
    accuracy = evaluate.measure_heldout(model, rows)
    assert accuracy.count > 3_000
    assert accuracy.top1 >= LEAST_HELDOUT


@pytest.mark.skipif(not HELDOUT.parent.exists(), reason="the corpus is not part of the project")
def test_no_question_stands_in_the_training_text(suite):
    def bare(text):
        return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())

    asked = {bare(c.prompt.replace("[MASK]", a)): c for c in suite for a in c.answers}
    found = []
    for path in sorted(HELDOUT.parent.glob("*.txt.xz")):
        for document in read_documents(CorpusSpec(path)):
            for paragraph in document:
                for sentence in paragraph.replace("?", ".").replace("!", ".").split(". "):
                    if len(sentence) < 120 and bare(sentence) in asked:
                        found.append((path.name, sentence))
    assert found == []


def test_transformers_gives_the_same_answers(model, tokenizer, suite):
    transformers = pytest.importorskip("transformers")
    fill = transformers.pipeline("fill-mask", model=str(TINY), dtype=torch.float32, device="cpu")
    asked = suite[::15]
    ours = evaluate.answer_cloze(model, tokenizer, asked)
    for mine, theirs in zip(ours, fill([c.prompt for c in asked]), strict=True):
        assert [answer["token_str"].strip() for answer in theirs] == list(mine.answers)


def test_its_card_says_what_it_must():
    for part in ("CC BY 4.0", "WordNet 3.0 Copyright 2006 by Princeton University", "top-1"):
        assert part in CARD
    assert "/work" not in CARD
    config = json.loads((TINY / "config.json").read_text())
    assert config["model_type"] == "modernbert"


def test_the_card_says_what_the_hub_shows():
    """`widget` and `model-index`: figures of the card's own tables, answers of the model."""
    from huggingface_hub import ModelCard

    card = ModelCard.load(TINY / "README.md")
    results = [(r.dataset_name, r.metric_name, r.metric_value) for r in card.data.eval_results]
    measured = next(line for line in CARD.splitlines() if line.startswith("| this model |"))
    asked = next(line for line in CARD.splitlines() if line.startswith("| all |"))
    for dataset, metric, value in results:
        row = measured if "held-out" in dataset else asked
        assert f"| {value}" in row, (dataset, metric)
    assert len(results) == 5
    widgets = card.data.to_dict()["widget"]
    for example in widgets:
        answer = json.loads(run_cli("predict", example["text"], "--no-hf", "--json").out)
        found = {one["token"]: one["probability"] for one in answer["masks"][0]["predictions"]}
        for shown in example.get("output", ()):
            assert found[shown["label"]] == pytest.approx(shown["score"], abs=1e-3)
    assert any("output" in example for example in widgets)
