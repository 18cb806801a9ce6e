"""What a checkpoint's folder may hold to harm who opens it: each is one sentence, and soon."""

import json
import os
import random

import pytest
import torch
from safetensors.torch import save_file

from mbexplore.checkpoints.folder import read_shards
from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.model import save_model
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.errors import MbexploreError, ModelError, TextError
from mbexplore.explorer import load
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.reading import JSON_BYTES
from tests.parity import SMALL

TINY = locate("tiny").folder
SMALL_FILES = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
]
WEIGHTS = ["model.safetensors", "model.safetensors.index.json"]
CONFIG = {
    "model_type": "modernbert",
    **SMALL,
    "cls_token_id": 1,
    "sep_token_id": 3,
    "architectures": ["ModernBertForMaskedLM"],
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small checkpoint that opens."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    save_model(folder, ModernBertForMaskedLM(ModernBertConfig.from_dict(CONFIG)))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "tokenizer.json").write_bytes((TINY / "tokenizer.json").read_bytes())
    (folder / "tokenizer_config.json").write_text('{"mask_token": "[MASK]"}')
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it to break."""
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def sentence_of(folder, text="A [MASK]."):
    """What is said of a folder that can't be opened, or of its first text."""
    with pytest.raises(MbexploreError) as caught:
        load(str(folder), device="cpu").fill_masks(text)
    return checked(str(caught.value))


def checked(sentence):
    """A sentence that may be printed anywhere."""
    assert sentence.endswith(".") and sentence.isprintable() and len(sentence) <= 1_000
    sentence.encode("utf-8")
    return sentence


@pytest.mark.parametrize("name", [*SMALL_FILES, *WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/full", "folder"])
@pytest.mark.skipif(os.name == "nt", reason="pipes and devices are posix")
def test_a_file_that_never_ends(folder, name, kind):
    if name == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    assert f"{path} is no regular file" in sentence_of(folder)


def test_a_link_to_a_file_is_a_file(folder, whole):
    for path in list(folder.iterdir()):
        path.unlink()
        path.symlink_to(whole / path.name)
    assert load(str(folder), device="cpu").fill_masks("A [MASK].").masks


@pytest.mark.parametrize("name", [*SMALL_FILES[:1], *SMALL_FILES[2:], WEIGHTS[1]])
@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"[" * 10**5 + b"]" * 10**5, "nested"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than 64 deep"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "5,001 digits"),
        (b'{"a": "\\ud800"}', "half of a character, U\\+D800"),
        (b'{"\\udfff": 1}', "half of a character, U\\+DFFF"),
        (b"[1]", "no JSON object"),
        (b"\xff\xfe", "can't be read as JSON"),
        (b" " * (JSON_BYTES + 1), "more than 16 MiB"),
    ],
    ids=["brackets", "objects", "digits", "surrogate", "surrogate key", "list", "bytes", "size"],
)
def test_json_that_breaks_a_parser(folder, name, content, named):
    if name == WEIGHTS[1]:
        (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=named) as caught:
        load(str(folder), device="cpu")
    assert str(folder / name) in checked(str(caught.value))


@pytest.mark.parametrize(
    "key",
    [
        *("norm_eps", "initializer_range", "initializer_cutoff_factor", "mlp_dropout"),
        *("global_rope_theta", "local_rope_theta", "hidden_size", "classifier_dropout"),
    ],
)
@pytest.mark.parametrize("number", ["1" + "0" * 99, "1e400", "1e308", "-1", "NaN", "Infinity"])
def test_numbers_that_break_what_uses_them(folder, key, number):
    text = json.dumps(CONFIG)[:-1] + f', "{key}": {number}}}'
    (folder / "config.json").write_text(text)
    assert f"{key} is" in sentence_of(folder)


LONG = "x" * 10**6


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": LONG},
        {"hidden_activation": LONG},
        {"layer_types": [LONG, "y"]},
        {"id2label": {LONG: LONG}},
        {"rope_parameters": {LONG: {}}},
        {"architectures": {LONG: 1}},
        {"vocab_size": [[[[LONG[:999]] * 9] * 9] * 9] * 9},
        {"hidden_activation": "\x1b[31m\u202eevil\u2028"},
        {"model_type": ["\x1b]0;title\x07"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_values_are_short_and_printable_in_sentences(folder, change):
    (folder / "config.json").write_text(json.dumps(CONFIG | change))
    sentence_of(folder)


def test_names_of_tensors_and_shards_are_short_and_printable(folder):
    tensors = {"a": torch.ones(1)}
    for name in ("\x1b[31m" + "x" * 10**6, "n" * 300):
        save_file({name: torch.ones(1)}, folder / "model.safetensors")
        sentence_of(folder)
    (folder / "model.safetensors").unlink()
    for name in ("y" * 5_000, "\x1b[31m", "..", "", "a/b", 7):
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        sentence_of(folder)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "one.safetensors")}))
    assert read_shards(index) == ["one.safetensors"]


