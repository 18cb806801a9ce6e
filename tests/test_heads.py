"""The atlas against plain loops over the dense maps, and on maps made by hand."""

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis import heads
from mbexplore.analysis.head_masses import COUNTED, MASSES, is_punctuation
from mbexplore.analysis.heads import (
    VALUES,
    Sink,
    class_scores,
    classify,
    head_atlas,
    strongest_heads,
)
from mbexplore.analysis.similar_heads import jensen_shannon, similar_heads
from mbexplore.errors import TextError
from mbexplore.views.heads import spread_of
from tests.cli_runner import run_cli

TEXT = "The river runs, from the [MASK] to the sea; and the road follows it down... (far). " * 2
KEEP = ("attention", "values")


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=KEEP)


@pytest.fixture(scope="module")
def rows(recording):
    return {(row.layer, row.head): row for row in head_atlas([recording])}


def by_loops(recording, layer, head):
    """Entropy, distance, masses and received weight of one head, the slow way."""
    dense = recording.attention(layer, head)[0].double().numpy()
    seq, reach, encoding = len(dense), recording.config.half_window(layer), recording.encoding
    entropies, distance, masses = [], 0.0, dict.fromkeys(MASSES, 0.0)
    rows = dict.fromkeys(MASSES, 0)
    received, seen = np.zeros(seq), np.zeros(seq)
    for i in range(seq):
        keys = [j for j in range(seq) if reach is None or abs(i - j) <= reach]
        row = dense[i, keys]
        entropies.append(-sum(w * math.log(w) for w in row if w) / math.log(len(keys)))
        able = set()
        for j in keys:
            weight, token = dense[i, j], encoding.tokens[j]
            distance += weight * abs(i - j)
            received[j] += weight
            seen[j] += 1
            hits = {
                "self": i == j, "previous": j == i - 1, "next": j == i + 1,
                "cls": j == 0, "sep": j == seq - 1, "mask": token.strip() == "[MASK]",
                "punctuation": token.strip() in {",", ";", ".", "...", "(", ")", ").", ".)"},
                "edge": reach is not None and abs(i - j) == reach,
                "far": abs(i - j) > recording.config.local_attention // 2,
            }  # fmt: skip
            for name, hit in hits.items():
                masses[name] += weight * hit
            able |= {name for name, hit in hits.items() if hit}
        for name in able:
            rows[name] += 1
    means = {name: mass / max(1, rows[name]) for name, mass in masses.items()}
    return np.mean(entropies), distance / seq, means, rows, received / seen


@pytest.mark.parametrize("block", [2**23, 1])  # in one block, and in blocks of 16 rows
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (3, 2), (1, 1), (4, 3)])
def test_every_statistic_is_that_of_the_dense_map(recording, monkeypatch, layer, head, block):
    monkeypatch.setattr(heads, "BLOCK_WEIGHTS", block)
    row = head_atlas([recording])[layer * 4 + head]
    entropy, distance, masses, eligible, received = by_loops(recording, layer, head)
    assert (row.layer, row.head) == (layer, head)
    assert row.entropy == pytest.approx(entropy, abs=1e-6)
    assert row.distance == pytest.approx(distance, rel=1e-5)
    assert row.masses == pytest.approx(masses, abs=1e-6)
    assert row.rows == eligible and row.queries == len(recording)
    assert row.rows["previous"] == row.rows["next"] == row.queries - 1
    assert masses["mask"] > 0 and masses["punctuation"] > 0
    assert row.sink.position == received.argmax()
    assert row.sink.weight == pytest.approx(received.max(), abs=1e-6)
    value = recording.v(layer)[head, row.sink.position]
    assert row.sink.value_norm == pytest.approx(float(value.norm()), rel=1e-5)


def test_many_texts_are_averaged_by_query(explorer, recording, rows):
    other = explorer.record("A short text about the sea.", keep=KEEP)
    alone = {(row.layer, row.head): row for row in head_atlas([other])}
    sizes = np.array([len(recording), len(other)])
    calls = []
    both = head_atlas([recording, other], lambda done, count: calls.append((done, count)))
    for row in both:
        pair = (rows[row.layer, row.head], alone[row.layer, row.head])
        for get, lost in (
            (lambda r: r.entropy, 0), (lambda r: r.distance, 0), (lambda r: r.masses["next"], 1),
        ):  # fmt: skip
            values = [get(each) for each in pair]
            assert get(row) == pytest.approx(np.average(values, weights=sizes - lost), rel=1e-6)
        assert row.spread["mask"] == 0  # one text alone has a mask
        assert row.sink.weight == max(each.sink.weight for each in pair)
    assert calls == 2 * [(i, 9) for i in range(1, 10)]
    with pytest.raises(TextError):
        head_atlas([])


