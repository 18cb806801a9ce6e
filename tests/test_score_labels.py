"""Labels scored as words are, against transformers; and what has neither says so."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from mbexplore.analysis.score import compare_with_transformers, score_targets
from mbexplore.errors import RangeError, TextError
from mbexplore.session import Session
from mbexplore.views.score import ScoreView
from tests.cli_runner import run_cli
from tests.test_every_head import bare as bare  # a fixture
from tests.test_every_head import on, sentence
from tests.test_predict_heads import CONTEXT, KINDS, TEXT, run_theirs
from tests.test_predict_heads import explorers as explorers  # a fixture

LABELLERS = {"labels": None, "any label": None, "tokens": 4}
DATA = Path(__file__).parent / "data"


def theirs_of(explorer, kind):
    """Logits and probabilities (label) by transformers."""
    logits = run_theirs(explorer, kind)
    logits = logits if LABELLERS[kind] is None else logits[LABELLERS[kind]]
    return logits, logits.sigmoid() if kind == "any label" else logits.softmax(dim=-1)


@pytest.mark.parametrize("kind", LABELLERS)
def test_labels_are_scored_as_transformers_does(explorers, kind):
    explorer, labels = explorers[kind], KINDS[kind][1]
    logits, shares = theirs_of(explorer, kind)
    found = score_targets(explorer, TEXT, labels[::-1], token=LABELLERS[kind])
    assert [one.text for one in found.targets] == list(labels[::-1])
    order = logits.argsort(descending=True).tolist()
    for one in found.targets:
        i = labels.index(one.text)
        assert one.probability == pytest.approx(float(shares[i]), abs=1e-5)
        assert one.log_probability == pytest.approx(float(shares[i].log()), abs=1e-4)
        assert one.log_odds == pytest.approx(float(torch.logit(shares[i].double())), abs=1e-4)
        assert one.logit == pytest.approx(float(logits[i]), abs=1e-5)
        assert one.rank == order.index(i) + 1
    other = compare_with_transformers(explorer, found)
    assert other.max_abs_difference < 1e-4
    assert [one.rank for one in other.targets] == [one.rank for one in found.targets]


def test_the_command_has_labels_beside_theirs(explorers, tmp_path):
    page = tmp_path / "page.html"
    done = on(explorers["labels"], ["score", TEXT, "--targets", "fair,bad", "--json", "-o", page])
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [one["text"] for one in answer["targets"]] == ["fair", "bad"]
    assert answer["position"] is None and answer["hf"]["max_abs_difference"] < 1e-4
    assert [one["text"] for one in answer["hf_targets"]] == ["fair", "bad"]
    shown = on(explorers["labels"], ["score", TEXT, "--no-hf"]).out
    assert "is the likeliest of 3 labels" in shown and all(x in shown for x in KINDS["labels"][1])
    token = on(explorers["tokens"], ["score", TEXT, "--token", "boats", "--no-hf", "--json"])
    assert json.loads(token.out)["position"] == 4


def test_many_texts_and_templates_have_labels_too(explorers, tmp_path):
    explorer, out = explorers["labels"], tmp_path / "out.jsonl"
    (tmp_path / "lines.txt").write_text(f"{TEXT}\nThe sea comes in.\n")
    lines = ["score", "--lines", tmp_path / "lines.txt", "--targets", "bad,fair", "-o", out]
    assert on(explorer, lines).code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    alone = score_targets(explorer, TEXT, ["bad", "fair"]).targets
    assert [row["log_probability"] for row in rows[:2]] == pytest.approx(
        [one.log_probability for one in alone]
    )
    template = ["score", "--template", "The {x} comes in.", "--fill", "x=sea,king"]
    done = on(explorer, [*template, "--targets", "bad,fair", "--json"])
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    values = np.array(
        [[one["log_probability"] for one in row["targets"]] for row in answer["rows"]]
    )
    [difference] = [one for one in answer["differences"] if one["target"] == "bad"]
    assert difference["mean"] == pytest.approx(values[0, 0] - values[1, 0])
    assert answer["hf"]["max_abs_difference"] < 1e-4
    assert on(explorer, [*template, "--targets", "bad,fair", "--no-hf"]).out


def test_what_has_no_such_label_is_refused(explorers):
    with pytest.raises(RangeError, match=r"There is no label 'good'; choose bad, fair, \$good\."):
        score_targets(explorers["labels"], TEXT, ["good"])
    with pytest.raises(TextError, match="name the token asked about, from 0 to"):
        score_targets(explorers["tokens"], TEXT, ["O"])
    with pytest.raises(RangeError, match="token 4 was asked about; name no token"):
        score_targets(explorers["labels"], TEXT, ["bad"], token=4)


SENTENCES = {
    "answer": "finds answers in texts and has neither words nor labels to score",
    "choice": "chooses among texts and has neither words nor labels to score",
    "number": "gives a text one number and no answer among several",
    "bare": "is a bare encoder",
}


@pytest.mark.parametrize("kind", SENTENCES)
def test_what_has_nothing_to_score_says_so(explorers, bare, kind):
    explorer = bare if kind == "bare" else explorers[kind]
    context = ["--context", CONTEXT] if kind == "answer" else []
    assert SENTENCES[kind] in sentence(on(explorer, ["score", TEXT, "--targets", "a", *context]))


@pytest.mark.parametrize("kind", [*KINDS, "bare"])
def test_likelihoods_need_an_mlm_head_and_probes_need_none(explorers, bare, kind):
    explorer = bare if kind == "bare" else explorers[kind]
    says = "is a bare encoder" if kind == "bare" else "has no MLM head"
    for command in (["likelihood", TEXT], ["score", TEXT, "--sentence"],
                    ["pairs", "--pair", "a | b"], ["pairs", DATA / "pairs.jsonl"]):  # fmt: skip
        assert says in sentence(on(explorer, command))
    if kind in ("labels", "bare"):
        done = on(explorer, ["probe", DATA / "labels.csv", "--folds", "2", "--json"])
        assert len(json.loads(done.out)["rows"]) == 4


@pytest.mark.filterwarnings("default")  # gradio's own
@pytest.mark.parametrize("kind", LABELLERS)
def test_the_page_scores_labels(explorers, kind):
    from mbexplore_ui.endpoints import Endpoints
    from mbexplore_ui.sessions import Sessions

    ask = Endpoints(Sessions({"it": explorers[kind]}))
    for token in (-1, 4):
        shown = ask.call("score", "page", "it", TEXT, "", "", 0, token, "left-to-right", False,
                         "token", False, -1)  # fmt: skip
        assert "is the likeliest of" in shown["line"] and " labels" in shown["line"], shown
        program, *arguments = shlex.split(shown["command"])
        assert (program, run_cli(*arguments).code) == ("mbexplore", 0)


def test_a_mask_is_named_in_one_way(explorers):
    import mbexplore

    tiny = mbexplore.load("tiny", device="cpu")
    text = "A [MASK] and a [MASK]."
    second = tiny.encode(text).mask_positions[1]
    by_number, by_place = (
        ScoreView(targets=("king",), hf=False, **where).of(Session(tiny, text)).data.found
        for where in ({"mask": 1}, {"token": second})
    )
    assert by_number.position == by_place.position == second
    assert by_number.targets == by_place.targets
    with pytest.raises(
        RangeError, match=r"Token 1 of 'A \[MASK\] .*' is no mask; choose from 2, 5"
    ):
        score_targets(tiny, text, ["king"], token=1)
