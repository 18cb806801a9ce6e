"""Recordings: what is kept, that looking changes nothing, and that hooks are always gone."""

import copy
import pickle
import threading
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.errors import RangeError
from mbexplore.hooks import hooked, watched
from mbexplore.recorder import kept_taps, record
from mbexplore.recording import KEEP
from tests.handbuilt import hook_count

TEXT = "The river runs from the mountains to the sea, and the [MASK] follows it. " * 4


@pytest.fixture(scope="module")
def recording(tiny):
    return tiny.record(TEXT, keep=tuple(KEEP))


def ids_of(encoding):
    return torch.tensor([encoding.ids])


def test_every_tap_is_named_and_fires_once(tiny):
    names = list(tiny.model.taps)
    fired = []
    actions = {name: (lambda value, name=name: fired.append(name)) for name in names}
    with torch.inference_mode(), hooked(tiny.model, actions):
        tiny.model(ids_of(tiny.encode(TEXT)))
    assert fired == names


def test_recording_leaves_the_logits_bit_identical(tiny, recording):
    """To those of the same products: a matrix product of other sizes may round in another way."""
    model, encoding = tiny.model, tiny.encode(TEXT)
    masks = torch.tensor(encoding.mask_positions)
    with torch.no_grad():
        whole = model.encoder(ids_of(encoding))
        assert torch.equal(recording.logits, model.logits(whole[0, masks]))
        some = model(ids_of(encoding), query_positions=masks)[0]
        assert torch.equal(tiny.record(TEXT, keep=("attention",)).logits, some)
        logits = model(ids_of(encoding))[0, masks]
    torch.testing.assert_close(recording.logits, logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(some, logits, rtol=0, atol=1e-4)


def test_editing_a_tap_changes_the_output(tiny):
    ids = ids_of(tiny.encode(TEXT))
    with torch.inference_mode():
        plain = tiny.model(ids)
        for name in list(tiny.model.taps):
            with hooked(tiny.model, {name: lambda value: value.roll(1, dims=-1)}):
                assert not torch.allclose(tiny.model(ids), plain, atol=1e-4), name
        assert torch.equal(tiny.model(ids), plain)


def test_hooks_are_gone_after_success_and_after_an_error(tiny):
    def fail(value):
        raise RuntimeError("inside")

    tiny.record(TEXT)
    assert hook_count(tiny.model) == 0
    with pytest.raises(RuntimeError, match="inside"), hooked(tiny.model, {"embed": fail}):
        tiny.model(ids_of(tiny.encode(TEXT)))
    assert hook_count(tiny.model) == 0
    with (
        pytest.raises(RangeError, match=r"no tap 'layers\.99\.rot_q'"),
        hooked(tiny.model, {"embed": fail, "layers.99.rot_q": fail}),
    ):
        pass
    assert hook_count(tiny.model) == 0


def test_hooks_heed_their_own_thread_alone(tiny):
    """Two people with one model: neither sees nor changes what the other's pass computes."""
    ids, fired, found = ids_of(tiny.encode(TEXT)), [], []

    def change(value):
        fired.append(threading.get_ident())
        return value.roll(1, dims=-1)

    def other():
        with torch.inference_mode():
            found.append(tiny.model(ids))

    with torch.inference_mode():
        plain = tiny.model(ids)
    with hooked(tiny.model, {"layers.2.mlp_out": change}):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert torch.equal(found[0], plain) and fired == []
        with torch.inference_mode():
            assert not torch.equal(tiny.model(ids), plain)
    assert fired == [threading.get_ident()]


def test_hooks_are_replaced_whole_never_changed(tiny):
    """Another thread's hooks may come and go while a pass is going through those of a tap."""
    ids, tap, seen = ids_of(tiny.encode("It [MASK].")), "layers.2.mlp_out", []
    gone = hooked(tiny.model, {tap: lambda value: seen.append("gone")})

    def others():
        gone.__exit__(None, None, None)
        with hooked(tiny.model, {tap: lambda value: seen.append("theirs")}):
            pass

    def meet(value):
        thread = threading.Thread(target=others)
        thread.start()
        thread.join()

    with torch.inference_mode():
        gone.__enter__()
        with (
            hooked(tiny.model, {tap: meet}),
            hooked(tiny.model, {tap: lambda value: seen.append("last")}),
        ):
            tiny.model(ids)
            assert hook_count(tiny.model) == 2
    assert seen == ["gone", "last"] and hook_count(tiny.model) == 0


def test_what_is_not_asked_for_is_not_kept(tiny):
    recording = tiny.record(TEXT, keep=("attention",))
    assert {name.rpartition(".")[2] for name in recording.values} == {"rot_q", "rot_k"}
    with pytest.raises(RangeError, match="hidden_states"):
        recording.hidden_states(0)
    with pytest.raises(RangeError, match="can't keep 'logits'"):
        record(tiny.model, tiny.encode(TEXT), keep=("logits",))


@pytest.mark.parametrize(
    "keep",
    [
        ("layers.4.mlp_post",),
        ("layers.8.mlp_post", "layers.8.resid_post"),
        ("layers.2.v", "layers.8.rot_q", "layers.5.v", "embed"),
        ("layers.1.resid_post", "values"),
    ],
)
def test_a_request_may_name_single_layers(tiny, recording, keep):
    part = tiny.record(TEXT, keep=keep)
    assert list(part.values) == kept_taps(tiny.model, keep)
    named = {name for name in part.values if name in keep}
    assert named == set(keep) - KEEP.keys()
    if "values" in keep:
        assert len(part.values) == 1 + part.config.num_hidden_layers
    for name, value in part.values.items():
        torch.testing.assert_close(value, recording.tap(name))
    torch.testing.assert_close(part.logits, recording.logits, rtol=0, atol=1e-4)
    held = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes()
            for v in part.values.values()}  # fmt: skip
    assert sum(held.values()) == sum(value.nbytes for value in part.values.values())


