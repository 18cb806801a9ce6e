"""Predictions in every form, made again by their command."""

import csv
import json
import shlex
from io import BytesIO, StringIO

import numpy as np
import pytest

import mbexplore
from mbexplore.display.blocks import Badge, Bars, Note, walk
from mbexplore.errors import MbexploreError
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.session import Session
from mbexplore.views import predict as module
from mbexplore.views.predict import PredictView
from mbexplore.views.shared import around
from tests.cli_runner import run_cli

TEXT = "The [MASK] of $France is [MASK]."
TEXTS = ["The tide rises.", "- The sea comes in.", "He paid."]


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def see(explorer, text=TEXT, **parameters):
    return PredictView(**parameters).of(Session(explorer, text))


@pytest.fixture(scope="module")
def both(explorer):
    return see(explorer, top_k=3)


@pytest.fixture(scope="module")
def alone(explorer):
    return see(explorer, top_k=3, hf=False)


def nearly(ours, again):
    """Whether two payloads are the same but for the last digits of their numbers."""
    if isinstance(ours, dict):
        return ours.keys() == again.keys() and all(nearly(ours[k], again[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(again) and all(map(nearly, ours, again))
    return ours == pytest.approx(again, abs=1e-4) if isinstance(ours, float) else ours == again


def test_its_command_makes_it_again(both, alone):
    for view in (both, alone):
        result = run_cli(*shlex.split(view.command)[1:], "--json")
        assert result.code == 0, result.err
        assert nearly(view.to_json(), json.loads(result.out))


def table(view):
    return list(csv.DictReader(StringIO(view.content("csv").decode())))


def test_tables_hold_what_the_json_does(both, alone):
    rows, masks = table(both), both.to_json()["masks"]
    assert len(rows) == 6 and [row["rank"] for row in rows] == ["1", "2", "3"] * 2
    second = masks[1]["hf_predictions"][2]
    assert (rows[5]["hf_token"], int(rows[5]["hf_token_id"])) == (
        second["token"], second["token_id"],
    )  # fmt: skip
    assert float(rows[5]["hf_logit"]) == second["logit"]
    assert list(table(alone)[0]) == [
        "position", "rank", "token", "token_id", "probability", "logit",
    ]  # fmt: skip


def test_arrays_are_all_logits(both):
    with np.load(BytesIO(both.content("npz"))) as saved:
        assert saved["positions"].tolist() == [mask.position for mask in both.data.masks]
        best = saved["logits"].argmax(axis=-1).tolist()
        assert best == [mask.predictions[0].token_id for mask in both.data.masks]


def bars_of(view):
    return [block for block in walk(view.blocks) if isinstance(block, Bars)]


def test_the_bars_are_the_probabilities_on_one_scale(both):
    masks = both.to_json()["masks"]
    most = max(p["probability"] for mask in masks for p in mask["predictions"])
    panels = [axes for axes in both.figure().axes if axes.patches]
    assert len(bars_of(both)) == len(panels) == 2
    for bars, axes, mask in zip(bars_of(both), panels, masks, strict=True):
        widths = [patch.get_width() for patch in axes.patches]
        assert list(bars.values) == widths == [p["probability"] for p in mask["predictions"]]
        assert list(bars.theirs) == [p["probability"] for p in mask["hf_predictions"]]
        assert bars.full == pytest.approx(most, abs=1e-5)
        assert axes.get_xlim() == panels[0].get_xlim()


def test_tokens_that_one_side_lacks_stand_by_themselves(explorer, monkeypatch):
    real = explorer.reference.logits
    monkeypatch.setattr(explorer.reference, "logits", lambda *a: real(*a).roll(1, dims=-1))
    view = see(explorer, "The [MASK].", top_k=3)
    [badge] = [block for block in view.blocks if isinstance(block, Badge)]
    ours, theirs = bars_of(view)
    assert not badge.good and badge.text.startswith("another top 3")
    assert ours.theirs == (None,) * 3 and theirs.theirs is None
    assert list(theirs.values) == pytest.approx(list(ours.values), abs=1e-5)


def test_it_is_a_method(explorer, alone):
    again = explorer.predict(TEXT, top_k=3, hf=False)
    assert again.to_json() == alone.to_json() and "predict" in dir(explorer)
    [ours, _] = explorer.fill_masks(TEXT, top_k=3).masks
    assert again.data.masks[0] == ours


def test_many_masks_are_cut_to_the_first_and_it_is_said(explorer, monkeypatch):
    monkeypatch.setattr(module, "MOST_MASKS", 2)
    view = see(explorer, "[MASK] a [MASK] b [MASK]", hf=False)
    assert len(bars_of(view)) == 2 and len(view.to_json()["masks"]) == 3
    [note] = [block for block in view.blocks if isinstance(block, Note)]
    assert "first 2 of 3 masks" in note.text


def test_a_text_without_a_mask_is_refused_however_it_comes(explorer):
    encoding = explorer.encode("No mask here.")
    for text in ("No mask here.", encoding):
        with pytest.raises(MbexploreError, match=r"has no \[MASK\]; put"):
            see(explorer, text)


@pytest.mark.parametrize(
    ("text", "word", "most", "expected"),
    [
        ("The capital is X.", "X", 40, "The capital is X."),
        ("one two three four X five six seven", "X", 19, "…four X five six…"),
        ("X five six seven", "X", 8, "X five…"),
        ("one two three X", "X", 8, "…three X"),
        ("a" * 50 + "X" + "b" * 50, "X", 10, "…X…"),
    ],
)
def test_the_text_around_a_mask_is_cut_at_words(text, word, most, expected):
    start = text.index(word)
    assert around(text, (start, start + len(word)), most) == expected


MANY = "The [MASK] rises.\n\nA [MASK] and a [MASK].\nHe said [MASK].\n"


@pytest.mark.parametrize("with_hf", [False, True])
def test_several_texts_are_saved_in_one_file(tmp_path, with_hf):
    (tmp_path / "texts.txt").write_text(MANY)
    arguments = ["predict", "--lines", tmp_path / "texts.txt", "--json", "-k", "2"]
    arguments += [] if with_hf else ["--no-hf"]
    done = run_cli(*arguments, "-o", tmp_path / "many.json")
    assert done.code == 0, done.err
    printed = [json.loads(line) for line in done.out.splitlines()]
    assert json.loads((tmp_path / "many.json").read_text()) == {"results": printed}
    assert [len(answer["masks"]) for answer in printed] == [1, 2, 1]
    arguments += ["--hf"] if with_hf else []
    assert run_cli(*arguments, "-o", tmp_path / "many.csv").code == 0
    header, *rows = csv.reader(StringIO((tmp_path / "many.csv").read_text()))
    assert header[:4] == ["line", "text", "position", "rank"]
    assert len(header) == (12 if with_hf else 8)
    assert [row[0] for row in rows] == [*"00", *"1111", *"22"]
    assert [row[1] for row in rows[::2]] == [printed[i]["text"] for i in (0, 1, 1, 2)]
    named = [p["token"] for a in printed for m in a["masks"] for p in m["predictions"]]
    assert [row[4] for row in rows] == named


def test_several_texts_are_packed_and_get_what_each_gets_alone(tmp_path, monkeypatch):
    (tmp_path / "texts.txt").write_text(MANY)
    rows = []
    real = ModernBertForMaskedLM.forward

    def forward(self, input_ids, *rest, **options):
        rows.append(tuple(input_ids.shape))
        return real(self, input_ids, *rest, **options)

    monkeypatch.setattr(ModernBertForMaskedLM, "forward", forward)
    done = run_cli("predict", "--lines", tmp_path / "texts.txt", "--json", "--no-hf")
    together = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == 1 and rows[0][0] == 1
    for answer in together:
        alone = run_cli("predict", answer["text"], "--json", "--no-hf")
        assert nearly(json.loads(alone.out), answer)


def test_a_picture_holds_one_text_and_is_refused_before_any_work(tmp_path):
    (tmp_path / "texts.txt").write_text(MANY)
    done = run_cli(
        "predict", "--lines", tmp_path / "texts.txt", "-o", tmp_path / "x.png", "-m", "none"
    )
    assert done.code == 1 and "choose one of .json, .csv" in done.err
    assert not (tmp_path / "x.png").exists()
