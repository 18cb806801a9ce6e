"""Many texts to a table: what each gets alone, errors in rows, going on where a run broke off."""

import csv
import importlib.util
import json
import re
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.cli import many
from mbexplore.errors import OutputError, TextError, UsageError
from mbexplore.partial import Partial
from mbexplore.prompts import Prompt, Prompts
from mbexplore.rows import read_rows
from mbexplore.session import Session
from tests.cli_runner import run_cli

TEXTS = [
    "The capital of France is [MASK].",
    "The [MASK] rises twice a day.",
    "She was a [MASK] in the harbour.",
    "[MASK] and [MASK] are old.",
    "It is [MASK].",
]


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture
def prompts(tmp_path):
    """A csv with ids, another column before the text, and a text without a mask."""
    path = tmp_path / "prompts.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "kind", "prompt"])
        writer.writerows([f"p{i}", "cloze", text] for i, text in enumerate(TEXTS))
        writer.writerow(["bad", "none", "No mask, here."])
    return path


def table(path):
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_predictions_are_those_of_each_text_alone(explorer, prompts, tmp_path, ending, monkeypatch):
    monkeypatch.setattr(many, "TOGETHER", 4)
    out = tmp_path / f"out.{ending}"
    done = run_cli("predict", "--file", prompts, "-o", out, "-k", 2)
    assert done.code == 1 and "6 texts, 1 with an error" in done.err
    rows = table(out)
    expected = []
    for i, text in enumerate(TEXTS):
        alone = explorer.predict(text, top_k=2, hf=False).table
        expected += [(f"p{i}", text, *(cell.value for cell in row)) for row in alone.cells]
    assert len(rows) == len(expected) + 1
    for row, (name, text, position, rank, token, token_id, p, logit) in zip(
        rows, expected, strict=False
    ):
        assert (row["id"], row["text"], row["token"]) == (name, text, token)
        assert [int(row[n]) for n in ("position", "rank", "token_id")] == [position, rank, token_id]
        assert float(row["probability"]) == pytest.approx(p, abs=1e-4)
        assert float(row["logit"]) == pytest.approx(logit, abs=1e-3)
    assert rows[-1]["id"] == "bad" and "has no [MASK]" in rows[-1]["error"]
    assert not list(tmp_path.glob("*.partial"))


def test_scores_likelihoods_and_vectors_are_those_of_each_text_alone(explorer, tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(TEXTS))
    out = tmp_path / "out.jsonl"
    words = ("sea", "fisherman")
    assert run_cli("score", "--lines", lines, "--targets", ",".join(words), "-o", out).code == 0
    found = iter(table(out))
    for number, text in enumerate(TEXTS):
        for one in explorer.score(text, targets=words, hf=False).data.found.targets:
            row = next(found)
            assert (row["line"], row["text"], row["target"]) == (number, text, one.text)
            assert row["log_probability"] == pytest.approx(one.log_probability, abs=1e-3)
    assert run_cli("likelihood", "--lines", lines, "-o", out).code == 0
    every = [
        x for t in TEXTS for x in explorer.likelihood(t, hf=False).data.found.log_probabilities
    ]
    assert [row["log_probability"] for row in table(out)] == pytest.approx(every, abs=1e-3)
    assert run_cli("embed", "--lines", lines, "--pooling", "cls", "-o", out).code == 0
    vectors = explorer.embed(TEXTS, pooling="cls").data.vectors.numpy()
    np.testing.assert_allclose([row["vector"] for row in table(out)], vectors, atol=1e-4)
    assert run_cli("embed", "--lines", lines, "-o", tmp_path / "out.csv").code == 0
    header, *rows = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    assert header[:3] == ["line", "text", "vector_0"] and len(header) == 2 + 256 == len(rows[0])