@pytest.mark.parametrize("name", ["layers.9.mlp_post", "layers.0", "neuron", "hidden"])
def test_a_request_for_what_is_not_there_is_refused(tiny, name):
    with pytest.raises(RangeError, match=f"can't keep '{name}'; choose from attention"):
        tiny.record(TEXT, keep=(name,))


def test_a_pass_that_is_watched_tells_every_layer_and_may_be_stopped(tiny):
    told = []
    with watched(tiny.model, lambda *done: told.append(done)):
        tiny.record(TEXT, keep=("attention",))
    assert told == [(i + 1, 9) for i in range(9)]

    def stop(done, layers):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watched(tiny.model, stop):
        tiny.record(TEXT)
    assert hook_count(tiny.model) == 0


def test_a_recording_holds_no_more_memory_than_its_values(recording):
    held = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for value in recording.values.values()
    }
    assert sum(held.values()) == sum(value.nbytes for value in recording.values.values())


@pytest.mark.parametrize("text", [TEXT, "No token is hidden here."])
def test_attention_alone_gives_the_same_as_everything(tiny, text):
    some, whole = (tiny.record(text, keep=keep) for keep in (("attention",), tuple(KEEP)))
    for layer in range(some.config.num_hidden_layers):
        torch.testing.assert_close(some.q(layer), whole.q(layer))
        torch.testing.assert_close(some.k(layer), whole.k(layer))
    torch.testing.assert_close(some.logits, whole.logits, rtol=0, atol=1e-4)
    assert some.logits.shape == (len(some.encoding.mask_positions), some.config.vocab_size)


def test_hidden_states_add_up(recording):
    config = recording.config
    for layer in range(config.num_hidden_layers):
        updates = recording.tap(f"layers.{layer}.attn_out") + recording.tap(
            f"layers.{layer}.mlp_out"
        )
        torch.testing.assert_close(
            recording.hidden_states(layer) + updates, recording.hidden_states(layer + 1)
        )


