"""Minimal pairs: accuracies against sums made here, ties, and the files that hold pairs."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import mbexplore
from mbexplore.analysis.likelihood import likelihood
from mbexplore.analysis.pairs import Pair, PairScore, PairScores, score_pairs
from mbexplore.errors import MissingError, RangeError, TextError, UsageError
from mbexplore.pair_files import FOLDER, read_pairs, split_pairs
from mbexplore.session import Session
from mbexplore.views.pairs import PairsView
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
         r"no column 'sentence_bad'; name one of 'good', 'worse'"),
        ("a.jsonl", '{"text": "A"}\n', None, r"no column 'sentence_good'; name one of 'text'"),
        ("a.csv", "good,bad\nA b.,\n", None, r"Pair 1 of .*a.csv lacks one of its two sentences"),
        ("a.csv", "good,bad\nA b.,c d.\nA.\n", None, "Line 3 of .* has 1 cells and the header 2"),
        ("a.jsonl", '{"good": "A", "bad": 3}\n', None, "lacks one of its two sentences"),
        ("a.jsonl", "good bad\n", None, "Line 1 of .* is no JSON object"),
        ("a.jsonl", "[1]\n", None, "is no JSON object"),
        ("a.csv", f"good,bad\n{GOOD},{BAD}\n", "kind", "no column 'kind'; name one of 'good'"),
        ("a.csv", "good,good\nA,b\n", None, "two columns 'good'"),
        ("a.txt", "A\n", None, "has 1 sentences, and pairs are of two; add the one that is"),
        ("a.md", "A\n", None, "has no rows; name a .csv"),
        ("a.jsonl", "\n", None, "There is no pair of sentences"),
    ],
)  # fmt: skip
def test_files_that_hold_no_pairs_are_refused(explorer, tmp_path, name, content, by, sentence):
    (tmp_path / name).write_text(content)
    with pytest.raises(TextError, match=sentence):
        score_pairs(explorer, list(read_pairs(tmp_path / name, by)))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TextError, match=r"There is no file .*b.csv; name one of pairs"):
        list(read_pairs(tmp_path / "b.csv"))
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


# ---- BLiMP and Zorro, in small stand-ins of their files

BLIMP = {
    "sentence_good": GOOD, "sentence_bad": BAD, "field": "morphology",
    "linguistics_term": "subject_verb_agreement", "UID": "regular_plural_1",
    "simple_LM_method": True, "pairID": "0",
}  # fmt: skip
ZORRO = "the rivers is wide .\nthe river is wide .\nthe river are wide .\nthe rivers are wide .\n"


def clone_blimp(folder):
    """A clone of its repository, which holds results too."""
    (folder / "data").mkdir(parents=True)
    (folder / "raw_results" / "summary").mkdir(parents=True)
    (folder / "data" / "regular_plural_1.jsonl").write_text(json.dumps(BLIMP) + "\n")
    (folder / "raw_results" / "summary" / "models_summary.jsonl").write_text('{"acc": 1}\n')


def cache_blimp(home):
    """What `hf download` leaves: a folder a paradigm, of parquet."""
    import pyarrow
    from pyarrow import parquet

    folder = home / "hub" / "datasets--nyu-mll--blimp" / "snapshots" / "0a1b" / "regular_plural_1"
    folder.mkdir(parents=True)
    table = pyarrow.Table.from_pylist([BLIMP])
    parquet.write_table(table, folder / "train-00000-of-00001.parquet")


def prepare_blimp(home):
    """What `datasets` leaves: streams of arrow."""
    import pyarrow

    folder = home / "datasets" / "nyu-mll___blimp" / "regular_plural_1" / "0.0.0" / "0a1b"
    folder.mkdir(parents=True)
    table = pyarrow.Table.from_pylist([BLIMP])
    with pyarrow.ipc.new_stream(folder / "blimp-train.arrow", table.schema) as stream:
        stream.write_table(table)
    (folder / "dataset_info.json").write_text("{}")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home of Hugging Face's caches, and a working directory of one's own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    monkeypatch.delenv(FOLDER, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("make", [cache_blimp, prepare_blimp, None])
def test_blimp_is_found_where_its_files_are(home, monkeypatch, make):
    if make is None:
        clone_blimp(home / "mine" / "blimp")
        monkeypatch.setenv(FOLDER, str(home / "mine"))
    else:
        pytest.importorskip("pyarrow")
        make(home)
    assert list(read_pairs(Path("blimp"))) == [Pair(GOOD, BAD, "subject_verb_agreement")]
    assert [one.phenomenon for one in read_pairs(Path("blimp"), "UID")] == ["regular_plural_1"]
    clone_blimp(home / "work" / "blimp")  # what lies here goes before
    (home / "work" / "blimp" / "data" / "two.jsonl").write_text(json.dumps(BLIMP) + "\n")
    assert len(list(read_pairs(Path("blimp")))) == 2


@pytest.mark.parametrize(
    ("inside", "first", "is_reversed"),
    [
        ("zorro/sentences/babyberta", None, False),
        ("UnMasked/test_suites/zorro", None, True),  # its copies have the other order
        ("zorro", None, False),
        ("zorro", "good", True),
        ("UnMasked/test_suites/zorro", "bad", False),
    ],
)
def test_zorro_has_the_unacceptable_sentence_first(home, monkeypatch, inside, first, is_reversed):
    folder = home / "mine" / inside
    folder.mkdir(parents=True)
    (folder / "agreement-subject-across_pp.txt").write_text(ZORRO)
    (folder / "README").write_text("A\n")
    monkeypatch.setenv(FOLDER, str(home / "mine"))
    path = Path("zorro") if inside.startswith("zorro") else folder
    found = list(read_pairs(path, None, first))
    bad, good, worse, better = ZORRO.splitlines()
    expected = [(good, bad), (better, worse)]
    expected = [pair[::-1] for pair in expected] if is_reversed else expected
    assert [(one.good, one.bad) for one in found] == expected
    assert {one.phenomenon for one in found} == {"agreement-subject"}
    assert {one.phenomenon for one in read_pairs(path, "UID", first)} == {"across_pp"}


def test_the_note_says_which_sentence_was_taken(explorer, tmp_path):
    (tmp_path / "a-b.txt").write_text(ZORRO)
    for first, which in ((None, "second"), ("good", "first")):
        found = explorer.pairs(tmp_path / "a-b.txt", leading=first)
        notes = " ".join(getattr(block, "text", "") for block in found.blocks)
        assert f"the {which} was taken for the acceptable one" in notes
    straight, reverse = (
        explorer.pairs(tmp_path, leading=first).data.overall for first in ("bad", "good")
    )
    assert straight.correct + reverse.correct + straight.ties == 2


@pytest.mark.parametrize(("name", "source"), [("blimp", "nyu-mll/blimp"), ("zorro", "phueb/Zorro")])
def test_where_a_benchmark_was_looked_for_is_said(home, name, source):
    done = run_cli("pairs", name)
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert f"There are no pairs of {name} in {name}" in done.err
    assert source in done.err and f"${FOLDER}" in done.err
    assert (str(home / "hub" / "datasets--nyu-mll--blimp") in done.err) == (name == "blimp")


def test_parquet_and_arrow_that_are_broken_are_refused(tmp_path):
    pytest.importorskip("pyarrow")
    for name in ("a.arrow", "a.parquet"):
        (tmp_path / name).write_bytes(b"no such thing")
        with pytest.raises(TextError, match=rf"{name} can't be read \(.*\); copy it again"):
            list(read_pairs(tmp_path / name))


# ---- pairs that are typed


def test_pairs_are_typed_a_line_each(explorer):
    lines = (f"{GOOD} | {BAD}", f"{GOOD}\t{BAD}\tnumber")
    assert list(split_pairs(lines)) == [Pair(GOOD, BAD), Pair(GOOD, BAD, "number")]
    for wrong in ("a", "a |", "| b", "a | b | c | d"):
        with pytest.raises(TextError, match=r"is no pair; write the acceptable sentence, \|"):
            list(split_pairs([wrong]))
    typed = run_cli("pairs", "--pair", lines[0], "--pair", lines[1], "--json")
    assert typed.code == 0, typed.err
    assert [one["phenomenon"] for one in json.loads(typed.out)["phenomena"]] == ["all", "number"]
    with pytest.raises(UsageError, match="both given"):
        PairsView(path=str(FILE), pairs=lines).of(Session(explorer))
    with pytest.raises(MissingError, match="There are no pairs; give some, such as"):
        PairsView().of(Session(explorer))


# ---- one pair, and where it leads


def test_a_pair_is_shown_token_by_token(explorer):
    rows = [json.loads(line) for line in FILE.read_text().splitlines()]
    for number, row in enumerate(rows):
        found = explorer.pairs(FILE, show=number).data
        good, bad = (likelihood(explorer, row[f"sentence_{side}"]) for side in ("good", "bad"))
        assert found.difference == pytest.approx(good.pll - bad.pll, abs=1e-3)
        for side, names in (
            (good, ("position", "log_probability")),
            (bad, ("other_position", "other_log_probability")),
        ):
            places = {getattr(one, names[0]): getattr(one, names[1]) for one in found.tokens}
            assert places.pop(None, None) is None
            assert sorted(places) == list(range(len(side.encoding)))
            for place, value in zip(side.positions, side.log_probabilities, strict=True):
                assert places[place] == pytest.approx(value, abs=1e-3)
    with pytest.raises(RangeError, match=r"There is no pair 5; choose 0 to 4\."):
        explorer.pairs(FILE, show=5)


def test_a_difference_goes_to_score_why_and_patch(explorer):
    done = run_cli("pairs", FILE, "--show", 0, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    steps = [shlex.split(one["command"])[1] for one in found["next"]]
    assert {"likelihood", "score", "why", "patch"} <= set(steps)
    shown = "".join(run_cli("pairs", FILE, "--show", 0).out.split())
    assert all("".join(one["command"].split()) in shown for one in found["next"])
    for step in found["next"]:
        _, *arguments = shlex.split(step["command"])
        ran = run_cli(*arguments, "--json")
        assert ran.code == 0, (step, ran.err)
        answer = json.loads(ran.out)
        if arguments[0] == "likelihood":
            assert answer["pll"] == pytest.approx(found["pll_good"], abs=1e-3)
        if arguments[0] == "patch":  # the token whose likelihood differs most between the sentences
            shared = [
                one for one in found["tokens"]
                if one["token"] == one["other_token"] and None not in (
                    one["log_probability"], one["other_log_probability"])
            ]  # fmt: skip
            furthest = max(
                shared, key=lambda one: abs(one["log_probability"] - one["other_log_probability"])
            )
            assert answer["target"]["token"] == furthest["token"]
            assert answer["clean_difference"] > answer["corrupted_difference"]


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("The tide rises.", "The tide rise.", "rises,rise"),
        ("The tide rises.", "Tide the rises.", "The tide,Tide the"),
        ("The sea is wide.", "The sea is.", None),
        ("The fishermen wait.", "The sea waits.", "fishermen wait,sea waits"),
    ],
)
def test_only_what_has_an_answer_is_offered(explorer, good, bad, words):
    result = explorer.pairs(pairs=(f"{good} | {bad}",), show=0)
    steps = [shlex.split(one.commands[0])[1:] for one in result.data.story]
    assert [step[0] for step in steps[:2]] == ["likelihood", "score" if words else "patch"]
    assert steps[1][steps[1].index("--targets") + 1] == words if words else len(steps) <= 3
    for arguments, one in zip(steps[1:], result.data.story[1:], strict=True):
        assert run_cli(*arguments, "--json").code == 0, one.text
        [phrase] = one.phrases
        assert phrase.proof.view == arguments[0] and phrase.proof.text.count("[MASK]") == 1


# ---- the page


@pytest.mark.filterwarnings("default")  # gradio's own
def test_the_page_takes_typed_pairs_and_reads_no_file_of_the_server(explorer):
    from mbexplore_ui.controls import build_view, controls_of
    from mbexplore_ui.endpoints import views

    assert {"pairs", "probe"} <= set(views())
    for name in ("path", "by", "leading"):
        with pytest.raises(UsageError, match=f"has no parameter '{name}'"):
            build_view(PairsView, {name: str(FILE)})
    view = build_view(PairsView, {"pairs": f"{GOOD} | {BAD}\n\n{GOOD} | {BAD}\n", "show": -1})
    assert view.pairs == (f"{GOOD} | {BAD}",) * 2 and view.show is None
    [control] = [one for one in controls_of(PairsView) if one["name"] == "pairs"]
    assert control["kind"] == "lines" and control["default"] == ""
    again = view.of(Session(explorer))
    _, *arguments = shlex.split(again.command)
    assert json.loads(run_cli(*arguments, "--json").out)["overall"]["pairs"] == 2
