"""The trainer: resuming, several processes, snapshots, files and mistakes."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import typer
from filelock import FileLock
from tokenizers import Tokenizer

from mbexplore import files
from mbexplore.checkpoints.model import load_model
from mbexplore.errors import (
    DeviceError,
    MbexploreError,
    ModelError,
    OutputError,
    TextError,
    UsageError,
)  # fmt: skip
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.training import checkpoint, evaluate, session
from mbexplore.training.export import export
from mbexplore.training.history import History, plot_history
from mbexplore.training.measure import measure
from mbexplore.training.ngrams import NgramModel
from mbexplore.training.options import TrainOptions
from mbexplore.training.recipe import Recipe
from mbexplore.training.session import train
from mbexplore.training.tokenizer import build_tokenizer
from mbexplore.training.trainer import build_optimizers
from tests.cli_runner import run_cli

RECIPE = Recipe(batch_tokens=256, length=32, long_length=64, long_part=0.3, warmup_steps=2)

SCRIPT = """
import sys
from pathlib import Path
import torch
import typer
from mbexplore.training.recipe import Recipe
from mbexplore.training.options import TrainOptions
from mbexplore.training.session import train
torch.set_num_threads(1)
corpus, out, steps, resume = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), len(sys.argv) > 4
recipe = Recipe(batch_tokens=256, length=32, long_length=64, long_part=0.3, warmup_steps=2)
train(
    TrainOptions(corpus=[corpus], out=out, preset="micro", vocab_size=400, steps=steps,
                 resume=resume, checkpoint_minutes=0.0, device="cpu", precision="float32",
                 recipe=recipe),
    on_step=lambda report: print(report.step, flush=True),
)
"""


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "numbers.txt"
    lines = [f"The number {n} is followed by the number {n + 1}." for n in range(300)]
    path.write_text("\n\n".join(lines))
    return path


def options(corpus, out, **more):
    given = {
        "corpus": [str(corpus)],
        "out": out,
        "preset": "micro",
        "vocab_size": 400,
        "device": "cpu",
        "precision": "float32",
        "recipe": RECIPE,
    }
    return TrainOptions(**(given | more))


def losses(folder):
    return [entry["loss"] for entry in History(folder).read()]


@pytest.fixture(scope="module")
def whole_run(corpus, tmp_path_factory):
    """A run of 12 steps that was never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(options(corpus, out, steps=12, save_every=5))
    return out


def test_a_run_learns_and_leaves_a_model_folder(whole_run):
    seen = losses(whole_run)
    assert len(seen) == 12
    assert seen[-1] < seen[0] - 0.5
    assert (whole_run / "loss.png").read_bytes()[:4] == b"\x89PNG"
    model = load_model(whole_run, ModernBertForMaskedLM)
    assert model.config.num_hidden_layers == 6


def test_snapshots_are_model_folders(whole_run):
    names = sorted(path.name for path in whole_run.glob("step-*"))
    assert names == ["step-10", "step-5"]
    early = load_model(whole_run / "step-5", ModernBertForMaskedLM)
    late = load_model(whole_run / "step-10", ModernBertForMaskedLM)
    assert not torch.equal(early.head.dense.weight, late.head.dense.weight)
    assert (whole_run / "step-5" / "tokenizer.json").exists()


def test_transformers_opens_a_snapshot(whole_run):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(whole_run / "step-5").eval()
    ours = load_model(whole_run / "step-5", ModernBertForMaskedLM)
    ids = torch.tensor([[1, 10, 20, 4, 30, 2]])
    with torch.no_grad():
        assert torch.allclose(ours(ids), theirs(ids).logits, atol=1e-4)


