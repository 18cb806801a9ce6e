"""The service: predictions, the comparison with transformers, devices and limits."""

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

import mbexplore
from mbexplore.analysis.ablate import Block, ablate
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.embed import embed
from mbexplore.analysis.lens import lens
from mbexplore.checkpoints.model import save_model
from mbexplore.errors import DeviceError, ModelError, RangeError, TextError
from mbexplore.explorer import Explorer, check_finite, find_device
from mbexplore.network.model import ModernBertForMaskedLM
from tests.handbuilt import hook_count

TEXT = "He opened the [MASK] and walked into the [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def test_predictions_are_the_top_of_the_softmax(explorer):
    answer = explorer.fill_masks(TEXT, top_k=7)
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
    comparison = explorer.compare_with_transformers(explorer.fill_masks(TEXT))
    assert comparison.max_abs_logit_difference < 4e-5  # of logits four times 1
    assert comparison.same_top_k
    assert comparison.version.startswith("5.")


def test_the_pipeline_of_transformers_gives_the_same_answers(explorer):
    from transformers import pipeline

    text = "The capital of France is [MASK]."
    theirs = pipeline("fill-mask", model=str(explorer.files.folder), dtype=torch.float32)(text)
    [mask] = explorer.fill_masks(text).masks
    assert [p.token for p in mask.predictions] == [each["token_str"] for each in theirs]
    for ours, hf in zip(mask.predictions, theirs, strict=True):
        assert ours.probability == pytest.approx(hf["score"], rel=1e-3)


def test_a_difference_is_seen(explorer, monkeypatch):
    answer = explorer.fill_masks(TEXT)
    real = explorer.reference.logits
    monkeypatch.setattr(explorer.reference, "logits", lambda *a: real(*a).roll(1, dims=-1))
    comparison = explorer.compare_with_transformers(answer)
    assert comparison.max_abs_logit_difference > 1
    assert not comparison.same_top_k


def test_float64_and_half_precision_agree(explorer):
    wide = mbexplore.load("tiny", device="cpu", dtype="float64").fill_masks(TEXT)
    assert (explorer.fill_masks(TEXT).logits - wide.logits).abs().max() < 1e-3
    for dtype, tolerance in (("bfloat16", 1.0), ("float16", 0.1)):
        narrow = mbexplore.load("tiny", device="cpu", dtype=dtype).fill_masks(TEXT)
        assert (narrow.logits.double() - wide.logits).abs().max() < tolerance


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda e: e.fill_masks("No mask here."), TextError, r"has no \[MASK\]; put"),
        (lambda e: e.fill_masks(""), TextError, "empty"),
        (lambda e: e.fill_masks(TEXT, top_k=0), RangeError, "top-k is 0; choose 1 to"),
        (lambda e: e.fill_masks(TEXT, top_k=10**6), RangeError, "top-k is 1000000"),
        (lambda e: e.encode("word " * 9000), TextError, r"tokens and the model takes 2,048"),
        (lambda e: e.check_layer_and_head(3, 4), RangeError, "no head 4; choose 0 to 3"),
        (lambda e: mbexplore.load("tiny", dtype="int8"), RangeError, "no dtype 'int8'"),
    ],
)
def test_mistakes_are_one_sentence(explorer, call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call(explorer)


def test_a_missing_device_is_one_sentence():
    with pytest.raises(DeviceError, match="no device 'tpu' here; choose one of"):
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
        bare.fill_masks(TEXT)


@pytest.mark.parametrize(
    ("fault", "dtype", "sentence"),
    [
        (float("nan"), "float32", "Wo.weight has NaN in it, so .*; copy or train its weights"),
        (1e30, "float16", "Wo.weight has infinity in it in float16, .*; open it in float32, or"),
        (3e4, "float16", "not finite in float16; open it in float32"),
    ],
)
def test_numbers_that_are_not_finite_are_one_sentence(explorer, tmp_path, fault, dtype, sentence):
    """Of damaged weights, and of a dtype that is too narrow, wherever they are looked at."""
    model = mbexplore.load("tiny", device="cpu").model
    with torch.no_grad():
        model.encoder.layers[4].mlp.Wo.weight[0] = fault
    save_model(tmp_path, model)
    tokenizer = explorer.files.folder / "tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    broken = mbexplore.load(str(tmp_path), device="cpu", dtype=dtype)
    assert broken.record(TEXT, keep=("layers.4.mlp_post",), layers=[4]).values  # before the fault
    calls = [
        lambda: broken.fill_masks(TEXT),
        lambda: broken.record(TEXT),
        lambda: broken.record(TEXT, keep=("layers.5.rot_q",)),
        lambda: embed(broken, [TEXT]),
        lambda: attribute(broken, TEXT, steps=2),
    ]
    for call in calls:
        with pytest.raises(ModelError, match=sentence):
            call()


def test_edits_hold_for_everything_in_the_block(explorer):
    plain, text = explorer.fill_masks(TEXT), "The sea is [MASK]."
    found = lens(explorer, text).rows[-1]
    with explorer.edit({"layers.2.mlp_out": torch.zeros_like}) as same:
        assert same is explorer
        edited = explorer.fill_masks(TEXT)
        assert not torch.allclose(edited.logits, plain.logits, atol=1e-2)
        assert explorer.record(TEXT, keep=("updates",)).tap("layers.2.mlp_out").abs().max() == 0
        [many] = explorer.fill_masks_many([TEXT])
        assert torch.equal(many.logits, edited.logits)
        assert lens(explorer, text).rows[-1] != found
    expected = ablate(explorer, TEXT, [Block(2, "mlp")]).effects[0].score
    best = plain.masks[0].predictions[0].token_id
    assert float(edited.logits[0, best]) == pytest.approx(expected.logit, abs=1e-3)
    assert torch.equal(explorer.fill_masks(TEXT).logits, plain.logits)
    assert lens(explorer, text).rows[-1] == found


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda value: value[:, :2], r"gives \(1, 2, 256\) for a value of shape \(1, 12, 256\)"),
        (lambda value: 0.0, r"gives 0\.0 for a value of shape"),
    ],
)
def test_an_edit_that_changes_the_shape_is_one_sentence(explorer, edit, sentence):
    with explorer.edit({"layers.2.mlp_out": edit}), pytest.raises(RangeError, match=sentence):
        explorer.fill_masks(TEXT)
    assert hook_count(explorer.model) == 0


