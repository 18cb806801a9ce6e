"""Predictions, verifications and sentence vectors in every form, made again by their command."""

import csv
import json
from io import BytesIO, StringIO

import numpy as np
import pytest

import mbexplore
from mbexplore.analysis.embed import embed
from mbexplore.files import ARRAYS, TABLES
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.plots.predict import MOST_PANELS, Bars, plot_bars
from mbexplore.reference.verify import build_batch, verify
from mbexplore.views.embed import view_embed
from mbexplore.views.predict import around, view_predict
from mbexplore.views.verify import view_verify
from tests.cli_runner import run_cli

TEXT = "The [MASK] of $France is [MASK]."
TEXTS = ["The tide rises.", "- The sea comes in.", "He paid."]
MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF", "html": b"<!doctype", "json": b"{"}


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def views(explorer):
    answer = explorer.predict(TEXT, top_k=3)
    one, two = explorer.encode("The tide rises."), explorer.encode("The tide", pair="- rises.")
    config = explorer.model.config
    padded = verify(explorer, build_batch(one.ids, config, padded=True))
    long = verify(explorer, build_batch(two.ids, config, long=True))
    return {
        "predict": view_predict(explorer, answer, explorer.compare(answer)),
        "predict alone": view_predict(explorer, answer, None),
        "verify": view_verify(explorer, padded, one, padded=True),
        "verify two texts": view_verify(explorer, long, two, long=True),
        "embed": view_embed(explorer, embed(explorer, TEXTS, "cls")),
    }


NAMES = ["predict", "predict alone", "verify", "verify two texts", "embed"]


def nearly(ours, again):
    """Whether two payloads are the same but for the last digits of their numbers."""
    if isinstance(ours, dict):
        return ours.keys() == again.keys() and all(nearly(ours[k], again[k]) for k in ours)
    if isinstance(ours, list):
        return len(ours) == len(again) and all(map(nearly, ours, again))
    return ours == pytest.approx(again, abs=1e-4) if isinstance(ours, float) else ours == again


@pytest.mark.parametrize("name", NAMES)
def test_its_command_makes_it_again(views, name):
    view = views[name]
    result = run_cli(view.command[0], "--json", *view.command[1:])
    assert result.code == 0, result.err
    assert nearly(json.loads(json.dumps(view.payload())), json.loads(result.out))


@pytest.mark.parametrize("name", NAMES)
def test_every_form_is_what_it_says(views, name):
    view = views[name]
    assert set(view.formats) == set(ARRAYS if name == "embed" else TABLES)
    for ending, magic in MAGIC.items():
        assert view.content(ending).startswith(magic)


def table(view):
    return list(csv.DictReader(StringIO(view.content("csv").decode())))


def test_tables_hold_what_the_json_does(views):
    rows, masks = table(views["predict"]), views["predict"].payload()["masks"]
    assert len(rows) == 6 and [row["rank"] for row in rows] == ["1", "2", "3"] * 2
    second = masks[1]["hf_predictions"][2]
    assert (rows[5]["hf_token"], int(rows[5]["hf_id"])) == (second["token"], second["id"])
    assert float(rows[5]["hf_logit"]) == second["logit"]
    assert list(table(views["predict alone"])[0]) == [
        "position", "rank", "token", "id", "probability", "logit",
    ]  # fmt: skip
    checks = views["verify"].payload()["checks"]
    assert [float(row["max_abs"]) for row in table(views["verify"])] == [
        check["max_abs"] for check in checks
    ]
    assert [row["text"] for row in table(views["embed"])] == TEXTS


def test_arrays_are_the_vectors(views):
    with np.load(BytesIO(views["embed"].content("npz"))) as saved:
        payload = views["embed"].payload()
        np.testing.assert_allclose(saved["vectors"], payload["vectors"], atol=1e-7)
        assert saved["texts"].tolist() == TEXTS


def test_the_bars_are_the_probabilities(views):
    figure = views["predict"].draw()
    masks = views["predict"].payload()["masks"]
    assert len(figure.axes) == 2
    for axes, mask in zip(figure.axes, masks, strict=True):
        widths = [patch.get_width() for patch in axes.patches]
        assert widths == [p["probability"] for p in mask["predictions"]]
        [rings] = axes.lines
        assert list(rings.get_xdata()) == [p["probability"] for p in mask["hf_predictions"]]


def test_bars_that_one_side_lacks_and_more_questions_than_panels():
    bars = Bars("what?", ["a", "b", "c"], [0.5, 0.2, None], [0.5, None, 0.3])
    figure = plot_bars([bars] * (MOST_PANELS + 5), "model", "a note")
    assert len(figure.axes) == MOST_PANELS
    assert f"the first {MOST_PANELS} of {MOST_PANELS + 5}" in figure.get_suptitle()
    assert len(figure.axes[0].patches) == 2 and len(figure.axes[0].lines[0].get_xdata()) == 2


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


def test_the_command_saves(tmp_path):
    for command in (["predict", TEXT, "--no-hf"], ["embed", *TEXTS[::2]], ["verify", "A tide."]):
        path = tmp_path / f"{command[0]}.html"
        result = run_cli(*command, "-o", path)
        assert result.code == 0, result.err
        assert str(path) in result.err and "<img" in path.read_text()
    assert "csv" in ARRAYS


def test_a_picture_holds_the_answer_to_one_text(tmp_path):
    (tmp_path / "texts.txt").write_text(f"{TEXT}\n{TEXT}\n")
    result = run_cli("predict", "-f", tmp_path / "texts.txt", "-o", tmp_path / "p.png")
    assert result.code == 2 and "and 2 were given" in result.err and not result.out


MANY = "The [MASK] rises.\n\nA [MASK] and a [MASK].\nHe said [MASK].\n"


@pytest.mark.parametrize("with_hf", [False, True])
def test_several_texts_are_saved_in_one_file(tmp_path, with_hf):
    (tmp_path / "texts.txt").write_text(MANY)
    arguments = ["predict", "--file", tmp_path / "texts.txt", "--json", "-k", "2"]
    arguments += [] if with_hf else ["--no-hf"]
    done = run_cli(*arguments, "-o", tmp_path / "many.json")
    assert done.code == 0, done.err
    printed = [json.loads(line) for line in done.out.splitlines()]
    assert json.loads((tmp_path / "many.json").read_text()) == {"answers": printed}
    assert [len(answer["masks"]) for answer in printed] == [1, 2, 1]
    assert run_cli(*arguments, "-o", tmp_path / "many.csv").code == 0
    header, *rows = csv.reader(StringIO((tmp_path / "many.csv").read_text()))
    assert header[:3] == ["text", "position", "rank"] and len(header) == (11 if with_hf else 7)
    assert [row[0] for row in rows] == [*"00", *"1111", *"22"]
    named = [p["token"] for a in printed for m in a["masks"] for p in m["predictions"]]
    assert [row[3] for row in rows] == named


def test_several_texts_are_packed_and_get_what_each_gets_alone(tmp_path, monkeypatch):
    (tmp_path / "texts.txt").write_text(MANY)
    rows = []
    real = ModernBertForMaskedLM.forward

    def forward(self, input_ids, *rest, **options):
        rows.append(tuple(input_ids.shape))
        return real(self, input_ids, *rest, **options)

    monkeypatch.setattr(ModernBertForMaskedLM, "forward", forward)
    done = run_cli("predict", "--file", tmp_path / "texts.txt", "--json", "--no-hf")
    together = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == 1 and rows[0][0] == 1
    for answer in together:
        alone = run_cli("predict", answer["text"], "--json", "--no-hf")
        assert nearly(json.loads(alone.out), answer)


def test_a_picture_holds_one_text_and_is_refused_before_any_work(tmp_path):
    (tmp_path / "texts.txt").write_text(MANY)
    done = run_cli("predict", "-f", tmp_path / "texts.txt", "-o", tmp_path / "x.png", "-m", "none")
    assert done.code == 2 and "3 were given; save them as .json or .csv" in done.err
    assert not (tmp_path / "x.png").exists()
