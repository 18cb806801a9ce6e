"""What the files beside tokenizer.json say of special tokens, against AutoTokenizer itself."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.errors import ModelError

TINY = locate("tiny").folder
TEXT = (
    "A [MASK]x, an <ent> or\t<ent>more; UNUSED <img> [SEP] [CLS] the\u2581<extra>, [PAD]\n"
    " [NEW] x[NEW]"
)
CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
ADDED = "added_tokens.json"


def token(content, **flags):
    """An added token as the files write it."""
    usual = dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), False)
    return usual | {"content": content, "special": True} | flags


MASK = {"4": token("[MASK]", lstrip=True)}
CASES = {
    "none": {},
    "lstrip off": {CONFIG: {"added_tokens_decoder": {"4": token("[MASK]")}}},
    "rstrip": {CONFIG: {"added_tokens_decoder": {"3": token("[SEP]", rstrip=True, lstrip=True)}}},
    "normalized": {CONFIG: {"added_tokens_decoder": {"2": token("the", normalized=True)}}},
    "single word": {
        CONFIG: {"added_tokens_decoder": {"9000": token("[NEW]", single_word=True, special=False)}}
    },
    "an empty decoder": {CONFIG: {"added_tokens_decoder": {}}, ADDED: {"<ent>": 9000}},
    "named": {CONFIG: {"mask_token": "<ent>", "cls_token": "[CLS]", "pad_token": "<img>"}},
    "a named object": {
        CONFIG: {"mask_token": token("<ent>", lstrip=True) | {"__type": "AddedToken"}}
    },
    "a name of the model's own": {CONFIG: {"image_token": "<img>", "add_bos_token": True}},
    "additional": {CONFIG: {"additional_special_tokens": ["<ent>", "<img>"]}},
    "extra": {CONFIG: {"extra_special_tokens": ["<ent>"], "additional_special_tokens": ["<img>"]}},
    "extra by name": {CONFIG: {"extra_special_tokens": {"image_token": "<img>"}}},
    "split": {CONFIG: {"split_special_tokens": True}},
    "split not": {CONFIG: {"split_special_tokens": False, "mask_token": "[MASK]"}},
    "the map": {MAP: {"mask_token": token("<ent>", lstrip=True), "sep_token": "[SEP]"}},
    "the map over the config": {CONFIG: {"mask_token": "[MASK]"}, MAP: {"mask_token": "<ent>"}},
    "the map's extra": {
        CONFIG: {"extra_special_tokens": ["<ent>"]},
        MAP: {"extra_special_tokens": ["<img>", {"content": "<extra>", "rstrip": True}]},
    },
    "the map's additional": {MAP: {"additional_special_tokens": ["<img>", "<extra>"]}},
    "the map unread": {CONFIG: {"added_tokens_decoder": MASK}, MAP: {"mask_token": "<ent>"}},
    "added_tokens.json": {ADDED: {"<ent>": 9000, "UNUSED": 9001}, CONFIG: {"pad_token": "<ent>"}},
    "added_tokens.json again": {ADDED: {"[MASK]": 4, "<ent>": 3}},
    "added_tokens.json at another id": {ADDED: {"[MASK]": 9000}},
    "prefix": {CONFIG: {"add_prefix_space": True, "do_lower_case": True}},
    "another class": {CONFIG: {"tokenizer_class": "BertTokenizer", "mask_token": "<ent>"}},
    "a class of llama": {CONFIG: {"tokenizer_class": "LlamaTokenizer", "add_eos_token": True}},
    "sides": {CONFIG: {"padding_side": "left", "truncation_side": "left", "model_max_length": 8}},
}


def write(folder, files):
    """A folder with the bundled tokenizer and config, and these files beside them."""
    for name in ("tokenizer.json", "config.json"):
        (folder / name).write_bytes((TINY / name).read_bytes())
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))


def theirs_of(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


@pytest.mark.parametrize("files", CASES.values(), ids=CASES)
def test_ids_are_those_of_transformers(tmp_path, files):
    write(tmp_path, files)
    theirs, ours = theirs_of(tmp_path), Tokenizer.from_folder(tmp_path)
    for pair in (None, "and [MASK] <ent>"):
        assert list(ours.encode(TEXT, pair=pair).ids) == theirs(TEXT, pair)["input_ids"]
    for name in ("mask", "pad"):
        told = getattr(theirs, f"{name}_token_id")
        assert told is None or getattr(ours.special_ids, name) == told


CONTENTS = ["[MASK]", "<ent>", "<img>", "[NEW]", "the", " the", "[SEP]"]
TOKENS = st.sampled_from(CONTENTS) | st.builds(
    lambda content, flags: token(content, **flags) | {"__type": "AddedToken"},
    st.sampled_from(CONTENTS),
    st.dictionaries(
        st.sampled_from(["lstrip", "rstrip", "single_word", "normalized"]), st.booleans()
    ),
)
DECODER = st.dictionaries(
    st.sampled_from(["3", "4", "1", "9000", "9001"]),
    TOKENS.filter(lambda one: isinstance(one, dict)).map(
        lambda one: {key: value for key, value in one.items() if key != "__type"}
    ),
)
CONFIGS = st.fixed_dictionaries(
    {},
    optional={
        "added_tokens_decoder": DECODER,
        "extra_special_tokens": st.lists(TOKENS, max_size=3),
        "additional_special_tokens": st.lists(TOKENS, max_size=3),
        "split_special_tokens": st.booleans(),
        **{f"{name}_token": TOKENS for name in ("mask", "pad", "cls", "image")},
    },
)
MAPS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "mask_token": st.sampled_from(CONTENTS) | st.sampled_from(CONTENTS).map(token),
        "extra_special_tokens": st.lists(st.sampled_from(CONTENTS), max_size=3),
        "additional_special_tokens": st.lists(st.sampled_from(CONTENTS), max_size=3),
    },
)
LISTED = st.none() | st.dictionaries(st.sampled_from(CONTENTS), st.integers(0, 9001), max_size=3)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(config=CONFIGS, of_map=MAPS, listed=LISTED)
def test_any_files_give_the_ids_of_transformers(tmp_path_factory, config, of_map, listed):
    folder = tmp_path_factory.mktemp("files")
    given = {CONFIG: config, MAP: of_map, ADDED: listed}
    write(folder, {name: content for name, content in given.items() if content is not None})
    theirs, ours = theirs_of(folder), Tokenizer.from_folder(folder)
    assert list(ours.encode(TEXT).ids) == theirs(TEXT)["input_ids"]
    if theirs.mask_token_id is not None:
        assert ours.mask_token_id == theirs.mask_token_id


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({CONFIG: {"mask_token": {"lstrip": True}}}, "lstrip"),
        ({CONFIG: {"added_tokens_decoder": {"x": token("a")}}}, "'x'"),
        ({CONFIG: {"added_tokens_decoder": {"5": "a"}}}, "'a'"),
        ({CONFIG: {"added_tokens_decoder": ["a"]}}, "'a'"),
        ({CONFIG: {"added_tokens_decoder": {"5": token("a", lstrip=3)}}}, "'a'"),
        ({CONFIG: {"extra_special_tokens": [3]}}, "3"),
        ({ADDED: {"a": -1}}, "-1"),
        ({ADDED: {"a": [1]}}, r"\[1\]"),
        ({MAP: {"mask_token": {"content": 5}}}, "5"),
    ],
    ids=str,
)
def test_what_is_no_token_is_one_sentence(tmp_path, files, named):
    write(tmp_path, files)
    with pytest.raises(ModelError, match=named) as caught:
        Tokenizer.from_folder(tmp_path)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_special_ids_are_the_tokenizers_own(tmp_path):
    write(
        tmp_path, {"config.json": {"cls_token_id": 0, "sep_token_id": None, "pad_token_id": None}}
    )
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    usual = Tokenizer.from_folder(TINY)
    ids = usual.special_ids
    assert (ids.cls, ids.sep) == (usual.id_of("[CLS]"), usual.id_of("[SEP]"))
    renamed = json.dumps(content).replace("[CLS]", "<s>").replace("[SEP]", "</s>")
    (tmp_path / "tokenizer.json").write_text(renamed)
    assert Tokenizer.from_folder(tmp_path).special_ids == ids
    bare = json.dumps(content | {"post_processor": None})
    (tmp_path / "tokenizer.json").write_text(bare)
    assert Tokenizer.from_folder(tmp_path).special_ids.cls is None
    (tmp_path / CONFIG).write_text(json.dumps({"bos_token": "[CLS]", "pad_token": "[PAD]"}))
    ids = Tokenizer.from_folder(tmp_path).special_ids
    assert (ids.cls, ids.pad) == (usual.id_of("[CLS]"), usual.id_of("[PAD]"))
