"""A view's command line makes the same answer again, and its files hold what the analysis found."""

import csv
import io
import json
import shlex

import numpy as np
import pytest

from mbexplore.checkpoints.model import save_model
from mbexplore.explorer import load
from mbexplore.session import Session
from mbexplore.views.compare import CompareView
from mbexplore.views.cosine import CosineView
from mbexplore.views.lens import LensView
from mbexplore.views.mix import METHODS, MixView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import build_random, build_tokenizer

TEXT = "a b c [MASK] d e f"
OTHER = "a b e [MASK] d e f"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two models of one shape, as folders that the command line opens."""
    made = [tmp_path_factory.mktemp("models") / name for name in ("one", "other")]
    for seed, folder in enumerate(made):
        save_model(folder, build_random(seed))
        build_tokenizer()._inner.save(str(folder / "tokenizer.json"))
    return [str(folder) for folder in made]


@pytest.fixture(scope="module")
def one(folders):
    return load(folders[0], device="cpu")


def table(result):
    """Header and rows of its csv."""
    header, *rows = csv.reader(io.StringIO(result.content("csv").decode()))
    assert all(len(row) == len(header) for row in rows)
    return header, rows


def arrays(result):
    with np.load(io.BytesIO(result.content("npz")), allow_pickle=False) as saved:
        return dict(saved)


@pytest.mark.parametrize("context", [None, "d e"])
@pytest.mark.parametrize(
    "view",
    [
        LensView(top_k=2),
        LensView(token=2, answer="f"),
        LensView(all_tokens=True, colour="kl"),
        MixView(layer=1, token="b"),
        CosineView(layer=0, token=3),
        CompareView(other=OTHER, layer=-1, top_k=2),
    ],
    ids=str,
)
def test_the_command_line_makes_the_same_answer(one, view, context):
    result = view.of(Session(one, TEXT, context=context))
    assert run_again(result) == result.to_json(), result.command


def test_two_texts_and_two_models_are_named_in_the_command(one, folders):
    for text, other, model in (
        (TEXT, OTHER, None), (TEXT, None, folders[1]), (TEXT, OTHER, folders[1]),
        (TEXT, TEXT, None), ("a [MASK] b", "a b [MASK]", None),
    ):  # fmt: skip
        view = CompareView(other=other, other_model=model, layer=2, head=1, top_k=3)
        result = view.of(Session(one, text))
        assert run_again(result) == result.to_json(), result.command


@pytest.mark.parametrize("view", [MixView(layer=0), LensView()], ids=str)
def test_a_cut_text_and_another_dtype_are_named_in_the_command(folders, view):
    wide = load(folders[0], device="cpu", dtype="float64")
    result = view.of(Session(wide, "[MASK] " + "a b c d " * 20, truncate=True))
    assert result.session.encoding.is_cut
    assert {"--truncate", "--dtype"} < set(shlex.split(result.command))
    assert run_again(result) == result.to_json()


def test_no_text_and_no_token_is_taken_for_an_option(one):
    result = MixView(layer=0).of(Session(one, "--token 3"))
    assert shlex.split(result.command)[-2:] == ["--", "--token 3"]
    result = LensView(token="-1", answer="-b")
    assert [result.token, result.answer] == ["-1", "-b"]
    dashes = run_cli("lens", "--json", "--", "-a [MASK] 'b' \"c\"\n$d")
    assert dashes.code == 0 and "-" in json.loads(dashes.out)["tokens"]


def test_files_of_context_mixing_hold_its_matrices(one):
    result = MixView(layer=2).of(Session(one, TEXT))
    saved, (header, rows) = arrays(result), table(result)
    for method in METHODS:
        values = getattr(result.data, method)
        np.testing.assert_array_equal(saved[method], values)
        column = [float(row[header.index(method)]) for row in rows]
        np.testing.assert_array_equal(np.float32(column).reshape(9, 9), values)
    assert rows[9 * 4 + 2][:4] == ["4", "[MASK]", "2", result.data.tokens[2]]


def test_files_of_a_comparison_hold_what_both_share(one):
    result = CompareView(other=OTHER, layer=1).of(Session(one, TEXT))
    saved, (_, rows) = arrays(result), table(result)
    for name in ("residual_distance", "attention"):
        np.testing.assert_array_equal(saved[name], getattr(result.data, name))
    assert tuple(saved["second.tokens"]) == result.data.second.tokens
    assert [row[3] for row in rows] == [p.token for p in result.data.second.predictions]
    uneven = CompareView(other="a [MASK]").of(Session(one, TEXT))
    assert "9 and 4 tokens" in uneven.blocks[-1].text
    assert {"residual_distance", "second.tokens"} <= arrays(uneven).keys()  # of what aligns
