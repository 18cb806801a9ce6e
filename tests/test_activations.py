"""The residual stream against transformers, CKA against known cases, neurons against the model."""

import csv
import io
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mbexplore.analysis import residual, similarity
from mbexplore.analysis.neurons import (
    describe_neurons,
    last_state,
    layer_neurons,
    taps,
    token_activations,
    token_neurons,
    top_neurons,
)
from mbexplore.analysis.residual import residual_norms
from mbexplore.analysis.similarity import linear_cka
from mbexplore.display.blocks import Heat, Lines, walk
from mbexplore.errors import RangeError, TextError
from mbexplore.explorer import Explorer
from mbexplore.hooks import hooked
from mbexplore.session import Session
from mbexplore.views.neurons import TokenNeuronsView
from tests.cli_runner import run_cli
from tests.handbuilt import SLOT, VOCAB, build_copier, build_explorer, build_random

TEXT = "a b c [MASK] d"
PARIS = "The capital of France is [MASK]."
KEEP = ("hidden_states", "updates", "neurons")


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=KEEP)


def test_lengths_are_those_that_transformers_computes(tiny):
    found = residual_norms(tiny.record(PARIS, keep=residual.KEEP))
    theirs, added = tiny.reference._model, {"attn": [], "mlp": []}
    hooks = [
        getattr(layer, part).register_forward_hook(
            lambda module, inputs, output, part=part: added[part].append(
                output[0][0] if isinstance(output, tuple) else output[0]
            )
        )
        for layer in theirs.model.layers
        for part in added
    ]
    with torch.inference_mode():
        ids = torch.tensor([tiny.encode(PARIS).ids])
        states = theirs(ids, output_hidden_states=True).hidden_states
    for hook in hooks:
        hook.remove()
    # Their last state is after the final norm; the one before it is checked by the updates.
    expected = torch.stack([state[0].norm(dim=-1) for state in states[:-1]])
    np.testing.assert_allclose(found.residual[:-1], expected, rtol=1e-4)
    last = (states[-2][0] + added["attn"][-1] + added["mlp"][-1]).norm(dim=-1)
    np.testing.assert_allclose(found.residual[-1], last, rtol=1e-4)
    for ours, part in ((found.attention, "attn"), (found.mlp, "mlp")):
        lengths = torch.stack([value.norm(dim=-1) for value in added[part]])
        np.testing.assert_allclose(ours, lengths, rtol=1e-4, atol=1e-4)


def by_features(x, y):
    """Linear CKA in the form of features, `|Y'X|^2 / (|X'X| |Y'Y|)`: the paper's own."""
    x, y = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    return norm(y.T @ x) ** 2 / (norm(x.T @ x) * norm(y.T @ y))


def test_cka_of_known_cases():
    column = lambda *numbers: torch.tensor(numbers, dtype=torch.float64)[:, None]  # noqa: E731
    # Of single features it is the squared correlation: 0, then (1/2)^2.
    assert linear_cka([column(1, -1, 1, -1), column(1, 1, -1, -1)])[0, 1] == pytest.approx(0)
    assert linear_cka([column(1, -1, 0), column(1, 0, -1)])[0, 1] == pytest.approx(0.25)
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    same = linear_cka([x, 1e4 * (x @ turn) + 7, x * 1e-6])
    np.testing.assert_allclose(same, np.ones((3, 3)), atol=1e-5)
    assert linear_cka([x, torch.ones(40, 6)])[0, 1] == 0