def test_maps_times_values_are_the_contexts(recording):
    for layer in range(recording.config.num_hidden_layers):
        context = recording.attention(layer) @ recording.v(layer)
        torch.testing.assert_close(context, recording.tap(f"layers.{layer}.z"))


@pytest.mark.parametrize("layer", [0, 4])
def test_any_part_of_a_map_is_that_part_of_the_whole(recording, layer):
    whole = recording.attention(layer)
    heads, seq, _ = whole.shape
    assert whole.shape == (4, len(recording), len(recording))
    torch.testing.assert_close(whole.sum(-1), torch.ones(heads, seq))
    torch.testing.assert_close(recording.attention(layer, head=2), whole[2:3])
    torch.testing.assert_close(
        recording.attention(layer, queries=slice(5, 9), keys=[7, 3]), whole[:, 5:9, [7, 3]]
    )
    torch.testing.assert_close(recording.attention(layer, queries=11), whole[:, 11:12])
    rebuilt = torch.zeros_like(whole)
    for first, low, rows in recording.attention_rows(layer, block=17):
        rebuilt[:, first : first + rows.shape[1], low : low + rows.shape[2]] = rows
        assert (rows[:, :, 0] > 0).any() and (rows[:, :, -1] > 0).any()  # keys in sight alone
    torch.testing.assert_close(rebuilt, whole)
    assert torch.equal(recording.attention(layer - 9, head=-2), recording.attention(layer, head=2))


def test_the_band_is_the_map_straightened(recording):
    whole, band = recording.attention(4), recording.attention_band(4)
    half_window, seq = recording.config.half_window(4), len(recording)
    assert band.shape == (4, seq, 2 * half_window + 1)
    for query in (0, 1, seq // 2, seq - 1):
        for column in range(band.shape[2]):
            key = query - half_window + column
            expected = whole[:, query, key] if 0 <= key < seq else torch.zeros(4)
            torch.testing.assert_close(band[:, query, column], expected)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda r: r.attention(9), "There is no layer 9; choose 0 to 8."),
        (lambda r: r.attention(-10), "There is no layer -10; choose 0 to 8."),
        (lambda r: r.attention(0, head=4), "There is no head 4; choose 0 to 3."),
        (lambda r: r.attention(0, queries=5000), "There is no token 5000"),
        (
            lambda r: r.attention_band(3),
            r"Layer 3 is global and has no band; .* a local layer \(1, 2, 4, 5, 7, 8\)\.",
        ),
        (lambda r: r.hidden_states(10), "There is no hidden state 10; choose 0 to 9."),
    ],
)
def test_what_is_outside_is_one_sentence(recording, call, sentence):
    with pytest.raises(RangeError, match=sentence):
        call(recording)


def test_a_map_too_large_to_be_dense_is_refused(tiny, monkeypatch, recording):
    monkeypatch.setattr("mbexplore.recording.DENSE_LIMIT", 1000)
    with pytest.raises(RangeError, match="GiB; ask for one head"):
        recording.attention(0)
    assert recording.attention(0, head=0, queries=3).shape == (1, 1, len(recording))


def test_a_recording_is_a_value(recording, tiny):
    copied = copy.deepcopy(recording)
    assert torch.equal(copied.q(3), recording.q(3))
    held = [value for value in vars(recording).values() if isinstance(value, torch.nn.Module)]
    assert held == []
    with pytest.raises(FrozenInstanceError):
        recording.logits = None
    assert recording != copied  # a recording is itself, not its numbers


def test_a_pickle_is_as_large_as_what_it_holds(recording):
    pickled = pickle.dumps(recording)
    assert recording.nbytes < len(pickled) < 1.05 * recording.nbytes + 100_000
    assert torch.equal(pickle.loads(pickled).v(-1), recording.v(8))