def test_more_labels_than_any_model_has_are_refused(folder):
    labels = {str(i): "" for i in range(200_000)}
    content = json.dumps(CONFIG | {"id2label": labels}, separators=(",", ":"))
    assert len(content) < JSON_BYTES
    (folder / "config.json").write_text(content)
    assert "id2label has 200,000 labels" in sentence_of(folder)


BARE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": None,
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
}
DOUBLE = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
BROKEN = {
    "FixedLength": {"pre_tokenizer": {"type": "FixedLength", "length": 0}},
    "Precompiled": {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    "no unknown": {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "[UNK]"}},
    "Unigram": {"model": {"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]]}},
    "doubling": {"normalizer": {"type": "Sequence", "normalizers": [DOUBLE] * 60}},
    "doubling twice": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Sequence", "normalizers": [DOUBLE] * 30}] * 2,
        }
    },
    "a merge of nothing": {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}},
    "a template of nothing": {
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}],
            "pair": [],
            "special_tokens": {},
        }
    },
}


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_a_tokenizer_that_breaks_is_one_sentence_at_the_latest_with_a_text(folder, change):
    (folder / "tokenizer.json").write_text(json.dumps(BARE | change))
    (folder / "tokenizer_config.json").write_text('{"mask_token": "a"}')
    sentence_of(folder, "aaaaaaaa b")


def test_an_empty_pattern_ends(folder):
    replace = {"type": "Replace", "pattern": {"String": ""}, "content": "x"}
    (folder / "tokenizer.json").write_text(json.dumps(BARE | {"normalizer": replace}))
    try:
        assert Tokenizer.from_folder(folder).encode("a b").ids
    except (ModelError, TextError) as error:
        checked(str(error))


@pytest.mark.parametrize(
    "name", ["~nobody-of-that-name", "x" * 5_000, "a\0b", "\udc80", "/" + "y/" * 3_000, "\x1b[31m"]
)
def test_a_name_that_can_be_no_model(name):
    with pytest.raises(ModelError, match="There is no model"):
        locate(name)
    try:
        locate(name)
    except ModelError as error:
        checked(str(error))


def test_a_folder_of_any_name_has_a_printable_one(whole, tmp_path):
    folder = tmp_path / "m\x1b[31m\u202e\udcff"
    folder.symlink_to(whole)
    files = locate(str(folder))
    assert files.folder == folder and files.name.isprintable() and files.source.isprintable()
    assert files.display_name == "m\\x1b[31m\\u202e\\udcff"
    other = tmp_path / "m\x1b[31m"  # safetensors takes only paths that are Unicode
    other.symlink_to(whole)
    info = load(str(other), device="cpu").info
    assert info.name.endswith("m\\x1b[31m") and info.source == info.name
    assert "no safetensors file" in sentence_of(folder)