def test_similarity_is_that_of_the_formulas(recording, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", 3)
    found = similarity.similarity(recording)
    states = [recording.hidden_states(n).double().numpy() for n in range(4)]
    unit = [state / np.linalg.norm(state, axis=1, keepdims=True) for state in states]
    for i in range(4):
        for j in range(4):
            assert found.cosine[i, j] == pytest.approx((unit[i] * unit[j]).sum(1).mean(), abs=1e-6)
            assert found.cka[i, j] == pytest.approx(by_features(states[i], states[j]), abs=1e-6)
        if i:
            np.testing.assert_allclose(
                found.steps[i - 1], (unit[i] * unit[i - 1]).sum(1), atol=1e-6
            )
    monkeypatch.setattr(similarity, "MOST_TOKENS", 4)
    few = similarity.similarity(recording)
    assert few.cka_tokens == 4
    expected = by_features(states[0][[0, 2, 4, 6]], states[3][[0, 2, 4, 6]])
    assert few.cka[0, 3] == pytest.approx(expected, abs=1e-6)


def test_a_layer_in_numbers_is_that_of_plain_loops(explorer, recording):
    layer, model = 1, explorer.model
    found = layer_neurons(explorer, recording, layer, count=3)
    block = model.encoder.layers[layer]
    with torch.inference_mode():  # the MLP once more, from the stream before it
        before = recording.hidden_states(layer) + recording.tap(f"layers.{layer}.attn_out")
        inner, gate = F.linear(
            block.mlp_norm(before), block.mlp.Wi.weight, block.mlp.Wi.bias
        ).chunk(2, dim=-1)
        activations = (F.gelu(inner) * gate).numpy()
    seq, count = activations.shape
    threshold = math.sqrt((activations.astype(float) ** 2).mean())
    assert found.threshold == pytest.approx(threshold, rel=1e-5)
    weight = block.mlp.Wo.weight.detach().numpy()
    for neuron in range(count):
        lengths = np.abs(activations[:, neuron]) * np.linalg.norm(weight[:, neuron])
        fired = [i for i in range(seq) if abs(activations[i, neuron]) > threshold]
        assert found.firing_rate[neuron] == pytest.approx(len(fired) / seq)
        strength = lengths[fired].mean() if fired else 0.0
        assert found.norm_when_firing[neuron] == pytest.approx(strength, rel=1e-4)
        assert found.mean_norm[neuron] == pytest.approx(lengths.mean(), rel=1e-4)
    assert 0 < found.firing_rate.mean() < 1
    order = np.argsort(-found.mean_norm)[:3]
    assert [one.neuron for one in found.top] == order.tolist()
    for one, row in zip(found.top, found.contributions, strict=True):
        assert one.position == np.abs(row).argmax()
        assert one.norm == pytest.approx(abs(row[one.position]), rel=1e-5)
        assert math.copysign(1, row[one.position]) == math.copysign(1, one.activation)


def test_a_neuron_of_the_last_layer_promotes_what_its_absence_takes_away(explorer, recording):
    last, model = 2, explorer.model
    ids = torch.tensor([recording.encoding.ids])
    for neuron, position in ((0, 4), (5, 2)):
        [found] = describe_neurons(explorer, recording, [(last, neuron, position)])

        def silence(value, neuron=neuron):
            value = value.clone()
            value[..., neuron] = 0
            return value

        with torch.inference_mode():
            whole = model(ids)[0, position]
            with hooked(model, {f"layers.{last}.mlp_post": silence}):
                lost = whole - model(ids)[0, position]
        lost = lost - lost.mean()
        order = lost.argsort(descending=True).tolist()
        assert [each.token_id for each in found.promoted] == order[:4]
        assert [each.token_id for each in found.suppressed] == order[::-1][:4]
        for each in (*found.promoted, *found.suppressed):
            assert each.change == pytest.approx(float(lost[each.token_id]), abs=1e-5)
            assert each.token == VOCAB[each.token_id]


def test_the_neurons_of_a_token_are_the_longest_of_all(explorer, recording):
    found = token_neurons(explorer, recording, 3, count=5)
    lengths = {}
    for layer, block in enumerate(explorer.model.encoder.layers):
        for neuron, column in enumerate(block.mlp.Wo.weight.detach().T):
            activation = float(recording.neurons(layer)[3, neuron])
            lengths[layer, neuron] = abs(activation) * float(column.norm())
    best = sorted(lengths, key=lengths.get, reverse=True)
    assert [(one.layer, one.neuron) for one in found.neurons] == best[:5]
    for one in found.neurons:
        assert one.norm == pytest.approx(lengths[one.layer, one.neuron], rel=1e-5)
    of_layer = token_neurons(explorer, recording, 3, layer=1, count=99)
    assert [(one.layer, one.neuron) for one in of_layer.neurons] == [p for p in best if p[0] == 1]


@torch.no_grad()
def build_speaker():
    """The copier, with one neuron of layer 0 that sees an "a" and writes where "e" is read."""
    model = build_copier()
    mlp = model.encoder.layers[0].mlp
    seen, read = VOCAB.index("a"), SLOT + VOCAB.index("e")
    mlp.Wi.weight[3, seen] = mlp.Wi.weight[8 + 3, seen] = 1.0
    mlp.Wo.weight[read, 3] = 0.5
    return build_explorer(model)


def test_a_planted_neuron_is_found_with_its_token_and_its_word():
    speaker = build_speaker()
    recording = speaker.record("b a c", keep=KEEP)
    found = layer_neurons(speaker, recording, 0, count=2)
    assert found.top[0].neuron == 3 and found.firing_rate[3] == pytest.approx(1 / 5)
    assert found.tokens[found.top[0].position].strip() == "a"
    assert found.top[0].promoted[0].token.strip() == "e"
    assert found.firing_rate.sum() == found.firing_rate[3]  # no other ever fires
    [best] = token_neurons(speaker, recording, 2, count=1).neurons
    assert (best.layer, best.neuron) == (0, 3)
    lengths = residual_norms(recording)
    # All that is added is that neuron's at "a" (faintly at others: a norm subtracts the mean),
    # and what the copying head brings from before.
    assert np.count_nonzero(lengths.mlp > 0.01) == 1
    assert lengths.mlp[0, 2] == pytest.approx(best.norm, rel=1e-6)
    assert np.count_nonzero(lengths.attention[[0, 2]]) == 0


def test_without_a_head_a_neuron_has_no_words(recording):
    encoder = build_explorer(build_random().encoder)
    found = token_neurons(encoder, encoder.record(TEXT, keep=KEEP), 3)
    assert found.neurons and all(one.promoted == one.suppressed == () for one in found.neurons)


def test_mistakes(explorer, recording):
    with pytest.raises(RangeError, match="no layer 3; choose 0 to 2"):
        layer_neurons(explorer, recording, 3)
    with pytest.raises(RangeError, match="no token 7; choose 0 to 6"):
        token_neurons(explorer, recording, 7)
    with pytest.raises(RangeError, match="0 neurons can't be named"):
        token_neurons(explorer, recording, 1, count=0)
    with pytest.raises(RangeError, match="updates"):
        residual_norms(explorer.record(TEXT, keep=("hidden_states",)))


def test_no_more_is_recorded_than_is_read(explorer, recording):
    config, seq = explorer.model.config, len(recording)
    part = explorer.record(TEXT, keep=taps(config, 1))
    size = sum(value.nbytes for value in part.values.values())
    assert size == 4 * seq * (config.intermediate_size + config.hidden_size)
    of_all = explorer.record(TEXT, keep=taps(config))
    for ours, whole in (
        (layer_neurons(explorer, part, 1), layer_neurons(explorer, recording, 1)),
        (token_neurons(explorer, part, 3, 1), token_neurons(explorer, recording, 3, 1)),
        (token_neurons(explorer, of_all, 3), token_neurons(explorer, recording, 3)),
    ):
        for name, value in vars(whole).items():
            np.testing.assert_equal(getattr(ours, name), value)
    with pytest.raises(RangeError, match=r"did not keep 'layers\.0\.mlp_post'"):
        layer_neurons(explorer, part, 0)


@pytest.mark.parametrize("layer", [None, 1, 2])
@pytest.mark.parametrize("position", [0, 3, 6])
def test_of_a_token_its_own_rows_are_kept_alone(explorer, recording, layer, position):
    config = explorer.model.config
    with token_activations(explorer.model, position, layer) as rows:
        little = explorer.record(TEXT, keep=(last_state(config),))
    assert list(rows) == (list(range(config.num_hidden_layers)) if layer is None else [layer])
    for each, row in rows.items():
        assert row.shape == (config.intermediate_size,)
        assert row.untyped_storage().nbytes() == 4 * config.intermediate_size  # not a view of all
        np.testing.assert_array_equal(row, recording.neurons(each)[position])
    found = top_neurons(explorer, little, rows, position, layer)
    assert found == token_neurons(explorer, recording, position, layer)


def test_of_a_token_no_more_is_kept_than_its_neurons(monkeypatch, tiny):
    kept, record = [], Explorer.record

    def spy(self, *rest, **settings):
        kept.append(record(self, *rest, **settings))
        return kept[-1]

    monkeypatch.setattr(Explorer, "record", spy)
    found = tiny.token_neurons(PARIS, token="France")
    assert [list(recording.values) for recording in kept] == [["layers.8.resid_post"]]
    monkeypatch.undo()
    recording = tiny.record(PARIS, keep=KEEP)
    assert found.data == token_neurons(tiny, recording, 4)
    # What a session has already is read, not run again.
    monkeypatch.setattr(Explorer, "record", None)
    session = Session(tiny, recording.encoding, recording=recording)
    assert TokenNeuronsView(token=4).of(session).data == found.data


def test_comparing_tells_how_far_it_is(recording, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", 3)
    told = []
    similarity.similarity(recording, lambda *done: told.append(done))
    assert told == [(i + 1, 6) for i in range(6)]  # 7 tokens, twice


def test_a_single_token_can_not_be_compared(explorer):
    from dataclasses import replace

    encoding = explorer.encode(TEXT)
    names = ("ids", "tokens", "offsets", "words")
    alone = replace(encoding, **{name: getattr(encoding, name)[1:2] for name in names},
                    mask_positions=())  # fmt: skip
    with pytest.raises(TextError, match="1 token and CKA compares at least 2"):
        similarity.similarity(explorer.record(alone, keep=("hidden_states",)))


def test_arrays_and_tables_hold_the_numbers(tiny):
    stream, layer = tiny.residual(PARIS), tiny.neurons(PARIS, layer=4, top_k=5)
    arrays, payload = np.load(io.BytesIO(stream.content("npz"))), stream.to_json()
    np.testing.assert_array_equal(arrays["residual"], np.float32(payload["residual"]))
    table = list(csv.DictReader(io.StringIO(stream.content("csv").decode())))
    assert [row["after"] for row in table[::9]] == ["layer 8", "embeddings"]
    assert float(table[0]["MLP"]) == pytest.approx(np.mean(payload["mlp"][-1]), rel=1e-6)
    assert float(table[0]["cosine"]) == payload["cosine"][9][8]
    assert table[-1]["MLP"] == ""
    table = list(csv.DictReader(io.StringIO(layer.content("csv").decode())))
    assert [float(row["fires"]) for row in table] == [
        layer.to_json()["firing_rate"][one.neuron] for one in layer.data.top
    ]


def test_norms_at_the_token_are_drawn(tiny):
    found = tiny.residual(PARIS, token="France")
    stream, updates = [one for one in walk(found.blocks) if isinstance(one, Lines)]
    assert stream.series[0].y == tuple(found.data.residual[:, 4].tolist())
    assert updates.series[1].y == tuple(found.data.mlp[:, 4].tolist())
    assert stream.ticks == ("embeddings", *updates.ticks)


def test_activations_on_the_command_line(monkeypatch):
    stream = run_cli("residual", PARIS)
    assert stream.code == 0 and "embeddings" in stream.out and "layer 8" in stream.out
    of_layer = run_cli("neurons", "--layer", 4, "-k", 3)
    assert of_layer.code == 0 and "of its 384 neurons fire" in " ".join(of_layer.out.split())
    of_token = run_cli("token-neurons", PARIS, "--token", "France")
    assert of_token.code == 0 and "France (token 4)" in of_token.out
    for arguments, code, sentence in (
        (("neurons", PARIS, "--layer", 9), 1, "no layer 9; choose 0 to 8"),
        (("token-neurons", PARIS, "--token", "Frence"), 1, "the nearest is 'France'"),
        (("residual", PARIS, "--token", 99), 1, "no token 99"),
        (("neurons", PARIS, "-k", 0), 1, "top_k is 0; choose 1 or more"),
        (("token-neurons", PARIS, "-o", "x.npz"), 1, "x.npz ends in '.npz'; choose one of"),
    ):
        if "-o" not in arguments:
            monkeypatch.setattr(Explorer, "record", None)  # refused before the model runs
        wrong = run_cli(*arguments)
        assert (wrong.code, wrong.err.count("\n")) == (code, 1) and sentence in wrong.err
        monkeypatch.undo()


def test_the_map_of_neurons_holds_what_they_add(tiny):
    found = tiny.neurons(PARIS, layer=3, top_k=3)
    heat = next(one for one in walk(found.blocks) if isinstance(one, Heat))
    np.testing.assert_array_equal(heat.values, found.data.contributions)
    for name, one in zip(heat.rows, found.data.top, strict=True):
        assert name.split()[0] == str(one.neuron)