def start(corpus, out, steps, *more, processes=1):
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    script = out.parent / "train.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [*command, str(script), str(corpus), str(out), str(steps), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())},
    )


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is posix")
def test_resume_after_kill_gives_the_numbers_of_a_run_never_stopped(corpus, whole_run, tmp_path):
    out = tmp_path / "killed"
    run = start(corpus, out, 12)
    for line in run.stdout:
        if int(line) >= 5:  # in or after the writing of a checkpoint
            run.send_signal(signal.SIGKILL)
            break
    run.communicate()
    assert run.returncode == -signal.SIGKILL
    assert len(losses(out)) < 12
    again = start(corpus, out, 12, "resume")
    first = int(again.stdout.readline())
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors
    assert first > 1  # it did go on, and did not start anew
    assert losses(out) == losses(whole_run)
    ours = load_model(out, ModernBertForMaskedLM).state_dict()
    theirs = load_model(whole_run, ModernBertForMaskedLM).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_two_processes_give_the_losses_of_one(corpus, whole_run, tmp_path):
    out = tmp_path / "two"
    run = start(corpus, out, 12, processes=2)
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    # Sums are taken in another order, and Muon's bfloat16 steps widen the difference.
    assert losses(out) == pytest.approx(losses(whole_run), rel=5e-3)
    assert losses(out)[:2] == pytest.approx(losses(whole_run)[:2], rel=1e-5)


def test_a_run_goes_on_from_another_models_weights(corpus, whole_run, tmp_path):
    before = load_model(whole_run, ModernBertForMaskedLM).state_dict()
    before = {name: value.clone() for name, value in before.items()}
    train(options(corpus, tmp_path, steps=2, start=whole_run, vocab_size=None))
    assert losses(tmp_path)[0] < losses(whole_run)[0] - 0.5
    kept, own = ((f / "tokenizer.json").read_text() for f in (tmp_path, whole_run))
    assert kept == own
    after = load_model(whole_run, ModernBertForMaskedLM).state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())


def test_from_brings_its_own_tokenizer(corpus, whole_run, tmp_path):
    with pytest.raises(UsageError, match="brings its own tokenizer"):
        train(options(corpus, tmp_path, steps=1, start=whole_run, tokenizer=whole_run))


def test_resuming_a_finished_run_changes_nothing(corpus, whole_run):
    before = losses(whole_run)
    train(options(corpus, whole_run, steps=12, resume=True))
    assert losses(whole_run) == before


def test_ctrl_c_saves_the_step_at_hand(corpus, tmp_path):
    def interrupt(report):
        if report.step == 3:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(options(corpus, tmp_path, steps=50), on_step=interrupt)
    assert checkpoint.load_state(tmp_path)["clock"]["step"] == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_minutes_end_a_run_and_count_over_its_parts(corpus, tmp_path):
    train(options(corpus, tmp_path, minutes=0.02))
    entries = History(tmp_path).read()
    assert entries[-2]["seconds"] <= 1.2 <= entries[-1]["seconds"]  # the step that passed the end
    train(options(corpus, tmp_path, minutes=0.02, resume=True))
    assert History(tmp_path).read() == entries  # the time was spent already


WRITTEN = ["training_state.pt", "model.safetensors", "config.json", "tokenizer_config.json"]
WRITTEN += ["log.jsonl", "loss.png"]


def fill_disk_at(name, monkeypatch):
    """A disk that has no room for one file."""

    def fsync(handle):
        (path,) = (one for one in parts if os.path.samestat(os.stat(one), os.fstat(handle)))
        if os.path.basename(path).startswith(f".{name}."):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def mkstemp(**options):
        made = tempfile.mkstemp(**options)
        parts[:] = made[1:]
        return made

    parts = []
    monkeypatch.setattr(files, "tempfile", SimpleNamespace(mkstemp=mkstemp))
    monkeypatch.setattr(files.os, "fsync", fsync)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_full_disk_is_one_sentence_and_harms_no_checkpoint(corpus, tmp_path, name, monkeypatch):
    train(options(corpus, tmp_path, steps=2))
    before = (tmp_path / name).read_bytes()
    with monkeypatch.context() as full:
        fill_disk_at(name, full)
        with pytest.raises(
            OutputError, match=r"can't be written \(No space left on device\)"
        ) as caught:
            train(options(corpus, tmp_path, steps=4, resume=True))
    assert "\n" not in str(caught.value)
    assert (tmp_path / name).read_bytes() == before
    assert not list(tmp_path.glob(".*"))
    train(options(corpus, tmp_path, steps=4, resume=True))
    assert len(losses(tmp_path)) == 4