def test_hugging_face_is_asked_only_on_request(prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(mbexplore.Explorer, "load_reference", None)  # not to be called
    assert run_cli("predict", "--file", prompts, "-o", tmp_path / "out.csv").code == 1
    with pytest.raises(TypeError):
        run_cli("predict", "--file", prompts, "-o", tmp_path / "out2.csv", "--hf")


def test_a_classifier_labels_many_texts(tmp_path):
    from dataclasses import replace

    from mbexplore.checkpoints.model import save_model
    from mbexplore.network.heads import ModernBertForSequenceClassification
    from tests.handbuilt import build_tokenizer, handbuilt_config

    config = replace(handbuilt_config(), labels=("bad", "fair", "good"))
    save_model(tmp_path / "model", ModernBertForSequenceClassification(config).eval())
    build_tokenizer()._inner.save(str(tmp_path / "model" / "tokenizer.json"))
    (tmp_path / "lines.txt").write_text("a b\nc\n")
    out = tmp_path / "out.jsonl"
    model = ["-m", tmp_path / "model"]
    assert run_cli("predict", "--lines", tmp_path / "lines.txt", "-o", out, *model).code == 0
    alone = json.loads(run_cli("predict", "a b", "--json", "--no-hf", *model).out)
    expected = alone["answers"][0]["predictions"]
    rows = [row for row in table(out) if row["line"] == 0]
    assert [row["answer"] for row in rows] == [one["answer"] for one in expected]
    assert [row["logit"] for row in rows] == pytest.approx([one["logit"] for one in expected])
    refused = run_cli("likelihood", "--lines", tmp_path / "lines.txt", "-o", out, *model)
    assert refused.code == 1 and "has no MLM head" in refused.err


def test_strict_stops_at_the_first_error(prompts, tmp_path):
    out = tmp_path / "out.csv"
    done = run_cli("predict", "--file", prompts, "-o", out, "--strict")
    assert done.code == 1 and "Text bad: The text 'No mask, here.' has no [MASK]" in done.err
    assert not out.exists()


def test_what_fails_for_every_text_stops_at_once(tmp_path):
    lines = tmp_path / "lines.txt"
    lines.write_text("a [MASK]\nb [MASK]\n")
    out = tmp_path / "out.csv"
    done = run_cli("score", "--lines", lines, "--targets", "[SEP]", "-o", out)
    assert done.code == 1 and "can't spell '[SEP]'" in done.err and not out.exists()


def test_a_word_too_long_for_one_text_is_that_texts_error(explorer, tmp_path):
    limit = explorer.model.config.max_position_embeddings
    full = "sea " * (limit - 4) + "[MASK]"
    assert len(explorer.encode(full)) == limit  # and the first word is two tokens
    lines = tmp_path / "lines.txt"
    lines.write_text(f"The [MASK] rises.\n{full}\n")
    out = tmp_path / "out.jsonl"
    done = run_cli("score", "--lines", lines, "--targets", "fisherman", "-o", out)
    assert done.code == 1
    good, bad = table(out)
    assert good["probability"] > 0 and "fisherman" in bad["error"] and "shorten it" in bad["error"]


@pytest.mark.parametrize("cut", [0, 7])
def test_an_interrupted_run_goes_on(prompts, tmp_path, monkeypatch, cut):
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    monkeypatch.setattr(many, "TOGETHER", 2)
    run_cli("predict", "--file", prompts, "-o", whole)
    append, seen = Partial.append, []

    def stop(self, texts):
        append(self, texts)
        raise RuntimeError("the power went off")

    monkeypatch.setattr(Partial, "append", stop)
    with pytest.raises(RuntimeError):
        run_cli("predict", "--file", prompts, "-o", out)
    partial = tmp_path / "out.csv.partial"
    if cut:  # the line of the last part was being written
        partial.write_bytes(partial.read_bytes()[:-cut])
    monkeypatch.setattr(Partial, "append", append)
    real = mbexplore.Explorer.fill_masks_many

    def watch(self, texts, **options):
        seen.extend(texts)
        return real(self, texts, **options)

    monkeypatch.setattr(mbexplore.Explorer, "fill_masks_many", watch)
    other = run_cli("predict", "--file", prompts, "-o", out, "-k", 3)
    assert (
        other.code == 2 and "is of another command or version; remove it" in other.err and not seen
    )
    done = run_cli("predict", "--file", prompts, "-o", out)
    start = 0 if cut else 2
    assert ("Going on at text 2 of 6." in done.err) == (start == 2)
    assert [encoding.text for encoding in seen] == TEXTS[start:]
    assert out.read_bytes() == whole.read_bytes()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_processes_write_what_threads_write(prompts, tmp_path, monkeypatch, two_threads):
    monkeypatch.setattr(many, "TOGETHER", 1)  # six parts, of which two are made before they begin
    forked, begun = [], many.in_processes
    monkeypatch.setattr(many, "in_processes", lambda *given: forked.append(1) or begun(*given))
    run_cli("predict", "--file", prompts, "-o", tmp_path / "a.csv")
    assert forked == [1] * (sys.platform == "linux")
    monkeypatch.setattr(many, "can_fork", lambda: False)
    run_cli("predict", "--file", prompts, "-o", tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize(("number", "ending"), [(1, "csv"), (33, "csv"), (257, "jsonl")])
def test_wherever_a_run_is_stopped_the_file_ends_in_the_same_bytes(
    tmp_path, monkeypatch, two_threads, number, ending
):
    lines, out = tmp_path / "lines.txt", tmp_path / f"out.{ending}"
    # Of many lengths, so that other texts beside one round it another way; some with errors.
    texts = [" tide" * (i * 7 % 23) + " [MASK]." * (i % 9 != 4) + " rises" for i in range(number)]
    lines.write_text("".join(text.strip() + "\n" for text in texts))
    finish, kept = Partial.finish, []

    def keep(self):
        kept.append(self._place.read_bytes())
        finish(self)

    monkeypatch.setattr(Partial, "finish", keep)
    code = run_cli("predict", "--lines", lines, "-o", out, "-k", 1).code
    whole, [rows] = out.read_bytes(), kept
    for part in (0.0, 0.3, 0.6, 0.95, 1.0):
        out.unlink()
        out.with_name(f"{out.name}.partial").write_bytes(rows[: round(part * len(rows))])
        assert run_cli("predict", "--lines", lines, "-o", out, "-k", 1).code == code
        assert out.read_bytes() == whole


def test_a_file_of_which_no_text_can_be_looked_at_leaves_nothing(tmp_path):
    (tmp_path / "texts.txt").write_text("No mask.\nNone here.\n")
    done = run_cli("predict", "--lines", tmp_path / "texts.txt", "-o", tmp_path / "out.csv")
    assert done.code == 1 and "Text 0: The text 'No mask.' has no [MASK]" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["texts.txt"]


def test_no_more_texts_are_held_than_are_run_together(prompts, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "TOGETHER", 1)
    alive, most = weakref.WeakSet(), []
    init = Session.__init__

    def watch(self, *given, **options):
        init(self, *given, **options)
        alive.add(self)
        most.append(len(alive))

    monkeypatch.setattr(Session, "__init__", watch)
    run_cli("predict", "--file", prompts, "-o", tmp_path / "out.csv")
    assert len(most) == 6 and max(most) <= 3


def test_parquet(prompts, tmp_path):
    out = tmp_path / "out.parquet"
    done = run_cli("predict", "--file", prompts, "-o", out, "-k", 1)
    if importlib.util.find_spec("pyarrow") is None:
        assert done.code == 2 and "needs pyarrow; pip install pyarrow" in done.err
        return
    from pyarrow import parquet

    rows = parquet.read_table(out).to_pylist()
    run_cli("predict", "--file", prompts, "-o", tmp_path / "out.csv", "-k", 1)
    assert [row["token"] for row in rows[:-1]] == [
        row["token"] for row in table(tmp_path / "out.csv")[:-1]
    ]
    again = run_cli("predict", "--file", out, "--column", "text", "--json", "--id", "position")
    assert again.code == 1


def test_without_a_file_results_are_printed_with_their_ids(prompts):
    done = run_cli("predict", "--file", prompts, "--json", "--no-hf")
    assert done.code == 1 and "No mask, here." in done.err  # nothing is run then
    prompts.write_text("".join(prompts.read_text().splitlines(keepends=True)[:3]))
    done = run_cli("predict", "--file", prompts, "--json", "--no-hf")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["p0", "p1"]
    done = run_cli("embed", "--file", prompts, "--json")
    assert json.loads(done.out)["texts"] == TEXTS[:2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--column", "txt"], "has no column 'txt'; name one of 'id', 'kind', 'prompt'"),
        (["--id", "name"], "has no column 'name'; name one of"),
        (["-o", "x.docx"], "choose one of"),
        (["-o", "x.jsonl", "-m", "none"], "none"),
    ],
)
def test_a_file_that_lacks_something_is_refused(prompts, arguments, sentence):
    done = run_cli("predict", "--file", prompts, *arguments, "--no-hf")
    assert done.code in (1, 2) and sentence in done.err, done.err


@pytest.mark.parametrize("option", ["--column", "--id", "--strict"])
def test_options_of_many_texts_need_many_texts(option):
    value = [] if option == "--strict" else ["x"]
    done = run_cli("predict", TEXTS[0], option, *value)
    assert done.code == 2 and f"{option} has no effect without a file of many texts" in done.err


def test_one_text_has_no_table_of_many(tmp_path):
    done = run_cli("predict", TEXTS[0], "--no-hf", "-o", tmp_path / "x.jsonl")
    assert done.code == 1 and "choose one of .png" in done.err


# ---- files


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", 'x,text\n1,"a ""b"",\nc"\n\n2,d\n', [Prompt(0, 'a "b",\nc'), Prompt(1, "d")]),
        ("a.tsv", "id\ttext\nq\ta, b\n", [Prompt("q", "a, b")]),
        ("a.jsonl", '{"id": 7, "text": "a"}\n\n{"id": "x", "text": null}\n',
         [Prompt(7, "a"), Prompt("x", "")]),
        ("a.csv", "\ufeffanything\na\n", [Prompt(0, "a")]),
        ("a.csv", "ID,Sentence\n1,a\n", [Prompt("1", "a")]),
        ("a.txt", "a, b\r\n\r\n{c}\n", [Prompt(0, "a, b"), Prompt(1, "{c}")]),
    ],
)  # fmt: skip
def test_texts_come_with_their_ids(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content.encode())
    prompts = Prompts(tmp_path / name)
    assert list(prompts) == expected and prompts.count() == len(expected)


