"""Features of a dictionary over a corpus: dictionaries made by hand, whose features are known."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mbexplore.analysis.neurons import describe_neurons, taps
from mbexplore.corpus.build import add_block, find_thresholds
from mbexplore.corpus.dictionary import Dictionary
from mbexplore.corpus.observe import Observer
from mbexplore.corpus.reader import Store
from mbexplore.corpus.sketch import EDGES, EMPTY, TOP_UNITS, VALUE, Shape, Sketch
from mbexplore.corpus.sources import Block
from mbexplore.errors import ModelError, RangeError
from tests.cli_runner import run_cli
from tests.test_corpus import TEXTS

pytest.importorskip("pyarrow")


def write(path, width, **more):
    """A dictionary with two features a channel: what is above 0 in it, and what is below."""
    both = torch.cat((torch.eye(width), -torch.eye(width)), dim=1)
    tensors = {"W_enc": both, "b_enc": torch.zeros(2 * width), "W_dec": both.T.contiguous(),
               "b_dec": torch.zeros(width)}  # fmt: skip
    save_file(tensors | more, path)
    return path


def sketch_of(explorer, dictionary):
    thresholds = find_thresholds(explorer, dictionary)
    shape = Shape.of(explorer.model.config, dictionary.features)
    sketch = Sketch(shape, {"thresholds": thresholds})
    observer = Observer(explorer.model, thresholds, sketch, dictionary=dictionary)
    add_block(observer, explorer, Block(0, TEXTS))
    return sketch


def test_features_of_the_residual_stream_are_its_channels(explorer, tmp_path):
    hidden = explorer.model.config.hidden_size
    dictionary = Dictionary.load(write(tmp_path / "sae.safetensors", hidden), "layers.1.resid_post")
    arrays = sketch_of(explorer, dictionary).arrays
    states = [explorer.record(text).hidden_states(2) for text in TEXTS]
    by_text = [torch.cat((one, -one), dim=1).clamp(min=0).numpy() for one in states]
    every = np.concatenate(by_text)  # (seq, features)
    [threshold] = find_thresholds(explorer, dictionary)["feature"]
    for i, edge in enumerate(EDGES["feature"]):
        near = abs(every - edge * threshold) < 1e-4 * bool(edge)
        fired = (every > edge * threshold).sum(axis=0)
        assert (abs(arrays["feature_fired"][0, :, i] - fired) <= near.sum(axis=0)).all()
    wide = every.astype(np.float64)
    sums = np.stack((wide.sum(axis=0), (wide**2).sum(axis=0)), axis=1)
    np.testing.assert_allclose(arrays["feature_sums"][0] / VALUE, sums, rtol=1e-6, atol=2e-3)
    most = np.stack([one.max(axis=0) for one in by_text])
    for feature, rows in enumerate(arrays["feature_top"][0].tolist()):
        there = [row for row in rows if row[0] != EMPTY]
        wanted = sorted(most[most[:, feature] > 0, feature], reverse=True)[:TOP_UNITS]
        np.testing.assert_allclose([-row[0] / VALUE for row in there], wanted, atol=1e-4)
        for _, text, position, value in there:
            assert by_text[text][position, feature] == pytest.approx(value / VALUE, abs=1e-4)


def test_neurons_are_looked_at_alike(explorer, tmp_path):
    """At `mlp_post` the first features are the layer's neurons where they are above 0."""
    config = explorer.model.config
    path = write(tmp_path / "sae.safetensors", config.intermediate_size)
    arrays = sketch_of(explorer, Dictionary.load(path, "layers.2.mlp_post")).arrays
    above, below = np.split(arrays["feature_sums"][0, :, 0], 2)
    np.testing.assert_allclose(above - below, arrays["neuron_sums"][2, :, 0], atol=50)
    squares = sum(np.split(arrays["feature_sums"][0, :, 1], 2))
    np.testing.assert_allclose(squares, arrays["neuron_sums"][2, :, 1], atol=50)
    ends = np.stack(np.split(arrays["feature_extremes"][0, :, 0], 2), axis=1)
    np.testing.assert_array_equal(ends, np.maximum(arrays["neuron_extremes"][2], 0))


