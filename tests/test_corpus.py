"""Sketches of a corpus: against dense maps text by text, and the same in any order of blocks."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mbexplore.analysis.head_masses import MASSES
from mbexplore.analysis.heads import head_atlas
from mbexplore.corpus import maps, tiles
from mbexplore.corpus.build import add_block, find_thresholds
from mbexplore.corpus.observe import Observer
from mbexplore.corpus.sketch import (
    EDGES,
    EMPTY,
    HEAD_SUMS,
    SCALE,
    SCALES,
    TOP_HEADS,
    VALUE,
    WEIGHT,
    Shape,
    Sketch,
    hashes,
    merge,
)
from mbexplore.corpus.sources import Block
from mbexplore.corpus.tables import _correlations
from mbexplore.corpus.token_classes import CLASSES
from mbexplore.errors import ModelError
from mbexplore.process import free_memory
from tests.handbuilt import build_explorer, build_random

WORDS = "abcdefghijkl"


def make_texts(count, seed=0, longest=40):
    """Texts over the handbuilt vocabulary, of very different lengths, some with masks."""
    rng = np.random.default_rng(seed)
    texts = []
    for _ in range(count):
        words = list(rng.choice(list(WORDS), size=rng.integers(1, longest)))
        if rng.random() < 0.3:
            words[rng.integers(len(words))] = "[MASK]"
        texts.append(" ".join(words))
    return texts


TEXTS = make_texts(200)
ABOUT = {"model": "random"}


def sketch_of(explorer, blocks, seed=0):
    sketch = Sketch(Shape.of(explorer.model.config), ABOUT)
    observer = Observer(explorer.model, find_thresholds(explorer), sketch, seed)
    for block in blocks:
        add_block(observer, explorer, block)
    return sketch


@pytest.fixture(scope="module")
def whole(explorer, one_thread):
    return sketch_of(explorer, [Block(0, TEXTS)])


@pytest.fixture(scope="module")
def recordings(explorer):
    return [explorer.record(text) for text in TEXTS]


def means(sketch, layer, head):
    sums, rows = sketch.arrays["head_sums"][layer, head], sketch.arrays["head_rows"][layer]
    scales = [SCALES.get(name, SCALE) for name in HEAD_SUMS]
    found = sums / scales / np.maximum(rows, 1)
    return dict(zip(HEAD_SUMS, found, strict=True))


def test_masses_are_those_of_heads(whole, explorer, recordings):
    for row in head_atlas(recordings):
        found = means(whole, row.layer, row.head)
        for name in MASSES:
            assert found[name] == pytest.approx(row.masses[name], abs=2e-5), name
        assert found["entropy"] == pytest.approx(row.entropy, abs=2e-5)
        assert found["distance"] == pytest.approx(row.distance, abs=1e-3)


def dense(recordings, layer, head):
    """Query, key, weight and text of every visible pair, one by one."""
    for number, recording in enumerate(recordings):
        window = recording.config.half_window(layer)
        map_ = recording.attention(layer, head)[0].double()
        for i in range(len(recording)):
            for j in range(len(recording)):
                if window is None or abs(i - j) <= window:
                    yield number, i, j, float(map_[i, j])


def test_the_rest_is_what_dense_maps_give(whole, recordings):
    bins = whole.shape.distance_bins
    for layer in range(3):
        found, total = means(whole, layer, 1), dict.fromkeys(HEAD_SUMS, 0.0)
        rows = {"duplicate": set(), "induction": set()}
        by_bin = np.zeros(len(bins))
        keys = np.zeros(whole.shape.vocab)
        queries = 0
        for text, i, j, weight in dense(recordings, layer, 1):
            ids = recordings[text].encoding.ids
            queries += j == i
            total["left"] += weight * (j < i)
            total["right"] += weight * (j > i)
            total["distance_squared"] += weight * (i - j) ** 2
            total["nats"] -= weight * np.log(weight) if weight else 0.0
            if ids[i] == ids[j] and i != j:
                total["duplicate"] += weight
                rows["duplicate"].add((text, i))
            if j and ids[j - 1] == ids[i] and j - 1 != i:
                total["induction"] += weight
                rows["induction"].add((text, i))
            [place] = [n for n, (low, high) in enumerate(bins) if low <= j - i <= high]
            by_bin[place] += weight
            keys[ids[j]] += weight
        assert queries == sum(map(len, recordings)) == whole.arrays["counts"][1]
        moving = queries - len(recordings)
        assert found["left"] == pytest.approx(total["left"] / moving, abs=1e-5)
        assert found["right"] == pytest.approx(total["right"] / moving, abs=1e-5)
        assert found["nats"] == pytest.approx(total["nats"] / queries, abs=1e-5)
        assert found["distance_squared"] == pytest.approx(
            total["distance_squared"] / queries, rel=1e-3
        )
        for name, where in rows.items():
            assert found[name] == pytest.approx(total[name] / len(where), abs=1e-5)
        np.testing.assert_allclose(whole.arrays["distances"][layer, 1] / SCALE, by_bin, atol=1e-3)
        np.testing.assert_allclose(whole.arrays["key_tokens"][:, layer, 1] / SCALE, keys, atol=1e-3)


def largest_weights(recordings, layer, head):
    """(weight, text, query, key) of every query that is a token of the text."""
    for number, recording in enumerate(recordings):
        map_, words = recording.attention(layer, head)[0], recording.encoding.words
        masks = recording.encoding.mask_positions
        inside = [i for i, word in enumerate(words) if word is not None or i in masks]
        for i in inside:
            weights = map_[i, inside]
            yield float(weights.max()), number, i, inside[int(weights.argmax())]


def test_examples_are_the_strongest_of_each_text(whole, recordings):
    for layer in range(3):
        best = {}
        for use in sorted(largest_weights(recordings, layer, 0)):
            best[use[1]] = use
        wanted = sorted(best.values(), reverse=True)[:TOP_HEADS]
        found = whole.arrays["head_top"][layer, 0]
        np.testing.assert_allclose(found[:, 4] / WEIGHT, [use[0] for use in wanted], atol=1e-5)
        for order, text, query, key, weight in found.tolist():
            assert order == -weight
            map_ = recordings[text].attention(layer, 0)[0]
            assert float(map_[query, key]) == pytest.approx(weight / WEIGHT, abs=1e-5)


def test_samples_and_counts_are_of_their_interval(whole, recordings):
    edges = (0.0, 0.2, 0.4, 0.6, 0.8, 1.1)
    for layer in range(3):
        uses = list(largest_weights(recordings, layer, 1))
        for i in range(5):
            inside = [use for use in uses if edges[i] <= use[0] < edges[i + 1]]
            assert whole.arrays["largest"][layer, 1, i] == len(inside)
            texts, positions = np.array([use[1:3] for use in inside]).reshape(-1, 2).T
            keys = hashes(0, layer * 2 + 1, texts, positions)
            wanted = sorted(zip(keys.tolist(), texts.tolist(), positions.tolist(), strict=True))[:4]
            found = [tuple(row[:3]) for row in whole.arrays["head_sample"][layer, 1, i].tolist()]
            assert [row for row in found if row[0] != EMPTY] == wanted


def test_neurons_and_the_residual_stream(whole, explorer, recordings):
    thresholds = find_thresholds(explorer)["neuron"]
    for layer in range(3):
        values = torch.cat([one.neurons(layer) for one in recordings]).numpy()
        for i, edge in enumerate(EDGES["neuron"]):
            fired = (abs(values) > thresholds[layer] * edge).sum(axis=0)
            np.testing.assert_array_equal(whole.arrays["neuron_fired"][layer, :, i], fired)
        wide = values.astype(np.float64)
        sums = np.stack((wide.sum(0), (wide**2).sum(0)), 1)
        ends = np.stack((values.max(0), -values.min(0)), 1)
        found = (whole.arrays[name][layer] / VALUE for name in ("neuron_sums", "neuron_extremes"))
        for one, wanted in zip(found, (sums, ends), strict=True):
            np.testing.assert_allclose(one, wanted, rtol=1e-6, atol=2e-3)
        by_text = np.stack([one.neurons(layer).abs().amax(0).numpy() for one in recordings])
        top = whole.arrays["neuron_top"][layer]
        wanted = -np.sort(-by_text, axis=0)[:8].T
        np.testing.assert_allclose(-top[..., 0] / VALUE, wanted, atol=1e-4)
        for neuron, rows in enumerate(top.tolist()):
            for _, text, position, value in rows:
                there = float(recordings[text].neurons(layer)[position, neuron])
                assert there == pytest.approx(value / VALUE, abs=1e-4)
    for state in range(4):
        x = torch.cat([one.hidden_states(state) for one in recordings])
        assert whole.arrays["norm_sums"][state] / VALUE == pytest.approx(
            float(x.norm(dim=-1).sum()), rel=1e-5
        )
        most = x.abs().amax(dim=0).numpy()
        np.testing.assert_allclose(whole.arrays["channel_most"][state] / VALUE, most, atol=1e-4)
        longest = float(x.norm(dim=-1).max())
        assert whole.arrays["norm_most"][state] / VALUE == pytest.approx(longest, abs=1e-4)


def classes_of(encoding):
    """Of each token, by hand."""
    for token in encoding.tokens:
        word, is_word = token.strip(), token.strip().isalpha()
        found = {
            "mask": token == "[MASK]",
            "special": token in ("[CLS]", "[SEP]", "[MASK]"),
            "punctuation": word in (",", ".", "-"),
            "number": word.isdigit(),
            "capitalised": is_word and word[0].isupper(),
            "lowercase": is_word and word[0].islower() and token[0] == " ",
            "inside": is_word and word[0].islower() and token[0] != " ",
            "space": token.isspace(),
            "article": word.lower() in ("a", "an", "the"),
            "preposition": word.lower() in ("in", "on", "of"),
            "conjunction": word == "and",
            "pronoun": word in ("i", "it"),
            "auxiliary": word == "was",
        }
        yield [found[name] for name in CLASSES]


@pytest.mark.parametrize("of", ["random", "tiny"])
def test_correlations_are_pearsons(of, explorer, tiny):
    explorer = explorer if of == "random" else tiny
    texts = TEXTS if of == "random" else [
        "In 1984, the Kuznetsov family sold 12 well-worn boats, and it was late.",
        "Rain fell on Ljubljana - again.",
        "The [MASK] of the sea.",
    ]  # fmt: skip
    sketch = Sketch(Shape.of(explorer.model.config), {"thresholds": find_thresholds(explorer)})
    add_block(Observer(explorer.model, sketch.about["thresholds"], sketch), explorer,
              Block(0, texts))  # fmt: skip
    recordings = [explorer.record(text) for text in texts]
    classes = np.array([row for one in recordings for row in classes_of(one.encoding)])
    positions = np.concatenate([np.arange(len(one)) for one in recordings])
    found = _correlations(sketch)
    activations = [
        torch.cat([one.neurons(layer) for one in recordings]).double().numpy()
        for layer in range(sketch.shape.layers)
    ]
    activations = np.concatenate(activations, axis=1)  # (seq, all neurons)
    lively = activations.std(axis=0) > 1e-2  # whole units of a still neuron say little
    columns = {"position": positions, **dict(zip(CLASSES, classes.T, strict=True))}
    for name, column in columns.items():
        if column.std() == 0:
            assert np.isnan(found[name]).all()
            continue
        wanted = [np.corrcoef(one, column)[0, 1] for one in activations.T[lively]]
        np.testing.assert_allclose(found[name][lively], wanted, atol=2e-3)
    if of == "tiny":
        assert {n for n in CLASSES if columns[n].std() == 0} == {"space"}


def test_long_texts_go_in_parts_of_their_maps(explorer, whole, monkeypatch):
    monkeypatch.setattr(tiles, "WEIGHTS", 300)
    monkeypatch.setattr(tiles, "BESIDE", 100)
    monkeypatch.setattr(tiles, "KEPT_PAIRS", 20)
    monkeypatch.setattr(maps, "LEAST", 2.0)  # entropies of all rows as of those with tiny weights
    parted = sketch_of(explorer, [Block(0, TEXTS)])
    for name in ("head_sums", "distances", "key_tokens"):
        np.testing.assert_allclose(parted.arrays[name], whole.arrays[name], rtol=1e-4, atol=2000)
    for name in ("head_rows", "counts", "neuron_fired"):
        np.testing.assert_array_equal(parted.arrays[name], whole.arrays[name])


@pytest.fixture(scope="module")
def small_blocks(explorer, one_thread):
    texts = [*make_texts(24, seed=1, longest=12), "", "  ", " ".join("a" * 100), None]
    parts = [texts[start : start + 5] for start in range(0, len(texts), 5)]
    blocks = [Block(number, part) for number, part in enumerate(parts)]
    return sketch_of(explorer, blocks), [sketch_of(explorer, [block]) for block in blocks]


def file_of(sketch, folder):
    sketch.save(folder / "sketch")
    return (folder / "sketch").read_bytes()


@given(data=st.data())
@settings(max_examples=15)
def test_any_partition_and_order_gives_the_same_bytes(
    data, explorer, small_blocks, one_thread, tmp_path_factory
):
    whole, alone = small_blocks
    folder, shape = tmp_path_factory.getbasetemp(), Shape.of(explorer.model.config)

    def empty():
        return Sketch(shape, ABOUT)

    wanted = file_of(whole, folder)
    order = data.draw(st.permutations(range(len(alone))))
    workers = data.draw(st.lists(st.integers(0, 2), min_size=len(order), max_size=len(order)))
    parts = []
    for worker in set(workers):
        own = [alone[i] for i, of in zip(order, workers, strict=True) if of == worker]
        parts.append(merge(own, empty))
    parts[0].save(folder / "part")  # a worker that was stopped and goes on
    parts[0] = Sketch.load(folder / "part", shape)
    assert file_of(merge(parts, empty), folder) == wanted


def test_texts_without_a_word_and_too_long_ones_are_counted(small_blocks, explorer):
    _, alone = small_blocks
    sketch = merge(alone, lambda: Sketch(Shape.of(explorer.model.config), ABOUT))
    assert sketch.arrays["counts"][[0, 2, 3, 4]].tolist() == [24, 2, 1, 1]


def test_hashes_sample_evenly():
    texts, positions = np.divmod(np.arange(20_000), 20)
    chosen = np.zeros(20)
    for seed in range(200):
        smallest = np.argsort(hashes(seed, 5, texts, positions))[:20]
        np.add.at(chosen, smallest // 1000, 1)
    assert chisquare(chosen).pvalue > 0.001


def test_a_reservoir_has_every_use_as_often(explorer, one_thread):
    """Over seeds, each use of an interval is in the sample equally often."""
    texts = make_texts(12, seed=3, longest=20)
    thresholds, shape = find_thresholds(explorer), Shape.of(explorer.model.config)
    drawn, whole = {}, {}
    for seed in range(30):
        sketch = Sketch(shape, ABOUT)
        add_block(Observer(explorer.model, thresholds, sketch, seed), explorer, Block(0, texts))
        for interval, rows in enumerate(sketch.arrays["head_sample"][1, 1]):
            whole[interval] = int(sketch.arrays["largest"][1, 1, interval])
            for _, text, position, *_ in rows[rows[:, 0] != EMPTY].tolist():
                counts = drawn.setdefault(interval, {})
                counts[text, position] = counts.get((text, position), 0) + 1
    tested = [interval for interval, count in whole.items() if count >= 20]
    assert tested
    for interval in tested:
        counts = list(drawn[interval].values())
        counts += [0] * (whole[interval] - len(counts))
        assert sum(counts) == 30 * 4 and chisquare(counts).pvalue > 0.001


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells what is held")
def test_memory_doesnt_grow_with_the_number_of_texts(tiny, one_thread):
    """However many they are and of whatever lengths: rows that are computed have few of them."""
    thresholds = find_thresholds(tiny)
    sketch = Sketch(Shape.of(tiny.model.config), {"thresholds": thresholds})
    observer = Observer(tiny.model, thresholds, sketch)

    def held_after(lengths):
        for number, length in enumerate(lengths, len(sketch.blocks)):
            add_block(observer, tiny, Block(number, ["the old town " * (length // 3)]))
            free_memory()
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024

    before = held_after(range(258, 516, 15))
    grown = held_after(range(261, 501, 6)) - before
    assert grown < 6  # MiB: with the lengths as they are it would be 54
    assert sketch.arrays["counts"][0] == 58


def test_a_model_that_computes_nan_is_refused(explorer):
    broken = build_explorer(build_random())
    with torch.no_grad():
        broken.model.encoder.layers[1].mlp.Wi.weight.fill_(float("nan"))
    sketch = Sketch(Shape.of(broken.model.config), ABOUT)
    observer = Observer(broken.model, find_thresholds(explorer), sketch)
    with pytest.raises(ModelError, match="NaN"):
        add_block(observer, broken, Block(0, TEXTS))
