"""The model as a library: fine-tuned in a plain PyTorch loop, saved, opened again and explored."""

import itertools
import json
import random
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import mbexplore
from mbexplore.analysis.classify import classify, encode_question
from mbexplore.checkpoints.model import save_model
from mbexplore.network.heads import ModernBertForSequenceClassification
from tests.cli_runner import run_cli

LABELS = ("sea", "money")
SUBJECTS = ("The old man", "My sister", "A woman from the town", "The teacher", "He")
WORDS = (
    ("ship", "wave", "island", "river", "coast", "boat", "harbour", "fish"),
    ("bank", "price", "market", "tax", "pound", "trade", "debt", "shop"),
)
FRAMES = ("{} saw the {} today.", "{} wrote about a {}.")


def texts():
    """Every subject, frame and word: a text and its label, in a fixed disorder."""
    found = [
        (frame.format(subject, word), label)
        for subject, frame in itertools.product(SUBJECTS, FRAMES)
        for label, words in enumerate(WORDS)
        for word in words
    ]
    random.Random(0).shuffle(found)
    return found


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A two-class model trained on half of the texts, its folder, and the other half.

    Forty steps of sixteen short texts: some six seconds on two cores.
    """
    torch.manual_seed(0)
    tiny = mbexplore.load("tiny", device="cpu")
    config = replace(tiny.model.config, labels=LABELS, classifier_pooling="mean")
    model = ModernBertForSequenceClassification(config)
    model.encoder.load_state_dict(tiny.model.encoder.state_dict())
    model.head.load_state_dict(tiny.model.head.state_dict())
    samples = texts()
    half = len(samples) // 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    model.train()
    for _, start in itertools.product(range(8), range(0, half, 16)):
        batch = samples[start : min(start + 16, half)]
        ids, mask = tiny.pad([tiny.encode(text).ids for text, _ in batch])
        labels = torch.tensor([label for _, label in batch])
        optimizer.zero_grad()
        F.cross_entropy(model(ids, mask), labels).backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("tuned")
    save_model(folder, model.eval())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((tiny.files.folder / name).read_bytes())
    return model, folder, samples[half:]


def test_it_is_right_on_texts_it_has_not_seen(tuned):
    model, folder, unseen = tuned
    explorer = mbexplore.load(str(folder), device="cpu")
    right = 0
    for text, label in unseen:
        encodings = encode_question(explorer, text)
        found = classify(explorer, encodings)
        right += found.outputs[0].candidates[0].answer == LABELS[label]
        with torch.no_grad():
            in_memory = model(torch.tensor([encodings[0].ids]))[0]
        torch.testing.assert_close(found.logits, in_memory, rtol=0, atol=1e-5)
    assert right / len(unseen) >= 0.95


def test_it_is_explored_like_any_other(tuned):
    _, folder, unseen = tuned
    text, label = unseen[0]
    result = run_cli("predict", text, "-m", folder, "--json")
    answer = json.loads(result.out)
    assert answer["answers"][0]["predictions"][0]["answer"] == LABELS[label]
    assert answer["hf"]["max_abs_logit_difference"] < 1e-5 and answer["hf"]["same_order"]
    recording = mbexplore.load(str(folder), device="cpu").record(text)
    torch.testing.assert_close(
        recording.attention(0).sum(-1), torch.ones_like(recording.attention(0)[..., 0])
    )
    assert run_cli("verify", text, "-m", folder).code == 0
