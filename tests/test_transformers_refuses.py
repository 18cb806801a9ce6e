"""A folder that we open and transformers doesn't: ours stands, theirs is one sentence."""

import json

import pytest

from mbexplore.checkpoints.hub import locate
from mbexplore.errors import TransformersError
from mbexplore.explorer import load
from tests.cli_runner import run_cli

TEXT = "A [MASK] of the sea."
CHANGES = {
    "norm_eps": 1,
    "initializer_range": 0,
    "bos_token_id": [1],
    "classifier_pooling": "max",
    "return_dict": "no",
    "sep_token_id": None,
}


@pytest.fixture
def folder(tmp_path):
    for path in locate("tiny").folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
    return str(folder)


@pytest.mark.parametrize("key", ["norm_eps", "initializer_range", "classifier_pooling"])
def test_ours_stands_and_theirs_is_one_sentence(folder, key):
    name = change(folder, **{key: CHANGES[key]})
    done = run_cli("predict", TEXT, "-m", name)
    plain = run_cli("predict", TEXT, "-m", name, "--no-hf")
    assert done.code == plain.code == 0
    assert done.out.startswith(plain.out.rstrip()) and "transformers 5" in done.out
    answer = json.loads(run_cli("predict", TEXT, "-m", name, "--json").out)
    assert answer["masks"] and "hf" not in answer
    sentence = answer["hf_error"]
    assert sentence.startswith("transformers 5") and key in sentence and len(sentence) < 500
    done = run_cli("verify", TEXT, "-m", name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("Error: transformers 5") and len(done.err.splitlines()) == 1


@pytest.mark.parametrize("key", list(CHANGES))
def test_any_refusal_of_theirs_is_an_error_of_ours(folder, key):
    explorer = load(change(folder, **{key: CHANGES[key]}), device="cpu")
    answer = explorer.fill_masks(TEXT)
    try:
        assert explorer.compare_with_transformers(answer).max_abs_logit_difference < 1e-3
    except TransformersError as error:
        assert str(error).endswith(".") and "\n" not in str(error)


def test_an_answer_beyond_the_embeddings_is_one_sentence(folder):
    tokens = {"content": "[NEW]", "special": False}
    values = {"added_tokens_decoder": {"10240": tokens}}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    for command in (
        ["lens", TEXT],
        ["ablate", TEXT, "--part", "0.0"],
        ["patch", TEXT, "A [MASK] of the sky."],
        ["attribute", TEXT],
    ):
        done = run_cli(*command, "--answer", "[NEW]", "-m", folder)
        assert done.code == 1 and "has the id 10,240 in the tokenizer" in done.err, command