@pytest.mark.parametrize("kind", ["centred", "plain", "jumprelu", "topk"])
def test_what_a_feature_is(kind, tmp_path):
    torch.manual_seed(0)
    tensors = {"W_enc": torch.randn(6, 9), "b_enc": torch.randn(9), "W_dec": torch.randn(9, 6),
               "b_dec": torch.randn(6)}  # fmt: skip
    x, settings = torch.randn(5, 6), {"architecture": "standard"}
    before = (x - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"]
    wanted = before.clamp(min=0)
    if kind == "plain":
        settings["apply_b_dec_to_input"] = False
        wanted = (x @ tensors["W_enc"] + tensors["b_enc"]).clamp(min=0)
    if kind == "jumprelu":
        settings["architecture"], tensors["threshold"] = "jumprelu", torch.rand(9)
        wanted = before * (before > tensors["threshold"])
    if kind == "topk":
        settings |= {"architecture": "topk", "k": 2}
        edge = before.sort(dim=1).values[:, -2:-1]
        wanted = before.clamp(min=0) * (before >= edge)
    save_file(tensors, tmp_path / "sae.safetensors")
    if kind != "centred":  # the rule without a cfg.json
        (tmp_path / "cfg.json").write_text(json.dumps(settings | {"d_in": 6}))
    found = Dictionary.load(tmp_path / "sae.safetensors", "embed")
    torch.testing.assert_close(found.encode(x), wanted)
    (tmp_path / "store").mkdir()
    found.save(tmp_path / "store" / "kept.safetensors")
    again = Dictionary.load(tmp_path / "store" / "kept.safetensors")
    assert again.tap == "embed" and torch.equal(again.encode(x), found.encode(x))


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        ({"W_gate": torch.ones(2)}, {}, "W_gate"),
        ({"b_enc": torch.ones(3)}, {}, r"b_enc of .* is \(3,\) and not \(8,\)"),
        ({}, {"architecture": "gated"}, "is a gated dictionary"),
        ({}, {"normalize_activations": "layer_norm"}, "normalised by 'layer_norm'"),
    ],
)
def test_another_kind_of_file_is_refused(tmp_path, change, settings, words):
    write(tmp_path / "sae.safetensors", 4, **change)
    (tmp_path / "cfg.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=words):
        Dictionary.load(tmp_path / "sae.safetensors", "embed")


@pytest.mark.parametrize(
    ("tap", "words"),
    [("layers.9.resid_post", "no tap"), ("layers.1.q", "no single vector"),
     ("layers.1.mlp_post", "takes 32 numbers a token and 'layers.1.mlp_post' has 8")],
)  # fmt: skip
def test_a_tap_that_doesnt_fit_is_refused(explorer, tmp_path, tap, words):
    path = write(tmp_path / "sae.safetensors", explorer.model.config.hidden_size)
    with pytest.raises(RangeError, match=words):
        Dictionary.load(path, tap).check_model(explorer.model)


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny, one_thread):
    folder = tmp_path_factory.mktemp("features")
    sae = write(folder / "sae.safetensors", tiny.model.config.intermediate_size)
    found = []
    for name in ("ships", "towns"):
        texts = folder / f"{name}.txt"
        texts.write_text("\n".join(f"Paris is one of {i} {name} of France." for i in range(20)))
        command = ("corpus", "build", texts, "-o", folder / name, "--dictionary", sae, "--tap",
                   "layers.4.mlp_post", "--shuffled")  # fmt: skip
        done = run_cli(*command)
        assert done.code == 0, done.err
        found.append(folder / name)
    return found


def test_a_store_has_features_beside_neurons(made, tiny):
    store = Store(made[0])
    features, neurons = store.rows("features"), store.rows("neurons", layer=4)
    assert len(features) == 2 * len(neurons)
    assert store.manifest["dictionary"]["tap"] == "layers.4.mlp_post"
    assert store.manifest["control"] == "weights shuffled"
    for feature, neuron in zip(features, neurons, strict=False):
        assert feature["largest"] == max(neuron["largest"], 0)
        assert len(feature["control_firing"]) == len(feature["firing"]) == 4
    best = max(features[: len(neurons)], key=lambda one: one["largest"])["feature"]
    found = tiny.corpus(str(made[0]), feature=best)
    first = found.data.examples[0]
    recording = tiny.record("".join(first.tokens[1:-1]), keep=taps(tiny.model.config, 4))
    np.testing.assert_allclose(first.values, recording.neurons(4)[:, best].clamp(min=0), atol=1e-4)
    [known] = describe_neurons(tiny, recording, [(4, best, first.position)])
    assert found.data.promoted == tuple(one.token for one in known.promoted)
    assert found.data.suppressed == tuple(one.token for one in known.suppressed)
    assert found.headline.startswith(f"Feature {best}: ")
    assert "weights shuffled" in run_cli("corpus", "show", made[0], "--feature", best).out


def test_stores_with_features_are_merged(made, tmp_path):
    done = run_cli("corpus", "merge", *made, "-o", tmp_path / "both")
    assert done.code == 0, done.err
    rates = [[one["firing_rate"] for one in Store(folder).rows("features")]
             for folder in (*made, tmp_path / "both")]  # fmt: skip
    np.testing.assert_allclose(np.add(*rates[:2]) / 2, rates[2], atol=1e-9)
    assert (tmp_path / "both" / "dictionary.safetensors").exists()


def test_a_feature_that_isnt_there(made, tiny, tmp_path):
    with pytest.raises(RangeError, match="no feature"):
        tiny.corpus(str(made[0]), feature=10**6)
    with pytest.raises(ModelError, match="built without a dictionary"):
        tiny.corpus(feature=0)
    for given in (("--tap", "embed"), ("--dictionary", tmp_path / "sae.safetensors")):
        done = run_cli("corpus", "build", tmp_path / "texts.txt", "-o", tmp_path / "store", *given)
        assert done.code in (1, 2) and not (tmp_path / "store").exists()
