"""The service: predictions, the comparison with transformers, devices and limits."""

from dataclasses import replace

import pytest
import torch

import mbexplore
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.embed import embed
from mbexplore.checkpoints.model import save_model
from mbexplore.errors import DeviceError, ModelError, RangeError, TextError
from mbexplore.explorer import Explorer, find_device
from mbexplore.network.model import ModernBertForMaskedLM

TEXT = "He opened the [MASK] and walked into the [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def test_predictions_are_the_top_of_the_softmax(explorer):
    answer = explorer.predict(TEXT, top_k=7)
    encoding = explorer.encode(TEXT)
    with torch.inference_mode():
        logits = explorer.model(torch.tensor([encoding.ids]))[0]
    assert [mask.position for mask in answer.masks] == list(encoding.mask_positions)
    for mask in answer.masks:
        best = logits[mask.position].topk(7)
        assert [p.token_id for p in mask.predictions] == best.indices.tolist()
        softmax = logits[mask.position].softmax(0)
        for prediction in mask.predictions:
            assert prediction.probability == pytest.approx(
                float(softmax[prediction.token_id]), rel=1e-4
            )
            assert prediction.token == explorer.tokenizer.token(prediction.token_id)


def test_hugging_face_says_the_same(explorer):
    comparison = explorer.compare(explorer.predict(TEXT))
    assert comparison.max_abs_logit_difference < 4e-5  # of logits four times 1
    assert comparison.same_top_k
    assert comparison.version.startswith("5.")


def test_the_pipeline_of_transformers_gives_the_same_answers(explorer):
    from transformers import pipeline

    text = "The capital of France is [MASK]."
    theirs = pipeline("fill-mask", model=str(explorer.files.folder), dtype=torch.float32)(text)
    [mask] = explorer.predict(text).masks
    assert [p.token for p in mask.predictions] == [each["token_str"] for each in theirs]
    for ours, hf in zip(mask.predictions, theirs, strict=True):
        assert ours.probability == pytest.approx(hf["score"], rel=1e-3)


def test_a_difference_is_seen(explorer, monkeypatch):
    answer = explorer.predict(TEXT)
    real = explorer.reference.logits
    monkeypatch.setattr(explorer.reference, "logits", lambda *a: real(*a).roll(1, dims=-1))
    comparison = explorer.compare(answer)
    assert comparison.max_abs_logit_difference > 1
    assert not comparison.same_top_k


def test_float64_and_half_precision_agree(explorer):
    wide = mbexplore.load("tiny", device="cpu", dtype="float64").predict(TEXT)
    assert (explorer.predict(TEXT).logits - wide.logits).abs().max() < 1e-3
    for dtype, tolerance in (("bfloat16", 1.0), ("float16", 0.1)):
        narrow = mbexplore.load("tiny", device="cpu", dtype=dtype).predict(TEXT)
        assert (narrow.logits.double() - wide.logits).abs().max() < tolerance


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda e: e.predict("No mask here."), TextError, r"has no \[MASK\]; put"),
        (lambda e: e.predict(""), TextError, "empty"),
        (lambda e: e.predict(TEXT, top_k=0), RangeError, "top-k is 0; choose 1 to"),
        (lambda e: e.predict(TEXT, top_k=10**6), RangeError, "top-k is 1000000"),
        (lambda e: e.encode("word " * 9000), TextError, r"tokens and the model takes 2,048"),
        (lambda e: e.check_layer_and_head(3, 4), RangeError, "no head 4; choose 0 to 3"),
        (lambda e: mbexplore.load("tiny", dtype="int8"), RangeError, "no dtype 'int8'"),
    ],
)
def test_mistakes_are_one_sentence(explorer, call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call(explorer)


def test_a_missing_device_is_one_sentence():
    with pytest.raises(DeviceError, match="no device 'tpu' here; this machine has"):
        find_device("tpu")
    assert find_device("cpu") == torch.device("cpu")
    assert find_device("auto").type in ("cpu", "cuda", "mps")


def test_the_environment_names_the_model(monkeypatch, explorer):
    monkeypatch.setenv("MBEXPLORE_MODEL", "nonsense")
    with pytest.raises(ModelError, match="nonsense"):
        mbexplore.load()
    monkeypatch.setenv("MBEXPLORE_MODEL", str(explorer.files.folder))
    assert mbexplore.load(device="cpu").info.source == str(explorer.files.folder)


def test_a_bare_encoder_records_but_cannot_predict(explorer, tmp_path):
    from safetensors.torch import save_file

    encoder = explorer.model.encoder
    save_file(
        {name: value.contiguous() for name, value in encoder.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((explorer.files.folder / name).read_bytes())
    bare = mbexplore.load(str(tmp_path), device="cpu")
    assert torch.equal(bare.record(TEXT).hidden_states(9), explorer.record(TEXT).hidden_states(9))
    with pytest.raises(ModelError, match="bare encoder without an MLM head"):
        bare.predict(TEXT)


@pytest.mark.parametrize(
    ("fault", "dtype", "remedy"),
    [(float("nan"), "float32", "damaged"), (1e30, "float16", "open it in float32")],
)
def test_numbers_that_are_not_finite_are_one_sentence(explorer, tmp_path, fault, dtype, remedy):
    """Of damaged weights, and of a dtype that is too narrow, wherever they are looked at."""
    model = mbexplore.load("tiny", device="cpu").model
    with torch.no_grad():
        model.encoder.layers[4].mlp.Wo.weight[0, 0] = fault
    save_model(tmp_path, model)
    tokenizer = explorer.files.folder / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    broken = mbexplore.load(str(tmp_path), device="cpu", dtype=dtype)
    assert broken.record(TEXT, keep=("layers.4.mlp_post",), layers=[4]).values  # before the fault
    calls = [
        lambda: broken.predict(TEXT),
        lambda: broken.record(TEXT),
        lambda: broken.record(TEXT, keep=("layers.5.rot_q",)),
        lambda: embed(broken, [TEXT]),
        lambda: attribute(broken, TEXT, steps=2),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=f"not finite in {dtype}; .*{remedy}"):
            call()


def test_a_tokenizer_of_another_model_is_one_sentence(explorer):
    small = replace(explorer.model.config, vocab_size=300)
    broken = Explorer(ModernBertForMaskedLM(small).eval(), explorer.tokenizer, explorer.files)
    with pytest.raises(ModelError, match=r"gives '.+' the id [\d,]+, and the model has 300 embed"):
        broken.predict(TEXT)


def test_public_names_are_there():
    for name in mbexplore.__all__:
        assert getattr(mbexplore, name).__name__ == name
        assert name in dir(mbexplore)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mbexplore.nothing