BROKEN = [
    ("a.jsonl", b'{"text": "a"}\n{"text": \n{"text": 3}\n{"id": 1}\n[]\n{"text": "caf\xe9"}\n'
                b'{"text": "b"}\n', [1, 2, 3, 4, 5]),
    ("a.csv", b"text,x\na,1\nb\nc,2\n", [1]),
    ("a.txt", b"a\ncaf\xe9\nb\n", [1]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "broken"), BROKEN)
def test_broken_rows_are_named_in_their_place(tmp_path, name, content, broken):
    path = tmp_path / name
    path.write_bytes(content)
    prompts = list(Prompts(path).each())
    assert [i for i, one in enumerate(prompts) if one.error] == broken
    assert all(str(path) in prompts[i].error and not prompts[i].text for i in broken)
    survey = Prompts(path).survey()
    assert (survey.rows, survey.broken) == (len(prompts), len(broken))
    assert survey.errors == tuple(prompts[i].error for i in broken[:3])
    with pytest.raises(TextError, match=re.escape(prompts[broken[0]].error)):
        Prompts(path).count()


def test_a_broken_row_is_a_row_with_its_error(tmp_path):
    texts, table = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    texts.write_text('{"text": "A [MASK]."}\n{"text":\n{"text": "The [MASK]."}\n')
    done = run_cli("predict", "--file", texts, "-o", table, "--no-hf", "--strict")
    assert done.code == 1 and "Line 2" in done.err and not table.exists()
    done = run_cli("predict", "--file", texts, "-o", table, "--no-hf")
    rows = [json.loads(line) for line in table.read_text().splitlines()]
    failed = [row for row in rows if "error" in row]
    assert [row["line"] for row in failed] == [1] and "Line 2" in failed[0]["error"]
    assert {row["line"] for row in rows} == {0, 1, 2} and "1 with an error" in done.err