def test_what_is_printed_of_it_is_one_line(tiny, recording):
    short = tiny.record("It [MASK].", keep=("attention", "layers.3.pattern"))
    kib = sum(value.nbytes for value in [*short.values.values(), short.logits]) / 2**20
    said = f"Recording(5 tokens; rot_q, rot_k, pattern kept, {kib:.1f} MiB)"
    assert repr(short) == said
    assert "nothing kept" in repr(tiny.record("It.", keep=()))
    assert len(repr(recording)) < 120 and "\n" not in repr(recording)


def test_tokens_are_the_encodings(tiny, recording):
    assert recording.tokens == tiny.encode(TEXT).tokens


@pytest.mark.parametrize(
    "queries",
    [
        [n % 3 == 0 for n in range(67)],
        np.arange(67) % 3 == 0,
        torch.arange(67) % 3 == 0,
        list(range(0, 67, 3)),
        range(0, 67, 3),
        slice(0, None, 3),
        np.arange(0, 67, 3),
        [n - 67 for n in range(0, 67, 3)],
    ],
    ids=lambda x: type(x).__name__,
)
def test_every_way_to_name_positions(recording, queries):
    assert len(recording) == 67
    expected = recording.attention(3)[:, ::3]
    torch.testing.assert_close(recording.attention(3, queries=queries), expected)
    expected = recording.attention(4)[:, :, ::3]
    torch.testing.assert_close(recording.attention(4, keys=queries), expected)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda r: r.attention(0, queries=1.7), "There is no token 1.7; give whole numbers."),
        (lambda r: r.attention(0, queries=[1, 2.5]), "There is no token 1; give whole numbers."),
        (lambda r: r.attention(0, queries=True), r"A mask of shape \(\) doesn't fit the text"),
        (lambda r: r.attention(0, keys=[True, False]), "one boolean for each of its 67 tokens"),
        (lambda r: r.attention(0, queries=-70), "There is no token -70; choose 0 to 66"),
        (lambda r: r.attention(0, queries=67), "There is no token 67; choose 0 to 66"),
        (lambda r: r.attention(0, queries="first"), "There is no token 'first'"),
        (lambda r: r.attention(0, queries=[[1], [2, 3]]), "give whole numbers"),
        (lambda r: r.attention(0.5), "There is no layer 0.5; give one whole number."),
        (lambda r: r.q([1, 2]), r"There is no layer \[1, 2\]; give one whole number."),
        (lambda r: r.attention(0, head="a"), "There is no head 'a'"),
        (lambda r: r.attention(0, head=-5), "There is no head -5; choose 0 to 3."),
        (lambda r: r.hidden_states(-11), "There is no hidden state -11; choose 0 to 9."),
        (lambda r: r.hidden_states(1.0), "There is no hidden state 1.0"),
    ],
)
def test_what_is_no_position_is_one_sentence(recording, call, sentence):
    with pytest.raises(RangeError, match=sentence):
        call(recording)


def test_negative_numbers_count_from_the_end(recording):
    for name in ("q", "k", "v", "neurons"):
        part = getattr(recording, name)
        assert torch.equal(part(-1), part(8)) and torch.equal(part(-9), part(0))
    for n in range(10):
        assert torch.equal(recording.hidden_states(n - 10), recording.hidden_states(n))
    assert torch.equal(recording.attention_band(-5), recording.attention_band(4))
    last = list(recording.attention_rows(-1, -1))
    for (a, b, found), (c, d, expected) in zip(last, recording.attention_rows(8, 3), strict=True):
        assert (a, b) == (c, d) and torch.equal(found, expected)