def test_two_runs_in_one_folder_are_kept_apart(corpus, tmp_path):
    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(OutputError, match="Another run is training in"),
    ):
        train(options(corpus, tmp_path, steps=1))
    train(options(corpus, tmp_path, steps=1))
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_run_left_beside_a_file_is_removed(corpus, tmp_path):
    (tmp_path / ".training_state.pt.abc.part").touch()
    train(options(corpus, tmp_path, steps=1))
    assert not list(tmp_path.glob(".*"))


def test_a_disk_that_is_full_from_the_start(corpus, tmp_path, monkeypatch):
    fill_disk_at("tokenizer.json", monkeypatch)
    with pytest.raises(OutputError, match=r"tokenizer.json can't be written \(No space left"):
        train(options(corpus, tmp_path, steps=1))
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told(corpus, whole_run, tmp_path):
    with pytest.raises(UsageError, match="--steps or --minutes"):
        train(options(corpus, tmp_path))
    with pytest.raises(UsageError, match="preset"):
        train(options(corpus, tmp_path, steps=1, preset="huge"))
    with pytest.raises(OutputError, match="--resume"):
        train(options(corpus, whole_run, steps=13))
    with pytest.raises(ModelError, match="another recipe"):
        train(options(corpus, whole_run, steps=13, resume=True, seed=5))
    with pytest.raises(ModelError, match="another corpus"):
        train(options(f"{corpus}:2", whole_run, steps=13, resume=True))
    with pytest.raises(ModelError, match="can't be read as a tokenizer"):
        train(options(corpus, tmp_path, steps=1, tokenizer=corpus))
    with pytest.raises(ModelError, match="There is no model 'nowhere'"):
        train(options(corpus, tmp_path, steps=1, start=Path("nowhere"), vocab_size=None))
    with pytest.raises(UsageError, match="--precision"):
        train(options(corpus, tmp_path, steps=1, precision="half"))
    with pytest.raises(DeviceError, match="--device"):
        session.choose_device("toaster")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OutputError, match="--out"):
        train(options(corpus, file / "run", steps=1))


def test_a_broken_checkpoint_is_told(corpus, tmp_path):
    (tmp_path / checkpoint.STATE_FILE).write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match="can't be read"):
        train(options(corpus, tmp_path, steps=1, resume=True))
    torch.save({"config": {}}, tmp_path / checkpoint.STATE_FILE)
    with pytest.raises(ModelError, match="it lacks clock, corpus"):
        train(options(corpus, tmp_path, steps=1, resume=True))


def test_a_run_may_begin_with_the_bundled_model(corpus, tmp_path):
    train(options(corpus, tmp_path, steps=1, start=Path("tiny"), vocab_size=None))
    assert losses(tmp_path)[0] < 5.0  # a new one of 10,240 tokens begins at 9


def test_a_loss_that_explodes_stops_the_run(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mbexplore.training.trainer.MaskedLoss.forward",
        lambda self, *tensors: self.lm.model.final_norm.weight.sum() * float("nan"),
    )
    with pytest.raises(MbexploreError, match="--rate"):
        train(options(corpus, tmp_path, steps=3))
    assert not (tmp_path / checkpoint.STATE_FILE).exists()


def test_every_parameter_is_in_one_optimizer(whole_run):
    model = load_model(whole_run, ModernBertForMaskedLM)
    groups = [group for o in build_optimizers(model, RECIPE) for group in o.param_groups]
    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    for group in groups:
        if group["weight_decay"] == 0:
            assert all(parameter.ndim == 1 for parameter in group["params"])
        else:
            assert all(parameter.ndim == 2 for parameter in group["params"])


