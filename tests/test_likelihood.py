"""Pseudo-log-likelihoods against transformers, token by token, and the numbers made of them."""

import json
from math import exp, log

import pytest
import torch

import mbexplore
from mbexplore.analysis import likelihood as module
from mbexplore.analysis.likelihood import compare_with_transformers, likelihood, likelihoods
from mbexplore.display.blocks import TokenStrip, walk
from mbexplore.errors import TextError
from tests.cli_runner import run_cli
from tests.handbuilt import build_explorer, build_random

TEXT = "The fishermen wait for the unreliable tide."
MASKINGS = ["token", "word"]


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def brute_force(explorer, text, masking):
    """Each token by a pass of transformers of its own, the text masked by hand."""
    encoding, mask = explorer.encode(text), explorer.tokenizer.mask_token_id
    found = []
    for i, word in enumerate(encoding.words):
        if word is None:
            continue
        hidden = {i}
        if masking == "word":  # the later tokens of the word
            hidden |= {j for j in range(i, len(encoding)) if encoding.words[j] == word}
        ids = [mask if j in hidden else token for j, token in enumerate(encoding.ids)]
        with torch.inference_mode():
            logits = explorer.reference._model(torch.tensor([ids])).logits[0, i]
        found.append(float(logits.log_softmax(-1)[encoding.ids[i]]))
    return found


@pytest.mark.parametrize("masking", MASKINGS)
def test_every_token_is_what_transformers_gives(explorer, masking):
    found = likelihood(explorer, TEXT, masking=masking)
    expected = brute_force(explorer, TEXT, masking)
    assert found.log_probabilities == pytest.approx(expected, abs=2e-4)
    assert found.pll == pytest.approx(sum(expected), abs=1e-3)
    other = compare_with_transformers(explorer, found)
    assert other.log_probabilities == pytest.approx(expected, abs=1e-5)
    assert other.max_abs_difference < 2e-4


def test_the_rest_of_a_word_gives_its_beginning_away(explorer):
    alone, within = (likelihood(explorer, TEXT, masking=masking) for masking in MASKINGS)
    words = [alone.encoding.words[i] for i in alone.positions]
    firsts = [n for n, word in enumerate(words) if words.count(word) > 1 and word not in words[:n]]
    assert len(firsts) >= 2
    for n, word in enumerate(words):
        last = word not in words[n + 1 :]
        same = within.log_probabilities[n] == pytest.approx(alone.log_probabilities[n], abs=1e-4)
        assert same == last  # only a word's last token has the same context in both


def test_means_are_of_what_they_say(explorer):
    text = "Wait, the café closes."
    found = likelihood(explorer, text)
    tokens = len(explorer.encode(text)) - 2
    assert (len(found.positions), found.words, found.bytes) == (tokens, 4, 23)
    assert found.per_token == pytest.approx(found.pll / tokens)
    assert found.bits_per_byte == pytest.approx(-found.pll / log(2) / 23)
    assert found.perplexity(found.words) == pytest.approx(exp(-found.pll / 4))


def test_many_texts_get_what_each_gets_alone(explorer, monkeypatch):
    texts = [TEXT, "The tide rises.", "[MASK] falls.", TEXT]
    alone = [likelihood(explorer, text) for text in texts]
    for together in (module.TOGETHER, 40):  # also where a text is split between two runs
        monkeypatch.setattr(module, "TOGETHER", together)
        for one, other in zip(likelihoods(explorer, iter(texts)), alone, strict=True):
            assert one.positions == other.positions
            assert one.log_probabilities == pytest.approx(other.log_probabilities, abs=1e-4)


def test_masks_are_no_tokens_of_the_text():
    explorer = build_explorer(build_random())
    found = likelihood(explorer, "a [MASK] c")
    assert (found.tokens, found.positions) == (("a", "c"), (1, 3))
    with pytest.raises(TextError, match="has no token to score; give one word"):
        likelihood(explorer, "[MASK]")


def test_progress_counts_tokens(explorer):
    steps = []
    found = likelihood(explorer, TEXT, progress=lambda *step: steps.append(step))
    count = len(found.positions)
    assert steps == [(n, count) for n in range(1, count + 1)]


def test_the_commands_give_one_json(explorer):
    found = likelihood(explorer, TEXT, masking="word")
    for command in (["likelihood"], ["score", "--sentence"]):
        done = run_cli(*command, TEXT, "--masking", "word", "--json")
        assert done.code == 0, done.err
        answer = json.loads(done.out)
        assert answer["tokens"] == list(found.tokens) and answer["masking"] == "word"
        assert answer["log_probabilities"] == pytest.approx(found.log_probabilities, abs=1e-5)
        assert answer["hf_log_probabilities"] == pytest.approx(found.log_probabilities, abs=2e-4)
        for name in ("pll", "per_token", "bits_per_byte"):
            assert answer[name] == pytest.approx(getattr(found, name), abs=1e-3)
        assert answer["perplexity"]["token"] == pytest.approx(exp(-found.per_token), rel=1e-3)


def test_the_strip_has_the_surprise_of_every_token(explorer):
    result = explorer.likelihood(TEXT, hf=False)
    [strip] = [block for block in walk(result.blocks) if isinstance(block, TokenStrip)]
    found = result.data.found
    assert strip.tokens == found.encoding.tokens and strip.values[0] == strip.values[-1] == 0
    bits = [-value / log(2) for value in found.log_probabilities]
    assert strip.values[1:-1] == pytest.approx(bits)
