"""`mbexplore corpus`: what it writes, what it counts, and how it goes on."""

import json

import numpy as np
import pytest

from mbexplore.corpus import build, sources
from mbexplore.corpus.build import alone
from mbexplore.corpus.profile import bundled_folder
from mbexplore.corpus.reader import Store
from mbexplore.corpus.sketch import Shape, Sketch
from mbexplore.corpus.sources import describe, describe_corpus, find_sources
from mbexplore.corpus.store import TABLES
from mbexplore.corpus.tables import head_metrics
from mbexplore.errors import ModelError, OutputError
from mbexplore.jobs import WORKERS
from tests.cli_runner import run_cli
from tests.test_structure import ROOT

parquet = pytest.importorskip("pyarrow.parquet")

LINES = [f"The {word} of the sea rises and falls, {i}." for i in range(12)
         for word in ("tide", "wave", "salt")]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A text file, and the store of it."""
    folder = tmp_path_factory.mktemp("corpus")
    rows = [{"id": f"r{i}", "text": text} for i, text in enumerate([*LINES, " ", "word " * 3000])]
    texts = folder / "texts.jsonl"
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "BLOCK", 8)
        done = run_cli("corpus", "build", texts, "-o", folder / "store", "--control")
    assert done.code == 0, done.err
    return texts, folder / "store", done


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_tables_hold_what_their_docs_say(made):
    texts, folder, done = made
    assert "36 of 38 texts" in done.err and "1 empty, 1 too long" in done.err
    assert {path.name for path in folder.iterdir()} == {
        "manifest.json", "sketch.safetensors", "control.safetensors",
        *(f"{name}.parquet" for name in TABLES),
    }  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    assert str(texts.parent) not in json.dumps(manifest)
    assert (manifest["texts"], manifest["model"]["name"]) == (36, "tiny")
    store = Store(folder)
    heads = store.rows("heads")
    assert [(one["layer"], one["head"]) for one in heads] == [
        (layer, head) for layer in range(9) for head in range(4)
    ]
    for one in heads:
        assert one["queries"] == manifest["tokens"]
        assert sum(one["distances"]) == pytest.approx(1, abs=1e-4)
        assert sum(one["largest"]) == pytest.approx(1)
        assert one["edge"] is None  # no text is as long as a window
    apart = [abs(one["entropy"] - one["control_entropy"]) for one in heads]
    assert max(apart) > 0.1  # trained heads are not what chance gives


def test_examples_name_texts_that_are_there(made):
    _, folder, _ = made
    store = Store(folder)
    texts = {one["text"]: one for one in store.rows("texts")}
    assert all(one["id"] == f"r{number}" for number, one in texts.items())
    examples = store.rows("head_examples", layer=4, head=1)
    strongest = [one["weight"] for one in examples if one["interval"] == "strongest"]
    assert strongest == sorted(strongest, reverse=True) and len(strongest) == 16
    for one in examples:
        assert texts[one["text"]]["tokens"][one["query"]] == one["query_token"]
    for one in store.rows("neuron_examples", layer=4):
        assert texts[one["text"]]["tokens"][one["position"]] == one["token"]
    tokens = store.rows("head_tokens", layer=0, role="key")
    assert any(one["token"] == " sea" and one["occurrences"] == 36 for one in tokens)


def test_a_build_that_was_stopped_goes_on_to_the_same_tables(made, tmp_path, monkeypatch):
    texts, folder, _ = made
    arguments = ("corpus", "build", texts, "-o", tmp_path / "store", "--control")
    monkeypatch.setattr(sources, "BLOCK", 8)
    monkeypatch.setattr(build, "SAVE_AFTER", -1.0)
    real, seen = build.add_block, []

    def stop(*given, **more):
        seen.append(given)
        if len(seen) == 3:
            raise SystemExit(130)
        real(*given, **more)

    monkeypatch.setattr(build, "add_block", stop)
    assert run_cli(*arguments).code == 130
    assert (tmp_path / "store" / "sketch-0.safetensors").exists()
    other = run_cli(*arguments, "--seed", 1)
    assert other.code == 2 and "another build" in other.err
    went_on = run_cli(*arguments)
    assert went_on.code == 0 and "Going on" in went_on.err
    # Blocks that were begun beside the one that failed are lost with it.
    assert 3 + (5 - 2) + 5 <= len(seen) <= 3 + WORKERS + (5 - 2) + 5
    assert content(tmp_path / "store") == content(folder)
    again = run_cli(*arguments)
    assert again.code == 2 and "finished corpus" in again.err


def test_the_tables_are_the_sketch(made, tiny):
    """Every number that a table has of heads comes back from Parquet as it was."""
    _, folder, _ = made
    shape = Shape.of(tiny.model.config)
    sketch, control = (Sketch.load(folder / f"{name}.safetensors", shape)
                       for name in ("sketch", "control"))  # fmt: skip
    rows = Store(folder).rows("heads")
    for prefix, one in (("", sketch), ("control_", control)):
        for name, values in head_metrics(one).items():
            found = [np.nan if row[prefix + name] is None else row[prefix + name] for row in rows]
            np.testing.assert_array_equal(found, values.ravel())
    tokens = sketch.arrays["counts"][1]
    for row in Store(folder).rows("sinks"):
        weight = sketch.arrays["key_tokens"][row["token_id"], row["layer"]].sum() / 2**20
        assert row["share"] == pytest.approx(weight / (4 * tokens))
        assert row["lift"] == pytest.approx(row["share"] * tokens / row["occurrences"])
    for state in Store(folder).rows("states"):
        assert len(state["channels"]) == 256 and state["largest_norm"] >= state["mean_norm"]


def test_merged_stores_are_one_build_over_both(made, tmp_path, monkeypatch):
    texts, _, _ = made
    monkeypatch.setattr(sources, "BLOCK", 8)
    more = tmp_path / "more.txt"
    more.write_text("\n".join(f"A {word} is what they found there." for word in "abcdefghij"))
    parts = tmp_path / "a", tmp_path / "b"
    for part, path in zip(parts, (texts, more), strict=True):
        assert run_cli("corpus", "build", path, "-o", part, "--control").code == 0
    for order in (parts, parts[::-1]):
        done = run_cli("corpus", "merge", *order, "-o", tmp_path / order[0].name / "both")
        assert done.code == 0 and "46 of 48 texts" in done.err, done.err
    done = run_cli("corpus", "build", more, texts, "-o", tmp_path / "both", "--control")
    assert done.code == 0, done.err
    wanted = content(tmp_path / "both")
    assert content(parts[0] / "both") == content(parts[1] / "both") == wanted
    names = {one["text"]: one["id"] for one in Store(tmp_path / "both").rows("texts")}
    assert names[0] == "0" and names[10] == "r0"  # more.txt comes before texts.jsonl
    for given, words in ((parts[:1], "at least two"), ((parts[0],) * 2, "in both sketches"),
                         ((parts[0], bundled_folder()), "is missing")):  # fmt: skip
        done = run_cli("corpus", "merge", *given, "-o", tmp_path / "not")
        assert done.code in (1, 2) and words in done.err, done.err
        assert not (tmp_path / "not" / "manifest.json").exists()
    twice = run_cli("corpus", "build", more, more, "-o", tmp_path / "not")
    assert twice.code == 2 and "hold the same texts" in twice.err


def test_two_builders_in_one_folder(made, tmp_path):
    texts, _, _ = made
    with alone(tmp_path):
        refused = run_cli("corpus", "build", texts, "-o", tmp_path)
        assert refused.code == 1 and "Another build" in refused.err
    with alone(tmp_path), pytest.raises(OutputError), alone(tmp_path):
        pass


def test_broken_rows_are_counted_and_named_or_end_the_build(tmp_path):
    texts, store = tmp_path / "broken.jsonl", tmp_path / "store"
    texts.write_bytes(
        b'{"text": "One text."}\n{"text": \n{"text": 3}\n{"id": 1}\n'
        b'{"text": "caf\xe9"}\n{"text": ""}\n{"text": "Another."}\n'
    )
    command = ("corpus", "build", texts, "-o", store)
    done = run_cli(*command, "--strict")
    assert done.code == 1 and "Line 2" in done.err and not store.exists()
    done = run_cli(*command)
    assert done.code == 0 and "2 of 7 texts" in done.err and "1 empty, 4 broken" in done.err
    assert "Line 2" in done.err and "Row 2" in done.err
    manifest = json.loads((store / "manifest.json").read_text())
    assert (manifest["texts"], manifest["empty"], manifest["broken"]) == (2, 1, 4)
    assert {one["text"] for one in Store(store).rows("texts")} == {0, 6}
    texts.write_text("{\n{\n")
    done = run_cli("corpus", "build", texts, "-o", tmp_path / "none")
    assert done.code == 1 and "Line 1" in done.err and not (tmp_path / "none").exists()


def test_without_pyarrow_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "texts.txt").write_text("A text.\n")
    done = run_cli("corpus", "build", tmp_path / "texts.txt", "-o", tmp_path / "store")
    assert done.code == 2 and "mbexplore[corpus]" in done.err


def test_a_head_is_shown_with_the_weights_of_its_uses(made, tiny):
    texts, folder, _ = made
    content = {one["id"]: one["text"] for one in map(json.loads, texts.read_text().splitlines())}
    shown = tiny.corpus(str(folder), layer=4, head=1, examples=3)
    examples = shown.data.examples
    assert [one.interval for one in examples[:3]] == ["strongest"] * 3
    for one in examples:
        recording = tiny.record(content[one.id])
        weights = recording.attention(4, 1, queries=one.position)[0, 0]
        np.testing.assert_allclose(one.values, weights, atol=1e-5)
        assert one.values[one.key] == pytest.approx(one.value, abs=1e-5)
    ranks = {one.name: one for one in shown.data.metrics}
    heads = tiny.corpus(str(folder)).data
    assert ranks["previous"].rank == 1 + (heads.square("previous") > ranks["previous"].value).sum()
    neuron = tiny.corpus(str(folder), layer=4, neuron=7).data
    for one in neuron.examples:
        assert one.values[one.position] == pytest.approx(one.value, abs=1e-4)
        assert abs(one.value) == pytest.approx(abs(one.values).max(), abs=1e-4)


def test_a_corpus_of_another_model_is_refused(made, explorer):
    _, folder, _ = made
    with pytest.raises(ModelError, match="of tiny and not of handbuilt"):
        explorer.corpus(str(folder))
    with pytest.raises(ModelError, match="No corpus of handbuilt was named"):
        explorer.corpus()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 2, "Nothing to search for"),
        (("--metric", "previous"), 2, "is no comparison"),
        (("--metric", "nearness>1"), 1, "There is no metric"),
        (("--kind", "wide", "--token", "a"), 2, "choose any, global, local"),
    ],
)
def test_a_search_that_makes_no_sense_is_a_sentence(made, options, code, words):
    done = run_cli("corpus", "search", made[1], *options)
    assert done.code == code and words in done.err


def test_the_bundled_corpus_is_of_the_bundled_model_and_texts(tiny):
    store = Store(bundled_folder())
    about = describe(tiny, build.find_thresholds(tiny))
    [source] = find_sources([ROOT / "assets" / "samples" / "factbook.txt"], None, None)
    about |= describe_corpus({str(source.key): dict(source.about)})
    assert {name: store.manifest[name] for name in about} == json.loads(json.dumps(about))
    assert "Head 5.2" in run_cli("corpus", "show", "--layer", 5, "--head", 2).out
