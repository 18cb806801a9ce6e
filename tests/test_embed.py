"""Sentence vectors against transformers, on models with a head and without."""

import csv
import io
import json

import numpy as np
import pytest
import torch
from transformers import ModernBertModel as TheirEncoder

import mbexplore
from mbexplore.analysis.embed import embed
from mbexplore.checkpoints.model import save_model
from mbexplore.display.blocks import Heat, Table
from mbexplore.errors import RangeError, TextError
from mbexplore.network.model import ModernBertModel
from mbexplore.text import shortened
from tests.cli_runner import run_cli

TEXTS = ["The tide rises.", "The sea comes in, and the boats lie in the harbour.", "He paid."]


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def bare(explorer, tmp_path_factory):
    """The folder of the bundled model's encoder alone."""
    folder = tmp_path_factory.mktemp("bare")
    save_model(folder, explorer.model.encoder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((explorer.files.folder / name).read_bytes())
    return folder


def their_vectors(explorer, folder, pooling):
    """Pooled by the mask from one padded batch."""
    theirs = TheirEncoder.from_pretrained(folder, dtype=torch.float32)
    ids = [explorer.encode(text).ids for text in TEXTS]
    longest = max(map(len, ids))
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
    padded = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids])
    with torch.no_grad():
        hidden = theirs(padded, mask).last_hidden_state
    if pooling == "cls":
        return hidden[:, 0]
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_equal_theirs(explorer, bare, pooling):
    expected = their_vectors(explorer, bare, pooling)
    of_bare = mbexplore.load(str(bare), device="cpu")
    assert isinstance(of_bare.model, ModernBertModel)
    for one in (explorer, of_bare):
        result = embed(one, TEXTS, pooling)
        assert result.vectors.shape == (3, explorer.model.config.hidden_size)
        torch.testing.assert_close(result.vectors, expected, rtol=0, atol=1e-5)
        cosine = torch.cosine_similarity(expected[:, None], expected[None], dim=-1)
        torch.testing.assert_close(result.cosine, cosine, rtol=0, atol=1e-5)


def test_a_text_has_the_same_vector_in_any_company(explorer):
    alone = embed(explorer, TEXTS[:1]).vectors[0]
    assert torch.equal(embed(explorer, TEXTS[::-1]).vectors[2], alone)
    assert not torch.allclose(alone, embed(explorer, TEXTS[:1], "cls").vectors[0], atol=1e-2)


def test_half_precision_is_pooled_in_float32(explorer):
    narrow = mbexplore.load("tiny", device="cpu", dtype="bfloat16")
    result = embed(narrow, TEXTS)
    assert result.vectors.dtype == torch.float32
    assert (result.cosine - embed(explorer, TEXTS).cosine).abs().max() < 0.02


def test_mistakes_are_one_sentence(explorer):
    with pytest.raises(RangeError, match="no pooling 'median'; choose cls, max, mean"):
        embed(explorer, TEXTS, "median")
    with pytest.raises(TextError, match="No text"):
        embed(explorer, [])
    with pytest.raises(TextError, match="empty"):
        embed(explorer, ["  "])


def test_the_command_prints_and_saves(bare, tmp_path):
    result = run_cli("embed", *TEXTS, "-m", bare, "-o", tmp_path / "v.npz", "--json")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert answer["texts"] == TEXTS and answer["pooling"] == "mean"
    with np.load(tmp_path / "v.npz") as saved:
        np.testing.assert_allclose(saved["vectors"], answer["vectors"], atol=1e-6)
        np.testing.assert_allclose(saved["cosine"], answer["cosine"], atol=1e-6)
        assert saved["texts"].tolist() == TEXTS
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS))
    table = run_cli("embed", "--lines", tmp_path / "lines.txt", "-m", bare).out
    assert table.count("1.000") == 3 and f"{answer['cosine'][0][1]:.3f}" in table
    assert run_cli("embed", *TEXTS, "-m", bare).out == table
    piped = run_cli("embed", "--lines", "-", "-m", bare, stdin="\n".join(TEXTS).encode()).out
    assert piped == table


def test_the_nearest_text_of_each_is_named(explorer):
    view = explorer.embed(TEXTS)
    cosine = view.data.cosine.fill_diagonal_(-2)
    nearest = [TEXTS[i] for i in cosine.argmax(dim=1).tolist()]
    [table] = [block for block in view.blocks if isinstance(block, Table)]
    [heat] = [block for block in view.blocks if isinstance(block, Heat)]
    assert [shortened(text, 40) for text in nearest] == [row[2] for row in table.rows]
    assert np.diag(heat.values) == pytest.approx(1.0, abs=1e-6)
    header, *rows = csv.reader(io.StringIO(view.content("csv").decode()))
    assert header == ["text", *(f"cosine_{i}" for i in range(3))]
    assert [row[0] for row in rows] == TEXTS
    assert view.content("png").startswith(b"\x89PNG")
    assert "One text" in explorer.embed("The tide.").headline


def test_the_command_refuses_in_one_sentence(tmp_path):
    for arguments, sentence in [
        (["a", "b", "-f", "x.txt"], "was given in two ways"),
        ([], "No text was given"),
        (["a", "--pooling", "median"], "no pooling 'median'"),
        (["a", "-o", tmp_path / "v.txt"], "'.txt'"),
    ]:
        result = run_cli("embed", *arguments)
        assert result.code in (1, 2) and sentence in result.err, result.err


def test_a_bare_encoder_says_what_it_lacks_and_the_rest_works(bare, tmp_path):
    refused = run_cli("predict", "The [MASK] rises.", "-m", bare)
    assert refused.code == 1 and refused.out == ""
    assert "bare encoder without an MLM head" in refused.err and refused.err.count("\n") == 1
    for command in (["attention", TEXTS[0], "-l", "0", "--json"], ["info"]):
        result = run_cli(*command, "-m", bare)
        assert result.code == 0, (command, result.err)
