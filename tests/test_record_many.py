"""Recordings in files, and of many texts."""

import pytest
import torch

from mbexplore.errors import ModelError, OutputError, RangeError
from mbexplore.recorder import record, record_many
from mbexplore.recording import KEEP, Recording

TEXT = "The river runs from the mountains to the sea, and the [MASK] follows it. " * 4


@pytest.fixture(scope="module")
def recording(tiny):
    return tiny.record(TEXT, keep=tuple(KEEP))


def test_a_saved_recording_is_the_same(recording, tmp_path):
    path = tmp_path / "rec"
    recording.save(path)
    assert recording.nbytes < path.stat().st_size < recording.nbytes + 100_000
    again = Recording.load(str(path))
    assert again.encoding == recording.encoding and again.config == recording.config
    assert list(again.values) == list(recording.values)
    for name, value in again.values.items():
        assert torch.equal(value, recording.values[name])
    assert torch.equal(again.logits, recording.logits)
    assert torch.equal(again.attention(4, -1), recording.attention(4, 3))
    again.hidden_states(3).mul_(0)  # in memory alone
    assert torch.equal(Recording.load(path).hidden_states(3), recording.hidden_states(3))


def test_a_recording_without_logits_is_saved_too(tiny, tmp_path):
    cut = tiny.record("It rained. [MASK]", keep=("values",), layers=[2, -4])
    assert cut.logits is None
    cut.save(tmp_path / "cut")
    again = Recording.load(tmp_path / "cut")
    assert again.logits is None and list(again.values) == ["layers.2.v", "layers.5.v"]
    pair = tiny.encode("It rained.", pair="It did.")
    tiny.record(pair, keep=()).save(tmp_path / "pair")
    assert Recording.load(tmp_path / "pair").encoding == pair


def test_a_file_that_is_no_recording_is_one_sentence(tiny, tmp_path):
    with pytest.raises(ModelError, match=r"There is no file .*nowhere; name one"):
        Recording.load(tmp_path / "nowhere")
    (tmp_path / "text").write_text("hello")
    whole = tmp_path / "whole"
    tiny.record("It.").save(whole)
    (tmp_path / "half").write_bytes(whole.read_bytes()[:-1000])
    weights = tiny.files.folder / "model.safetensors"
    for path in (tmp_path / "text", tmp_path / "half", weights, tmp_path):
        with pytest.raises(ModelError, match="holds no recording"):
            Recording.load(path)
    with pytest.raises(OutputError, match="can't be written"):
        tiny.record("It.").save(tmp_path / "no" / "folder")


def test_many_texts_are_recorded_as_each_alone(tiny):
    texts = [TEXT, "It [MASK].", "The sea. " * 30, "A [MASK] and a [MASK].", TEXT * 3]
    keep = (*KEEP, "resid_mid", "pattern", "scores", "q", "k", "resid_pre")
    for wanted, most in ((keep, 110), (tuple(KEEP), 4096), (("attention",), 4096)):
        encodings = [tiny.encode(text) for text in texts]
        many = list(record_many(tiny.model, encodings, wanted, most=most))
        assert [one.encoding for one in many] == encodings
        for found, encoding in zip(many, encodings, strict=True):
            alone = record(tiny.model, encoding, wanted)
            assert list(found.values) == list(alone.values)
            for name, value in alone.values.items():
                torch.testing.assert_close(found.tap(name), value, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(found.logits, alone.logits, rtol=0, atol=1e-4)
            held = {v.untyped_storage().data_ptr(): v.untyped_storage().nbytes()
                    for v in found.values.values()}  # fmt: skip
            assert sum(held.values()) == sum(value.nbytes for value in found.values.values())


def test_texts_are_taken_as_recordings_are(tiny):
    taken = []

    def texts():
        for n in range(100):
            taken.append(n)
            yield "A river " * 200 + str(n)

    stream = tiny.record_many(texts(), keep=("layers.0.v",), layers=[0])
    assert taken == []
    first = next(stream)
    assert first.encoding.text.endswith(" 0") and len(taken) < 15
    assert next(stream).encoding.text.endswith(" 1")
    assert list(tiny.record_many([])) == []
    with pytest.raises(RangeError, match="can't keep 'nothing'"):
        next(tiny.record_many([TEXT], keep=("nothing",)))


def test_packs_fill_rows(tiny, monkeypatch):
    rows = []
    real = type(tiny.model.encoder).forward
    monkeypatch.setattr(
        type(tiny.model.encoder), "forward",
        lambda self, **inputs: (rows.append(inputs["input_ids"].shape), real(self, **inputs))[1],
    )  # fmt: skip
    encodings = [tiny.encode(text) for text in ("It rained.", "It [MASK].", TEXT, "It.")]
    list(record_many(tiny.model, encodings, ("values",), most=11))
    assert [row for _, row in rows] == [
        len(encodings[0]) + len(encodings[1]),
        67,
        len(encodings[3]),
    ]


@pytest.mark.parametrize(("keep", "rows"), [("pattern", [8, 8]), ("z", [16])])
def test_rows_are_short_where_maps_of_all_their_tokens_are_made(tiny, monkeypatch, keep, rows):
    monkeypatch.setattr("mbexplore.recorder.MOST_OF_MAPS", 10)
    encoding, seen = tiny.encode("It rained all day."), []
    assert len(encoding) == 8
    real = type(tiny.model.encoder).forward
    monkeypatch.setattr(
        type(tiny.model.encoder), "forward",
        lambda self, **inputs: (seen.append(inputs["input_ids"].shape[1]), real(self, **inputs))[1],
    )  # fmt: skip
    assert len(list(record_many(tiny.model, [encoding] * 2, (keep,)))) == 2
    assert seen == rows