def test_without_muon_adamw_trains_the_matrices_too(whole_run, monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)  # as torch before 2.9
    model = load_model(whole_run, ModernBertForMaskedLM)
    matrices, others = build_optimizers(model, RECIPE)
    assert isinstance(matrices, torch.optim.AdamW)
    held = [
        p for optimizer in (matrices, others) for g in optimizer.param_groups for p in g["params"]
    ]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    weight = model.model.layers[0].attn.Wqkv.weight
    before = weight.detach().clone()
    weight.grad = torch.ones_like(weight)
    matrices.step()
    assert not torch.equal(weight, before)


def test_a_cut_log_is_read_up_to_the_cut(tmp_path):
    history = History(tmp_path)
    for step in range(1, 4):
        history.add(step=step, loss=1.0 / step, tokens=step, rate=0.1, seconds=step)
    with history.path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [entry["step"] for entry in history.read()] == [1, 2, 3]
    history.keep_until(2)
    lines = history.path.read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    top, bottom = plot_history(history.read(), smooth=2).axes
    assert top.lines[1].get_ydata()[1] == pytest.approx(0.75)  # the mean of 1 and 1/2
    assert len(bottom.lines[0].get_xdata()) == 2


def test_ngrams_by_hand():
    model = NgramModel(torch.tensor([5, 6, 7, 5, 6, 8, 5, 6, 7], dtype=torch.int32).numpy(), 10)
    assert model.probabilities([]).sum() == pytest.approx(1)
    assert model.probabilities([5])[6] == pytest.approx((3 + 1 * 3 / 9) / (3 + 1))
    after = model.probabilities([5, 6])
    assert after.sum() == pytest.approx(1)
    bigram = (2 + 2 * 2 / 9) / (3 + 2)  # of 7 after 6
    assert after[7] == pytest.approx((2 + 2 * bigram) / (3 + 2))
    assert model.probabilities([9, 9])[5] == pytest.approx(3 / 9)  # never seen: the unigram


