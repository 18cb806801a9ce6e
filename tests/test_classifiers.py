"""Models with another head than the MLM one, against transformers."""

import copy
import json

import pytest
import torch
import transformers
from transformers import ModernBertConfig as TheirConfig

import mbexplore
from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import open_model, save_model
from mbexplore.errors import ModelError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import CLASSIFIERS
from mbexplore.network.model import ModernBertForMaskedLM, ModernBertModel
from tests import parity
from tests.cli_runner import run_cli

LABELS = {"0": "bad", "1": "fair", "2": "good"}
NAMES = list(CLASSIFIERS)


def config_of(name, seed=12, **changes):
    labels = {"0": "start", "1": "end"} if name.endswith("QuestionAnswering") else LABELS
    config = parity.draw_case(seed).config | {"architectures": [name], "id2label": labels}
    return config | changes


def build(name, **changes):
    """Our model and theirs with the same weights."""
    config = config_of(name, **changes)
    ours = CLASSIFIERS[name](ModernBertConfig.from_dict(config)).eval()
    parity.spread_weights(ours, 12)
    theirs_config = copy.deepcopy(config)
    if theirs_config.get("local_rope_theta", 0) is None:
        theirs_config["local_rope_theta"] = theirs_config["global_rope_theta"]
    theirs = getattr(transformers, name)(TheirConfig.from_dict(theirs_config)).eval()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def inputs(name, padded=True):
    """Two rows, the second padded on the right; two choices of two texts for multiple choice."""
    case = parity.Case(12, {}, (90, 40) if padded else (90, 90), "right")
    ids, mask = parity.build_inputs(case)
    if name.endswith("MultipleChoice"):
        ids, mask = torch.stack((ids, ids.flip(0))), torch.stack((mask, mask.flip(0)))
    return ids, mask


def their_logits(output, mask):
    if "start_logits" in output:
        return torch.stack((output.start_logits, output.end_logits), dim=-1)
    return output.logits


def differs(name, ours, theirs, padded):
    ids, mask = inputs(name, padded)
    with torch.no_grad():
        found, expected = ours(ids, mask), their_logits(theirs(ids, mask), mask)
    assert found.shape == expected.shape
    if found.shape[:2] == mask.shape and found.dim() == 3:  # a label a token
        return parity.largest_difference(found, expected, mask)
    return float((found - expected).abs().max())


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_theirs(name, pooling, padded):
    ours, theirs = build(name, classifier_pooling=pooling)
    assert differs(name, ours, theirs, padded) < 1e-5


@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
def test_the_other_pooling_is_seen(name):
    ours, theirs = build(name, classifier_pooling="cls")
    theirs.config.classifier_pooling = "mean"
    assert differs(name, ours, theirs, padded=True) > 1e-3


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("name", [NAMES[0], NAMES[3]])
def test_padded_on_the_left_a_text_gets_what_it_gets_alone(name, pooling):
    """For pooling "cls" transformers labels sequences by the padding at position 0."""
    ours, theirs = build(name, classifier_pooling=pooling)
    ids, mask = inputs(name)
    row = (1,) if name == NAMES[0] else (0, 1)  # the one that is padded
    alone = ids[row][mask[row] != 0]
    pads = ids.shape[-1] - len(alone)
    assert pads > 0
    ids[row], mask[row] = ids[row].roll(pads), mask[row].roll(pads)
    with torch.no_grad():
        [own] = ours(alone[(None,) * len(row)]).view(1, -1)
        found, expected = ours(ids, mask)[row], theirs(ids, mask).logits[row]
    assert (found - own).abs().max() < 1e-4
    distance = (found - expected).abs().max()
    differs_there = name == NAMES[0] and pooling == "cls"
    assert distance > 1e-2 if differs_there else distance < 1e-4


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_nothing_and_may_be_left_out(name, pooling):
    ours, _ = build(name, classifier_pooling=pooling)
    ids, mask = inputs(name, padded=False)
    torch.testing.assert_close(ours(ids), ours(ids, mask), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_files_go_both_ways(name, tmp_path):
    ours, theirs = build(name, classifier_pooling="mean")
    theirs.save_pretrained(tmp_path / "theirs")
    opened = open_model(tmp_path / "theirs")
    assert type(opened) is CLASSIFIERS[name]
    assert differs(name, opened, theirs, padded=True) < 1e-5
    assert opened.config.labels == ours.config.labels
    save_model(tmp_path / "ours", opened)
    saved = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert saved["architectures"] == [name]
    assert saved["label2id"] == {label: int(i) for i, label in saved["id2label"].items()}
    again, report = getattr(transformers, name).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert tuple(again.config.id2label.values()) == ours.config.labels
    assert differs(name, opened, again.eval(), padded=True) < 1e-5


UNNAMED = {
    "nothing tells": ({}, ModernBertModel),
    "another class": ({"architectures": ["ModernBertForRewards"]}, ModernBertModel),
    "only texts have a problem": ({"problem_type": "regression"}, CLASSIFIERS[NAMES[0]]),
    "parts of names": (
        {"id2label": {"0": "O", "1": "B-PLACE", "2": "I-PLACE"}},
        CLASSIFIERS[NAMES[1]],
    ),
    "one label is no part": (
        {"id2label": {"0": "O", "1": "B-PLACE", "2": "PLACE"}},
        ModernBertModel,
    ),
}


@pytest.mark.parametrize(("changes", "kind"), UNNAMED.values(), ids=UNNAMED)
def test_a_classifier_that_no_architecture_names(changes, kind, tmp_path):
    ours, _ = build(NAMES[0])
    save_model(tmp_path, ours)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"architectures": None, "problem_type": None} | changes
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert type(open_model(tmp_path)) is kind