def test_an_edit_of_no_tap_is_one_sentence(explorer):
    with (
        pytest.raises(RangeError, match=r"no tap 'layers\.2\.mlp'; .* resid_pre, q, k, v, rot_q"),
        explorer.edit({"layers.2.mlp": torch.zeros_like}),
    ):
        pass


def test_what_is_printed_is_one_line(explorer):
    assert repr(explorer) == (
        "Explorer('tiny': 9 layers x 4 heads, 7,715,840 parameters, float32 on cpu)"
    )
    answer = explorer.fill_masks(TEXT)
    first, second = (mask.predictions[0] for mask in answer.masks)
    assert repr(answer) == (
        f"Answer({TEXT!r}: {first.token!r} {first.probability:.1%}, "
        f"{second.token!r} {second.probability:.1%})"
    )
    assert len(repr(explorer.fill_masks("The [MASK] and " * 200))) < 300


def test_a_list_is_no_text(explorer):
    for call in (explorer.record, explorer.fill_masks, explorer.encode):
        with pytest.raises(TextError, match=r"\['a', 'b'\] is of type list; give one string, or"):
            call(["a", "b"])
    with pytest.raises(TextError, match="None is of type NoneType"):
        explorer.record(None)
    assert len(list(explorer.record_many(["a", "b"]))) == 2


def test_an_encoding_without_a_mask_is_one_sentence(explorer):
    encoding = explorer.encode("No mask here.")
    for call in (explorer.fill_masks, lambda one: list(explorer.fill_masks_many([TEXT, one]))):
        with pytest.raises(TextError, match=r"'No mask here\.' has no \[MASK\]; put"):
            call(encoding)
    long = explorer.encode("It " * 3000 + "[MASK]", truncate=True)
    with pytest.raises(TextError, match=r"no \[MASK\] within its first 2,048 tokens"):
        explorer.fill_masks(long)


def test_every_value_that_is_kept_is_checked(explorer, monkeypatch):
    """Also where a later layer hides what is broken, and the logits of a whole text."""

    def broken(value):
        return value.index_fill(1, torch.tensor([3]), float("inf"))

    def mended(value):
        return value.nan_to_num(0.0)

    with explorer.edit({"layers.3.mlp_post": broken, "layers.3.mlp_out": mended}):
        with pytest.raises(ModelError, match="not finite in float32"):
            explorer.record(TEXT, keep=("mlp_post",))
        assert explorer.record(TEXT, keep=("attention",)).values
    with explorer.edit({"layers.8.resid_post": broken}):
        calls = (explorer.record, lambda text: list(explorer.record_many([text, text])))
        for call in calls:
            with pytest.raises(ModelError, match="not finite"):
                call(TEXT)
    assert explorer.record(TEXT, keep=("scores",)).values  # minus infinity has its place there


def test_sums_that_overflow_are_no_fault(explorer):
    huge = torch.full((4,), 3e38)
    check_finite(explorer.model, huge, huge.half().clamp(max=60_000).repeat(1000))
    with pytest.raises(ModelError, match="not finite"):
        check_finite(explorer.model, torch.ones(3), torch.tensor([1.0, -float("inf")]))


def test_importing_sets_nothing():
    code = (
        "import os; before = dict(os.environ)\n"
        "import mbexplore, transformers; mbexplore.load('tiny', device='cpu').record('It.')\n"
        "logging = transformers.utils.logging\n"
        "logging.set_verbosity_info(); logging.enable_progress_bar()\n"
        "explorer = mbexplore.load('tiny', device='cpu')\n"
        "explorer.compare_with_transformers(explorer.fill_masks('It [MASK].'))\n"
        "print(dict(os.environ) == before, logging.get_verbosity() == logging.INFO, "
        "logging.is_progress_bar_enabled())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True True True", done.stderr


def test_a_tokenizer_of_another_model_is_one_sentence(explorer):
    small = replace(explorer.model.config, vocab_size=300)
    broken = Explorer(ModernBertForMaskedLM(small).eval(), explorer.tokenizer, explorer.files)
    with pytest.raises(ModelError, match=r"gives '.+' the id [\d,]+, and the model has 300 embed"):
        broken.fill_masks(TEXT)


def test_public_names_are_there():
    for name in mbexplore.__all__:
        assert getattr(mbexplore, name).__name__ == name
        assert name in dir(mbexplore)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mbexplore.nothing


def test_threads_share_one_reference(explorer, monkeypatch):
    loads, real = [], type(explorer).load_reference

    def load_reference(self, *given):
        loads.append(threading.get_ident())
        time.sleep(0.05)
        return real(self, *given)

    monkeypatch.setattr(type(explorer), "load_reference", load_reference)
    fresh = mbexplore.Explorer(explorer.model, explorer.tokenizer, explorer.files)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: fresh.reference, range(2))
    assert one is other and len(loads) == 1