def hand_made(recording, layer, q, k):
    values = dict(recording.values)
    values[f"layers.{layer}.rot_q"], values[f"layers.{layer}.rot_k"] = q, k
    return dataclasses.replace(recording, values=values)


@pytest.mark.parametrize("layer", [3, 4])
def test_a_uniform_head_has_entropy_one_and_is_broad(recording, layer):
    nothing = torch.zeros_like(recording.q(layer))
    row = head_atlas([hand_made(recording, layer, nothing, nothing)])[layer * 4]
    assert row.entropy == pytest.approx(1, abs=1e-6) and row.label == "broad"


def test_a_planted_sink_is_found_with_its_value_norm(recording):
    q, k = torch.zeros_like(recording.q(3)), torch.zeros_like(recording.k(3))
    q[:, :, 0], k[:, 5, 0] = 10.0, 20.0
    row = head_atlas([hand_made(recording, 3, q, k)])[12]
    assert (row.label, row.sink.position, row.sink.is_special) == ("sink", 5, False)
    assert row.sink.weight == pytest.approx(1, abs=1e-6)
    assert row.sink.token == recording.encoding.tokens[5]
    assert row.sinks == (row.sink,) and row.sink.occurrences == 1


def test_every_sink_is_named_once_with_its_places(recording):
    q, k = torch.zeros_like(recording.q(3)), torch.zeros_like(recording.k(3))
    q[:, :, 0] = 10.0
    tokens = recording.encoding.tokens
    commas = [i for i, token in enumerate(tokens) if token.strip() == ","]
    k[:, commas, 0], k[:, 0, 0] = 20.0, 20.2
    one, two = hand_made(recording, 3, q, k), hand_made(recording, 3, q, k)
    row = head_atlas([one, two])[13]
    first, second = row.sinks
    assert (first.token, first.position, first.is_special) == ("[CLS]", 0, True)
    assert first.occurrences == 2
    assert (second.position, second.occurrences) == (commas[0], 2 * len(commas)) and len(commas) > 1
    share = math.exp(0.2 * 10 / 8)
    weights = np.array([share, 1.0]) / (share + len(commas))
    assert [first.weight, second.weight] == pytest.approx(weights, rel=1e-5)
    for sink in row.sinks:
        value = recording.v(3)[1, sink.position]
        assert sink.value_norm == pytest.approx(float(value.norm()), rel=1e-5)
    mean = float(recording.v(3)[1].norm(dim=-1).mean())
    assert first.mean_value_norm == pytest.approx(mean, rel=1e-5)
    assert row.scores["separator"] == pytest.approx(weights[0], rel=1e-5)
    assert (row.label, row.score) == ("punctuation", pytest.approx(1 - weights[0], rel=1e-5))


def test_the_strongest_head_of_each_class(rows):
    for name, row in strongest_heads(rows.values()).items():
        assert row.scores[name] == max(each.scores[name] for each in rows.values())
    best = strongest_heads(rows.values())["previous"]
    assert best.scores["previous"] == best.masses["previous"]


def test_classes_of_masses():
    plain = Sink(0, 3, "a", False, 0.1, 1, 1, 1)
    special = dataclasses.replace(plain, token="[CLS]", is_special=True, weight=0.9)

    def named(entropy, most=plain, able=1.0, **masses):
        values = dict.fromkeys(VALUES, 0.0) | masses | {"entropy": entropy}
        return classify(class_scores(values, dict.fromkeys(COUNTED, able), most))

    assert named(0.3, previous=0.7, self=0.5, far=0.9) == ("previous", 0.7)
    assert named(0.3, special, separator=0.6) == ("separator", 0.6)
    assert named(0.3, dataclasses.replace(plain, weight=0.8)) == ("sink", 0.8)
    assert named(0.3, punctuation=0.5) == ("punctuation", 0.5)
    assert named(0.3, edge=0.39) == ("unclassified", 0.39)
    assert named(0.3, edge=0.39, far=0.6) == ("far", 0.6)
    assert named(0.95, next=0.7) == ("broad", 0.95)
    assert named(0.3, previous=0.9, able=0.49) == ("unclassified", 0.1)  # few rows have one
    tied = dataclasses.replace(plain, weight=0.523892959)
    assert named(0.3, tied, mask=0.523892901) == ("mask", 0.523892901)
    assert named(0.3, dataclasses.replace(tied, weight=0.5241), mask=0.5239)[0] == "sink"


def test_punctuation():
    assert [is_punctuation(t) for t in (" ,", "...", "a.", " ", "[MASK]", "$")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_jensen_shannon_at_its_ends_and_by_hand():
    one, other, even = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])
    assert float(jensen_shannon(one, one)) == 0
    assert float(jensen_shannon(one, other)) == 1
    # m = (3/4, 1/4): KL(one|m) = log2(4/3); KL(even|m) = 1/2 log2(2/3) + 1/2 log2(2).
    by_hand = (math.log2(4 / 3) + math.log2(2 / 3) / 2 + 0.5) / 2
    assert float(jensen_shannon(one, even)) == pytest.approx(math.sqrt(by_hand))
    assert float(jensen_shannon(even, one)) == pytest.approx(math.sqrt(by_hand))