def test_nothing_kept_is_one_sentence(tiny):
    empty = tiny.record(TEXT, keep=())
    assert empty.values == {} and empty.logits.shape[0] == 4
    with pytest.raises(RangeError, match=r"did not keep 'layers.0.rot_q'; .*keep=\('attention'"):
        empty.attention(0)
    with pytest.raises(RangeError, match=r"did not keep 'embed'; .*keep=\('hidden_states'"):
        empty.hidden_states(0)
    with pytest.raises(RangeError, match=r"keep=\('layers.3.pattern', ...\)"):
        empty.tap("layers.3.pattern")


def test_a_band_too_large_is_refused(monkeypatch, recording):
    monkeypatch.setattr("mbexplore.recording.DENSE_LIMIT", 4 * 67 * 33 - 1)
    assert recording.config.half_window(4) == 16
    with pytest.raises(RangeError, match=r"band would take 0\.0 GiB; ask for one head"):
        recording.attention_band(4, 0)
    monkeypatch.setattr("mbexplore.recording.DENSE_LIMIT", 4 * 67 * 33)
    assert recording.attention_band(4, 0).nbytes == 4 * 67 * 33


def test_limits_count_the_bytes_of_the_dtype(monkeypatch, recording):
    wide = mbexplore.load("tiny", device="cpu", dtype="float64").record(TEXT, keep=("attention",))
    monkeypatch.setattr("mbexplore.recording.DENSE_LIMIT", 4 * 67 * 67)
    assert recording.attention(0, 0).dtype == torch.float32
    with pytest.raises(RangeError, match="GiB"):
        wide.attention(0, 0)


def test_a_probe_can_be_trained_on_recorded_values(tiny):
    """Also in the inference mode of a caller, where PyTorch's own values can't be trained on."""
    with torch.inference_mode():
        inside = tiny.record(TEXT)
        answer = tiny.fill_masks(TEXT)
    for recording in (inside, tiny.record(TEXT), *tiny.record_many([TEXT])):
        states = recording.hidden_states(5)
        assert not states.requires_grad and not states.is_inference()
        probe = torch.nn.Linear(states.shape[1], 2)
        probe(states).square().mean().backward()
        assert probe.weight.grad.abs().max() > 0
        recording.logits.requires_grad_().sum().backward()
        before = states.clone()
        states += 1
        assert torch.equal(recording.hidden_states(5), before + 1)
    assert not answer.logits.is_inference()
    answer.logits.requires_grad_().sum().backward()
    assert not torch.equal(inside.hidden_states(5), inside.hidden_states(6))


def test_layers_end_the_pass(tiny, recording):
    ran = []
    with watched(tiny.model, lambda done, layers: ran.append(done)):
        some = tiny.record(TEXT, keep=("attention", "hidden_states"), layers=[1, -5])
    assert ran == [1, 2, 3, 4, 5]
    assert list(some.values) == [
        f"layers.{i}.{tap}" for i in (1, 4) for tap in ("rot_q", "rot_k", "resid_post")
    ]
    assert some.logits is None and hook_count(tiny.model) == 0
    for name, value in some.values.items():
        assert torch.equal(value, recording.tap(name))
    ran.clear()
    with watched(tiny.model, lambda done, layers: ran.append(done)):
        early = tiny.record(TEXT, keep=("attention",), layers=range(3))
    assert ran == [1, 2] and early.k(2).shape == recording.k(2).shape
    last = tiny.record(TEXT, keep=("updates",), layers=(8,))
    torch.testing.assert_close(last.logits, recording.logits)
    for layers, sentence in (([9], "no layer 9"), ([1.5], "no layer 1.5"), ([-10], "layer -10")):
        with pytest.raises(RangeError, match=sentence):
            tiny.record(TEXT, layers=layers)


def test_a_tap_of_every_layer_may_be_kept_by_its_name(tiny, recording):
    some = tiny.record(TEXT, keep=("resid_post", "embed", "z"))
    assert len(some.values) == 19
    for name, value in some.values.items():
        assert torch.equal(value, recording.tap(name))
    assert list(tiny.record(TEXT, keep="layers.2.v").values) == ["layers.2.v"]