def test_what_a_classifier_of_unknown_kind_lacks_is_said(tmp_path):
    tiny = mbexplore.load("tiny", device="cpu")
    save_model(tmp_path, CLASSIFIERS[NAMES[0]](tiny.model.config))
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": None}))
    (tmp_path / "tokenizer.json").write_bytes((tiny.files.folder / "tokenizer.json").read_bytes())
    refused = run_cli("predict", "The tide [MASK].", "-m", tmp_path)
    assert (refused.code, refused.out, refused.err.count("\n")) == (1, "", 1)
    assert "has a classifier, and its config.json does not tell which" in refused.err
    assert all(name in refused.err for name in NAMES)
    assert run_cli("attention", "The tide rises.", "-l", "0", "-m", tmp_path).code == 0


def test_a_masked_model_is_still_one(tmp_path):
    case = parity.draw_case(12)
    save_model(tmp_path, parity.build_ours(case))
    assert type(open_model(tmp_path)) is ModernBertForMaskedLM


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "id2label"),
        ({"id2label": ["a"]}, "id2label"),
        ({"classifier_pooling": "max"}, "classifier_pooling is 'max'"),
    ],
)
def test_a_config_that_can_t_be_used_is_one_sentence(labels, sentence):
    with pytest.raises(ModelError, match=sentence):
        CLASSIFIERS[NAMES[0]](ModernBertConfig.from_dict(config_of(NAMES[0], **labels)))


def test_the_number_of_labels_alone_names_them():
    config = ModernBertConfig.from_dict({"num_labels": 3})
    assert config.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert ModernBertConfig.from_dict({}).labels == ("LABEL_0", "LABEL_1")


def test_a_classifier_is_fine_tuned_in_a_plain_loop():
    torch.manual_seed(0)
    ours, _ = build(NAMES[0])
    ids = torch.randint(1, 61, (24, 12))
    targets = torch.arange(24) % 3
    ids[:, 3] = 1 + targets  # what the label is told by
    optimizer = torch.optim.AdamW(ours.parameters(), lr=3e-3)
    ours.train()
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(ours(ids), targets).backward()
        optimizer.step()
    assert (ours.eval()(ids).argmax(dim=-1) == targets).float().mean() >= 0.95


def test_every_other_view_works(tmp_path):
    tiny = mbexplore.load("tiny", device="cpu")
    config = tiny.model.config
    model = CLASSIFIERS[NAMES[0]](config)
    model.encoder.load_state_dict(tiny.model.encoder.state_dict())
    save_model(tmp_path, model)
    (tmp_path / "tokenizer.json").write_bytes(
        (locate("tiny").folder / "tokenizer.json").read_bytes()
    )
    views = (
        ["attention", "The tide rises.", "-l", "0"],
        ["info"],
        ["embed", "The tide."],
        ["lens", "The tide rises."],
    )
    for command in views:
        result = run_cli(*command, "-m", tmp_path)
        assert result.code == 0, (command, result.err)