def test_a_copied_head_is_the_most_alike(recording):
    copied = hand_made(recording, 6, recording.q(3).roll(1, 0), recording.k(3).roll(1, 0))
    found = similar_heads(copied, 3, 1)
    assert (found[0].layer, found[0].head) == (6, 2) and found[0].distance < 1e-6
    assert len(found) == 35 and found[1].distance > 1e-3
    back = {(each.layer, each.head): each.distance for each in similar_heads(recording, 4, 0)}
    there = {(each.layer, each.head): each.distance for each in similar_heads(recording, 7, 2)}
    assert back[7, 2] == pytest.approx(there[4, 0])


def test_numbers_spread_over_texts(explorer, recording):
    other = explorer.record("A short text about the sea.", keep=KEEP)
    alone = [head_atlas([one]) for one in (recording, other)]
    for row, *pair in zip(head_atlas([recording, other]), *alone, strict=True):
        for name in ("previous", "self"):
            expected = np.std([one.masses[name] for one in pair], ddof=1)
            assert row.spread[name] == pytest.approx(expected, rel=1e-5, abs=1e-9)
        expected = np.std([one.entropy for one in pair], ddof=1)
        assert row.spread["entropy"] == pytest.approx(expected, rel=1e-5)
    assert set(alone[0][0].spread.values()) == {0.0}


def test_heads_on_the_command_line(explorer, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("The sea is [MASK].\n\nThe river runs to the sea.\n")
    asked = ("heads", "--lines", texts)
    result = run_cli(*asked, "-o", tmp_path / "heads.csv")
    tokens = sum(len(explorer.encode(line)) for line in texts.read_text().splitlines() if line)
    assert result.code == 0 and f"Over 2 texts, {tokens} tokens." in result.out
    assert all(len(line) <= 80 for line in result.out.splitlines())
    table = list(csv.DictReader(io.StringIO((tmp_path / "heads.csv").read_text())))
    answer = json.loads(run_cli(*asked, "--json").out)
    assert len(table) == len(answer["heads"]) == 36
    for line, row in zip(table, answer["heads"], strict=True):
        assert float(line["entropy"]) == row["entropy"]
        assert float(line["previous"]) == row["masses"]["previous"]
        assert float(line["previous spread"]) == row["spread"]["previous"]
    for name, best in answer["strongest"].items():
        assert best["score"] == max(row["scores"][name] for row in answer["heads"])
    said = " ".join(result.out.split())
    for name in {row["label"] for row in answer["heads"]} - {"unclassified"}:
        best = max((r for r in answer["heads"] if r["label"] == name), key=lambda r: r["score"])
        share = f"{best['score']:.0%}"  # the one that the table has in the class's column
        assert f" {name} {best['layer']}.{best['head']} ({share})" in said
        assert f"{best['layer']}.{best['head']} {name} {share}" in said


@pytest.mark.parametrize("sort", ["score", "spread", "entropy", "distance", "previous", "class"])
def test_heads_are_sorted_by_what_is_asked_for(explorer, sort):
    texts = ["The river runs to the sea.", "The sea is [MASK]."]
    found = explorer.heads(texts, sort=sort)
    by_name = {f"{row.layer}.{row.head}": row for row in found.data.heads}
    rows = [by_name[row[0].value] for row in found.table.cells]
    assert sorted(by_name) == sorted(f"{row.layer}.{row.head}" for row in rows)
    if sort == "class":
        assert [row.label for row in rows] == sorted(
            (row.label for row in rows), key=lambda label: (label == "unclassified", label)
        )
        return
    numbers = {
        "score": lambda row: row.score,
        "spread": lambda row: spread_of(row) or 0.0,
        "previous": lambda row: row.masses["previous"],
    }
    values = [numbers.get(sort, lambda row: getattr(row, sort))(row) for row in rows]
    assert values == sorted(values, reverse=True)


def test_the_heads_like_one(explorer):
    found = explorer.heads("The river runs to the sea.", like="4.2")
    likes = similar_heads(found.session.recording(*KEEP), 4, 2)
    assert found.data.similar == likes
    assert [row[0].value for row in found.table.cells] == [f"{o.layer}.{o.head}" for o in likes]
    saved = np.load(io.BytesIO(found.content("npz")))
    assert saved["distance_to_head"][likes[0].layer, likes[0].head] == likes[0].distance
    assert saved["far"].shape == (9, 4)


@pytest.mark.parametrize("like", ["9.0", "0.4", "three"])
def test_a_head_that_is_not_there(like):
    assert run_cli("heads", "The sea.", "--like", like).code == 1
