"""Linear probes: the optimum against scipy, where a hand-built model has a label, and files."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import log_softmax

from mbexplore.analysis import probe as module
from mbexplore.analysis.probe import cross_validate, fit, probe
from mbexplore.errors import RangeError, TextError
from tests.cli_runner import run_cli
from tests.handbuilt import COPY_LAYER, build_explorer

FILE = Path(__file__).parent / "data" / "labels.csv"


@pytest.mark.parametrize("penalty", [0.1, 5.0])
def test_a_probe_is_the_least_of_its_loss(penalty):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(40, 6)), random.integers(0, 3, 40)

    def loss(flat):
        weight, bias = flat[:18].reshape(6, 3), flat[18:]
        log_p = log_softmax(x @ weight + bias, axis=1)
        return -log_p[np.arange(40), y].sum() + 0.5 * penalty * (weight**2).sum()

    theirs = minimize(loss, np.zeros(21), method="L-BFGS-B", options={"maxfun": 100_000})
    weight, bias = fit(torch.from_numpy(x), torch.from_numpy(y), 3, penalty)
    ours = np.concatenate([weight.numpy().ravel(), bias.numpy()])
    assert loss(ours) <= theirs.fun + 1e-6
    np.testing.assert_allclose(weight.numpy(), theirs.x[:18].reshape(6, 3), atol=2e-3)


def test_every_row_is_predicted_by_a_probe_that_did_not_see_it(monkeypatch):
    x = torch.arange(12.0, dtype=torch.float64)[:, None]
    y = torch.tensor([0, 1] * 6)
    seen = []

    def watch(rows, classes, count, penalty):
        seen.append((len(rows), classes.tolist()))
        return fit(rows, classes, count, penalty)

    monkeypatch.setattr(module, "fit", watch)
    cross_validate(x, y, 3, penalty=1.0)
    assert [(size, sum(classes)) for size, classes in seen] == [(8, 4)] * 3


def test_what_can_be_told_apart_is_and_chance_is_not():
    random = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    noise = torch.randn(60, 5, generator=random, dtype=torch.float64)
    assert cross_validate(noise, y, 5, penalty=1.0) < 35
    x = noise + 6 * torch.nn.functional.one_hot(y, 5)
    assert cross_validate(x, y, 5, penalty=1.0) == 60
    constant = torch.ones(60, 2, dtype=torch.float64)
    assert cross_validate(constant, y, 5, penalty=1.0) <= 20


def test_a_label_is_there_from_the_layer_that_brings_it():
    explorer = build_explorer()  # copies the token before the mask, in one layer
    texts = [f"{a} {b} [MASK]" for a, b in product("defgh", "abc")]
    labels = [text[2] for text in texts]
    found = probe(explorer, texts, labels, pooling="mask", folds=5)
    assert [row.layer for row in found.rows] == [-1, 0, 1, 2]
    for row in found.rows:
        if row.layer < COPY_LAYER:  # the mask is the same in all texts
            assert row.accuracy <= 1 / 3
        else:
            assert row.accuracy == row.high == 1.0 and row.selectivity > 0.3
        assert row.low <= row.accuracy <= row.high
    assert found.labels == ("a", "b", "c") and found.majority == pytest.approx(1 / 3)
    assert found.best.layer == COPY_LAYER
    written = probe(explorer, texts, labels, tap="attn_out", pooling="mask", folds=5)
    assert [row.accuracy == 1.0 for row in written.rows] == [False, True, False]


@pytest.mark.parametrize("tap", ["resid_post", "mlp_post", "z", "q"])
def test_features_are_the_recordings(tap):
    explorer = build_explorer()
    texts = ["a b c", "d [MASK]"]
    found = module._features(explorer, texts, tap, "mean", None, 0)
    for text, features in zip(texts, found, strict=True):
        recording = explorer.record(text, keep=("hidden_states", tap))
        seq = len(recording)
        if tap == "resid_post":
            assert torch.allclose(features[0], recording.hidden_states(0)[1:-1].mean(0).double())
        for layer in range(3):
            value = recording.values[f"layers.{layer}.{tap}"]
            rows = [value[i] if value.shape[0] == seq and value.ndim == 2 else value[:, i].flatten()
                    for i in range(1, seq - 1)]  # fmt: skip
            place = layer + (tap == "resid_post")
            assert torch.allclose(features[place], torch.stack(rows).mean(0).double())


@pytest.mark.parametrize(
    ("labels", "folds", "pooling", "error", "sentence"),
    [
        ("aabb", 3, "mean", TextError, "The label 'a' has 2 texts, fewer than the 3 folds"),
        ("aaaa", 2, "mean", TextError, "there is 'a'; give 2 or more"),
        ("aabb", 1, "mean", RangeError, "1 folds leave nothing to predict"),
        ("aabb", 2, "mask", TextError, r"The text 'a' has no \[MASK\] to read"),
    ],
)
def test_what_cant_be_probed_is_refused(labels, folds, pooling, error, sentence):
    with pytest.raises(error, match=sentence):
        probe(build_explorer(), list("abcd"), list(labels), folds=folds, pooling=pooling)


def test_the_command(tmp_path):
    done = run_cli("probe", FILE, "--folds", 2, "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [row["layer"] for row in answer["rows"]] == list(range(-1, 9))
    assert answer["counts"] == [4, 4] and set(answer["labels"]) == {"water", "people"}
    assert json.loads(run_cli("probe", FILE, "--folds", 2, "--json").out) == answer
    for column, sentence in (("--label", "has no column 'kind'; name one of 'text', 'label'"),):
        wrong = run_cli("probe", FILE, column, "kind")
        assert wrong.code == 1 and sentence in wrong.err
    rows = [line.rpartition(",") for line in FILE.read_text().splitlines()[1:]]
    typed = [one for text, _, label in rows for one in ("--example", f"{text} | {label}")]
    again = json.loads(run_cli("probe", *typed, "--folds", 2, "--json").out)
    assert again["rows"] == answer["rows"]
    for given, sentence in (
        (["--example", "a b"], "'a b' has no label; write the text, | and its label"),
        (["--example", "a | b", FILE], "were both given; leave one out"),
        ([], "There are no texts with labels; give some, such as"),
    ):
        assert sentence in run_cli("probe", *given).err
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert "no column 'text'" in run_cli("probe", tmp_path / "a.csv").err
