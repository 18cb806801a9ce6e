"""Minimal pairs: accuracies against sums made here, ties, and the files that hold pairs."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mbexplore
from mbexplore.analysis.likelihood import likelihood
from mbexplore.analysis.pairs import Pair, PairScore, PairScores, score_pairs
from mbexplore.errors import TextError
from mbexplore.views.pairs import read_pairs
from tests.cli_runner import run_cli
from tests.handbuilt import build_copier, build_explorer

FILE = Path(__file__).parent / "data" / "pairs.jsonl"


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def test_a_pair_is_two_likelihoods(explorer):
    pairs = list(read_pairs(FILE))
    rows = [json.loads(line) for line in FILE.read_text().splitlines()]
    assert [(p.good, p.bad, p.phenomenon) for p in pairs] == [
        (row["sentence_good"], row["sentence_bad"], row["linguistics_term"]) for row in rows
    ]
    steps = []
    for masking in ("token", "word"):
        found = score_pairs(explorer, pairs, masking=masking, progress=lambda *s: steps.append(s))
        for pair, score in zip(pairs, found.scores, strict=True):
            good, bad = (
                likelihood(explorer, x, masking=masking).pll for x in (pair.good, pair.bad)
            )
            assert (score.good, score.bad) == pytest.approx((good, bad), abs=1e-3)
            assert score.is_correct == (good > bad)
    assert steps == [(n, 5) for n in range(1, 6)] * 2


def scored(*differences, phenomenon="a"):
    pair = Pair("x", "y", phenomenon)
    return tuple(PairScore(pair, one, 0.0) for one in differences)


def test_ties_are_wrong():
    found = PairScores("token", scored(1.0, 0.0, -1.0, 2.0))
    assert (found.overall.correct, found.overall.ties, found.overall.accuracy) == (2, 1, 0.5)
    assert found.overall.difference == 0.5


def test_equal_sentences_and_an_idle_model_tie(explorer):
    twin = "The tide rises twice a day."
    many = [Pair("The sea is wide and old.", "The sea is wides."), Pair(twin, twin)]
    found = score_pairs(explorer, many)
    assert found.scores[1].difference == 0 and found.overall.ties == 1
    idle = build_copier()
    with torch.no_grad():
        idle.decoder.weight.zero_()
    same = score_pairs(build_explorer(idle), [Pair("a b c", "c b d")])
    assert same.overall.ties == 1 and same.overall.correct == 0


def test_phenomena_are_apart():
    scores = (*scored(1.0, -1.0, 1.0), *scored(-1.0, phenomenon="b"), *scored(1.0))
    first, second = PairScores("token", scores).phenomena
    assert (first.phenomenon, first.pairs, first.correct) == ("a", 4, 3)
    assert (second.phenomenon, second.pairs, second.correct) == ("b", 1, 0)
    assert second.low == 0 and first.low < first.accuracy < first.high


GOOD, BAD = "The rivers run.", "The rivers runs."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", f"sentence_good,sentence_bad\n{GOOD},{BAD}\n"),
        ("a.csv", f"id,Bad,GOOD\n7,{BAD},{GOOD}\n"),
        ("a.csv", f'"{GOOD}","{BAD}"\n'),
        ("a.tsv", f"{GOOD}\t{BAD}\n\n"),
        ("a.jsonl", json.dumps({"good": GOOD, "bad": BAD}) + "\n\n"),
        ("a.csv", f"\ufeffgood,bad\r\n{GOOD},{BAD}\r\n"),
    ],
)
def test_pairs_are_two_columns(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert list(read_pairs(tmp_path / name)) == [Pair(GOOD, BAD)]
    assert list(read_pairs(tmp_path)) == [Pair(GOOD, BAD)]


def test_what_is_tested_is_named_by_a_column(tmp_path):
    (tmp_path / "a.csv").write_text(f"good,bad,UID,kind\n{GOOD},{BAD},u,k\n")
    [pair] = read_pairs(tmp_path / "a.csv")
    assert pair.phenomenon == "u"
    assert list(read_pairs(tmp_path / "a.csv", "kind")) == [replace(pair, phenomenon="k")]


@pytest.mark.parametrize(
    ("name", "content", "by", "sentence"),
    [
        ("a.csv", "good,worse\nA b.,c d.\n", None,
         r"no column 'sentence_bad'; its columns are 'good', 'worse'"),
        ("a.jsonl", '{"text": "A"}\n', None, r"no column 'sentence_good'; its columns are 'text'"),
        ("a.csv", "good,bad\nA b.,\n", None, r"Pair 1 of .*a.csv lacks one of its two sentences"),
        ("a.csv", "good,bad\nA b.,c d.\nA.\n", None, "Line 3 of .* has 1 cells and the header 2"),
        ("a.jsonl", '{"good": "A", "bad": 3}\n', None, "lacks one of its two sentences"),
        ("a.jsonl", "good bad\n", None, "Line 1 of .* is no JSON object"),
        ("a.jsonl", "[1]\n", None, "is no JSON object"),
        ("a.csv", f"good,bad\n{GOOD},{BAD}\n", "kind", "no column 'kind'; its columns are 'good'"),
        ("a.csv", "good,good\nA,b\n", None, "two columns 'good'"),
        ("a.txt", "A\n", None, "has no rows; name a .csv"),
        ("a.jsonl", "\n", None, "There is no pair of sentences"),
    ],
)  # fmt: skip
def test_files_that_hold_no_pairs_are_refused(explorer, tmp_path, name, content, by, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(TextError, match=sentence):
        score_pairs(explorer, list(read_pairs(tmp_path / name, by)))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TextError, match=r"There is no file .*blimp; name one of pairs"):
        list(read_pairs(tmp_path / "blimp"))
    with pytest.raises(TextError, match=r"has no \.csv"):
        list(read_pairs(tmp_path))


def test_the_command(explorer):
    done = run_cli("pairs", FILE, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [one["phenomenon"] for one in answer["phenomena"]] == ["agreement", "irregular_forms"]
    right = [pair["correct"] for pair in answer["pairs"]]
    assert (
        answer["overall"]["correct"]
        == sum(right)
        == sum(one["difference"] > 0 for one in answer["pairs"])
    )
    shown = run_cli("pairs", FILE).out
    assert f"{sum(right) / 5:.1%} of 5 pairs" in shown and "irregular_forms" in shown
    rows = explorer.pairs(FILE).content("csv").decode().splitlines()
    assert rows[0].startswith("phenomenon,sentence_good,sentence_bad,pll_good") and len(rows) == 6


@pytest.mark.filterwarnings("default")  # gradio's own
def test_the_page_reads_no_file_of_the_server():
    from mbexplore_ui.endpoints import find_view, views

    assert "pairs" not in views()
    with pytest.raises(mbexplore.errors.UsageError, match="There is no view 'pairs'"):
        find_view("pairs")