def test_the_command_passes_its_options_on_and_shows_progress(corpus, tmp_path):
    command = [sys.executable, "-c", "import typer; from mbexplore.cli.train import train; "]
    command[-1] += "typer.run(train)"
    out = tmp_path / "run"
    arguments = ["--corpus", str(corpus), "--out", str(out), "--preset", "micro", "--steps", "3"]
    more = ["--vocab-size", "400", "--device", "cpu", "--save-every", "2", "--seed", "3"]
    second = tmp_path / "second.txt"
    second.write_text("A zebra, a zebra. " * 200)
    run = subprocess.run(
        [*command, *arguments, str(second), *more],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert all(part in run.stderr for part in ("step 3", "loss ", "tokens/s", "s left"))
    assert f"Saved in {out}" in run.stderr
    read = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert read.token_to_id("Ġzebra") is not None  # of the second file
    assert (out / "step-2" / "model.safetensors").exists()
    assert checkpoint.load_state(out)["recipe"]["seed"] == 3


def test_a_mistake_is_one_line_on_the_command(tmp_path):
    result = run_cli("train", "--corpus", tmp_path / "no.txt", "--out", tmp_path, "--steps", "1")
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1 and "There is no file" in result.err


def test_an_export_is_half_the_size_and_answers_alike(whole_run, tmp_path, capsys):
    export(whole_run, tmp_path / "half")
    sizes = [
        (folder / "model.safetensors").stat().st_size for folder in (whole_run, tmp_path / "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    ids = torch.tensor([[1, 10, 20, 4, 30, 2]])
    with torch.no_grad():
        ours = load_model(whole_run, ModernBertForMaskedLM)(ids)
        half = load_model(tmp_path / "half", ModernBertForMaskedLM, dtype=torch.float32)(ids)
    assert torch.allclose(ours, half, atol=0.02)
    with pytest.raises(typer.Exit):
        export(tmp_path / "nowhere", tmp_path / "out")
    assert "nowhere" in capsys.readouterr().err


def test_measures_of_a_model(whole_run, corpus, tmp_path, capsys):
    cloze = tmp_path / "cloze.jsonl"
    question = {"category": "numbers", "prompt": "The [MASK] 7 is", "answers": ["number"]}
    cloze.write_text(json.dumps(question) + "\n")
    measure(whole_run, heldout=corpus, cloze=cloze, corpus=[str(corpus)], as_json=True)
    figures = json.loads(capsys.readouterr().out)
    heldout = figures["heldout"]
    assert len({entry["count"] for entry in heldout.values()}) == 1  # the same masks for all
    assert heldout["unigram"]["top1"] < heldout["bigram"]["top1"] <= heldout["4-gram"]["top1"]
    assert figures["cloze"]["all"]["count"] == 1
    measure(whole_run, cloze=cloze, answers=True)
    assert "The [MASK] 7 is" in capsys.readouterr().out


def test_heldout_masks_ask_for_no_token_twice(corpus):
    tokenizer = build_tokenizer(corpus.read_text().splitlines(), 400)
    documents = [["One two three.", "Four five six seven."]] * 40
    rows = evaluate.heldout_rows(tokenizer, documents, length=32, passes=2)
    again = evaluate.heldout_rows(tokenizer, documents, length=32, passes=2)
    assert [row.positions.tolist() for row in rows] == [row.positions.tolist() for row in again]
    line_break = tokenizer.encode("\n", add_special_tokens=False).ids[0]
    mask = tokenizer.token_to_id("[MASK]")
    for row in rows:
        assert (row.input_ids[row.positions] == mask).all()
        assert line_break not in row.labels
        assert not set(row.labels.tolist()) & set(range(5))
    hidden = sum(len(row.positions) for row in rows)
    single = sum(
        len(row.positions)
        for row in evaluate.heldout_rows(tokenizer, documents, length=32, passes=1)
    )
    assert single < hidden


@pytest.mark.parametrize("text", ["[SEP] [MASK] [CLS]\n", "\N{EGYPTIAN HIEROGLYPH A001}" * 40])
def test_a_corpus_without_a_word_is_refused(corpus, whole_run, tmp_path, text):
    nothing = tmp_path / "nothing.txt"
    nothing.write_text(text)
    build = Tokenizer.from_file(str(whole_run / "tokenizer.json"))
    values = json.loads(build.to_str())
    values["pre_tokenizer"] = {"type": "Whitespace"}
    values["model"] = {"type": "WordLevel", "unk_token": "[UNK]", "vocab": values["model"]["vocab"]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(values))
    given = options(str(nothing), tmp_path / "run", steps=2, tokenizer=tmp_path, vocab_size=None)
    with pytest.raises(TextError, match="special and unknown tokens alone"):
        train(given)


def test_without_a_compiler_training_goes_on_uncompiled(corpus, tmp_path, monkeypatch):
    def compile(function):
        raise RuntimeError("No working C++ compiler found in ('g++',)\nand a long trace")

    monkeypatch.setattr(torch, "compile", compile)
    notices = []
    train(options(corpus, tmp_path, steps=2, compiled=True), on_notice=notices.append)
    assert notices == ["Training goes on uncompiled: No working C++ compiler found in ('g++',)."]
    assert len(losses(tmp_path)) == 2


@pytest.mark.parametrize("part", ["model", "optimizers", "clock"])
def test_a_state_of_another_shape_is_one_sentence(corpus, tmp_path, part):
    train(options(corpus, tmp_path, steps=1))
    state = checkpoint.load_state(tmp_path)
    state[part] = {"model": {}, "optimizers": [], "clock": {"step": 3}}[part]
    checkpoint.save_state(tmp_path, state)
    with pytest.raises(ModelError, match="can't be taken up"):
        train(options(corpus, tmp_path, steps=2, resume=True))