def test_a_dataset_by_name(tmp_path, monkeypatch):
    """A stand-in for the package: what it is asked for, and what it gives."""
    asked = []

    def load_dataset(name, *, split, streaming):
        asked.append((name, split, streaming))
        if split == "none":
            raise ValueError('Bad split: none. Available splits: ["train"]')
        return iter([{"id": "x1", "text": "One [MASK]."}, {"id": "x2", "text": "Two [MASK]."}])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    prompts = Prompts(Path("hf:owner/name"))
    assert [one.id for one in prompts] == ["x1", "x2"]
    assert prompts.count() == 2 and asked[0] == ("owner/name", "train", True)
    with pytest.raises(TextError, match=r"hf:owner/name:none can't be opened .*Bad split"):
        Prompts(Path("hf:owner/name:none")).count()
    done = run_cli("predict", "--lines", "hf:owner/name", "-o", tmp_path / "x.jsonl", "--no-hf")
    assert done.code == 0 and (tmp_path / "x.jsonl").read_text().count("\n") >= 2, done.err
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="pip install datasets"):
        prompts.count()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"a,b\n1,2\n", "has several columns, 'a', 'b'; name the one with the texts"),
        ("a.csv", b"text\n\xff\n", "is not UTF-8"),
        ("a.jsonl", b'{"text": 3}\n', r"Row 0 of .* has 3 in column 'text', which is no text"),
        ("a.jsonl", b'{"text": "a"}\n{"id": 1}\n', "has no column 'text'; name one of 'id'"),
        ("a.csv", b"text\n", "has no rows; give at least one text"),
    ],
)
def test_what_holds_no_texts_is_refused(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=sentence):
        Prompts(tmp_path / name).count()
    with pytest.raises(TextError, match=r"can't be read"):
        list(read_rows(tmp_path / "none.csv"))