MISTAKES = {
    "model.onnx": "ONNX",
    "model.gguf": "GGUF",
    "pytorch_model.bin": "pickle",
    "model.safetensors": "name its folder",
    "config.json": "name its folder",
    "notes.txt": "name its folder",
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_file_in_the_place_of_a_folder(folder, name):
    (folder / name).touch()
    with pytest.raises(ModelError, match=MISTAKES[name]) as caught:
        locate(str(folder / name))
    assert str(folder) in str(caught.value) or "safetensors only" in str(caught.value)
    (folder / "config.json").unlink()
    if MISTAKES[name] == "name its folder":
        (folder / name).touch()
        (folder / "config.json").unlink(missing_ok=name != "config.json")
        with pytest.raises(ModelError, match=r"no folder|no model"):
            locate(str(folder / name))


def test_an_adapter_is_named_with_its_base(folder):
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "answerdotai/ModernBERT-base"}
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    assert "adapter beside its model" in sentence_of(folder)
    (folder / "config.json").unlink()
    message = sentence_of(folder)
    assert "is an adapter" in message and "'answerdotai/ModernBERT-base'" in message
    assert "merge_and_unload" in message


NOISE = [None, True, -1, 0, 3, 2**40, 10**90, 1e300, "", "gelu", [], {}, [[]], "\x1b", "x" * 999]


def mutate(value, pick):
    """A JSON value with one thing in it changed, taken out or put in."""
    if isinstance(value, dict) and value and pick(range(4)):
        key = pick(sorted(value))
        if not pick(range(6)):
            return {k: v for k, v in value.items() if k != key}
        return value | {key: mutate(value[key], pick)}
    if isinstance(value, list) and value and pick(range(4)):
        i = pick(range(min(len(value), 9)))
        return [*value[:i], mutate(value[i], pick), *value[i + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and pick(range(2)):
        return value + pick([-1, 1, 7])
    return pick(NOISE)


def test_mutated_files_open_rightly_or_are_one_sentence(folder):
    """Every outcome is an answer of finite numbers or one sentence."""
    vocabulary = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "a": 4, "b": 5}
    special = [
        {"id": i, "content": content, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for content, i in list(vocabulary.items())[:4]
    ]
    template = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    originals = {
        "config.json": ModernBertConfig.from_dict(CONFIG).to_dict(),
        "tokenizer.json": BARE
        | {
            "added_tokens": special,
            "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, DOUBLE]},
            "pre_tokenizer": {"type": "Whitespace"},
            "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": template,
                "pair": [*template, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}},
            },
        },
        "tokenizer_config.json": {
            "mask_token": "[MASK]",
            "extra_special_tokens": ["b"],
            "added_tokens_decoder": {"3": {"content": "[MASK]", "lstrip": True, "special": True}},
        },
        "special_tokens_map.json": {"cls_token": {"content": "[CLS]"}, "sep_token": "[SEP]"},
        "added_tokens.json": {"c": 6},
    }
    small = ModernBertConfig.from_dict(CONFIG | {"vocab_size": 16})
    save_model(folder, ModernBertForMaskedLM(small))
    originals["config.json"] |= {"vocab_size": 16}
    pick = random.Random(16).choice
    outcomes = {"answers": 0, "sentences": 0}
    for round in range(300):
        for name, value in originals.items():
            (folder / name).write_text(json.dumps(value))
        name = pick(sorted(originals))
        changed = originals[name]
        for _ in range(pick([1, 1, 2, 3])):
            changed = mutate(changed, pick)
        (folder / name).write_text(json.dumps(changed))
        try:
            answer = load(str(folder), device="cpu").fill_masks("a [MASK] b q.")
        except MbexploreError as error:
            checked(str(error))
            outcomes["sentences"] += 1
        else:
            assert answer.logits.isfinite().all(), (round, changed)
            outcomes["answers"] += 1
    assert min(outcomes.values()) > 40