def test_a_table_that_cant_be_written_is_one_sentence(tmp_path):
    folder = tmp_path / "gone"
    with pytest.raises(OutputError, match=r"out.csv.partial can't be written"):
        Partial(folder / "out.csv", {})
    kept = Partial(tmp_path / "out.csv", {"a": 1})
    kept.append([[{"x": 1}], [{"y": float("nan")}, {"x": [1, 2]}]])
    with pytest.raises(UsageError, match="is of another command"):
        Partial(tmp_path / "out.csv", {"a": 2})
    beside = tmp_path / "out.csv.partial"
    first, *lines = beside.read_text().splitlines(keepends=True)
    beside.write_text(first.replace('"format": 2, ', "") + '[[{"x": 1}]]\n')
    with pytest.raises(UsageError, match="or version; remove it"):
        Partial(tmp_path / "out.csv", {"a": 1})
    beside.write_text("of somebody's own")
    with pytest.raises(UsageError, match="or version; remove it"):
        Partial(tmp_path / "out.csv", {"a": 1})
    beside.write_text("".join([first, *lines, lines[0].replace('"x"', '"x'), *lines]))
    again = Partial(tmp_path / "out.csv", {"a": 1})
    assert again.done == 2
    again.finish()
    assert (tmp_path / "out.csv").read_text() == "x,y,x_0,x_1\n1,,,\n,,,\n,,1,2\n"
