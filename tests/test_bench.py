"""The benchmark's equality checks, arithmetic and forms; never how fast something is."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore import process
from mbexplore.bench import commands, corpus, report, works
from mbexplore.bench.equal import check_equal
from mbexplore.bench.inputs import make_batch, make_ids
from mbexplore.bench.lines import LINES, make_lines, read_answers
from mbexplore.bench.prepare import _write_tokenizer, write_random
from mbexplore.bench.processes import Done, Worker, busy_process, run_command, temporary_folder
from mbexplore.bench.result import PARTS, Bench, Part, Row, Side, find_machine
from mbexplore.bench.works import Entry, Model, contest, measure, measure_parts
from mbexplore.checkpoints.model import load_model, save_model
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.display.blocks import Table
from mbexplore.display.figure import build_figure
from mbexplore.display.terminal import to_text
from mbexplore.errors import MbexploreError, ModelError, UsageError
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.process import others_run, tune_process, without_tuning
from tests.cli_runner import run_cli


class InProcess:
    """A `Worker` without a process: the same tasks, here."""

    def __init__(self, side, task, folder, tokens):
        self._run = import_module(f"mbexplore.bench.{side}").TASKS[task](folder, tokens)
        self.seconds, self.cpu, self.peak, self.loaded = [], [], 2, 1

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def wait(self):
        pass

    def run(self, *, counts=True):
        self._run()
        self.seconds += [1.0] * counts
        self.cpu += [2.0] * counts

    def result(self):
        return np.asarray(self._run())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A random model, and another of the same shape."""
    folder, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    write_random("tiny", folder)
    write_random("tiny", other)
    model = load_model(other, ModernBertForMaskedLM)
    with torch.no_grad():
        model.model.layers[3].mlp.Wo.weight = torch.nn.Parameter(
            model.model.layers[3].mlp.Wo.weight * 3.0
        )
    save_model(other, model)
    return folder, other


@pytest.fixture
def model(folders, monkeypatch):
    monkeypatch.setattr(works, "Worker", InProcess)
    return Model("random", folders[0], "[MASK]", folders[0])


@pytest.fixture
def bench():
    rows = (
        Row("logits", 16, Side("mbexplore", (1.0, 3.0, 2.0), 100, 50, (2.0, 2.0, 4.0)),
            Side("transformers", (5.0, 4.0, 9.0), 400, 60, (6.0, 7.0, 9.0)), 1e-6),
        Row("help", None, Side("mbexplore", (0.2, 0.2, 0.2), None)),
    )  # fmt: skip
    parts = (Part(512, "linear layers", 0.7, 0.7, 0.9), Part(512, "the rest", 0.3, 0.3, None))
    return Bench("base, random weights", "float32", 3, find_machine(), rows, parts)


@pytest.mark.parametrize(
    ("work", "tokens"),
    [
        ("features", 40),
        ("forward", 40),
        ("logits", 40),
        ("batch", 30),
        ("record", 40),
        ("record", 300),
    ],
)
def test_both_sides_of_every_work_give_the_same(work, tokens, model):
    result = measure([work], model, tokens=[tokens], repeats=2)
    for row in result.rows:
        assert len(row.left.seconds) == 2
        if row.right is not None:
            assert len(row.right.seconds) == 2
            assert row.difference < 1e-4
    names = {row.right and row.right.name for row in result.rows}
    assert "transformers" in names
    assert names == {"transformers"} or work == "record"


@pytest.mark.parametrize("task", ["forward", "batch", "every map"])
def test_unequal_work_is_refused(task, folders, monkeypatch):
    monkeypatch.setattr(works, "Worker", InProcess)
    model = Model("random", folders[0], "[MASK]", folders[1])
    sides = Entry("mbexplore", "ours", task), Entry("transformers", "theirs", task)
    with pytest.raises(ModelError, match="would compare unequal work"):
        contest("some work", 40, sides[0], sides[1:], model, 1)


@pytest.mark.parametrize("theirs", [[1.0, 2.1], [1.0, float("nan")], [1.0], [[1.0], [2.0]]])
def test_different_answers_are_refused(theirs):
    with pytest.raises(ModelError, match="unequal work"):
        check_equal(np.array([1.0, 2.0]), np.array(theirs), "some work")


def test_rounding_is_no_difference():
    assert check_equal(np.array([1.0, 2.0]), np.array([1.0, 2.00001]), "") == pytest.approx(1e-5)


def test_parts_add_up_and_count_their_operations(model):
    tokens, parts = 600, measure_parts(model, [600], 1, print)
    assert tuple(part.name for part in parts) == PARTS
    assert sum(part.share for part in parts) == pytest.approx(1.0)
    assert all(part.seconds > 0 for part in parts)
    ours = import_module("mbexplore.bench.ours")
    operations = ours.parts(model.folder, tokens)()[:, 1].tolist()
    opened = load_model(model.folder, ModernBertForMaskedLM)
    config = opened.config
    *full, last = opened.model.layers
    weights = [p.numel() for layer in full for n, p in layer.named_parameters() if "norm" not in n]
    row_of_last = sum(p.numel() for n, p in last.named_parameters() if "norm" not in n)
    qkv = last.attn.Wqkv.weight.numel()
    assert operations[0] == 2 * (tokens * (sum(weights) + qkv) + row_of_last - qkv)
    scores_of_global = sum(
        tokens * (1 if i == config.num_hidden_layers - 1 else tokens)
        for i, kind in enumerate(config.layer_kinds)
        if kind == "global"
    )
    assert operations[2] == 4 * scores_of_global * config.hidden_size
    assert 0 < operations[1] < operations[2]
    assert operations[3] == 2 * (config.hidden_size + config.vocab_size) * config.hidden_size


def test_a_worker_measures_its_own_process(folders):
    with Worker("ours", "forward", folders[0], 8) as worker:
        worker.wait()
        worker.run(counts=False)
        worker.run()
        answer = worker.result()
    assert len(worker.seconds) == 1
    assert worker.peak >= worker.loaded > 2**20
    expected = import_module("mbexplore.bench.ours").forward(folders[0], 8)().numpy()
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


def test_a_worker_that_fails_says_why(tmp_path):
    with (
        pytest.raises(ModelError, match=r"forward of 8 tokens ended early .*config\.json"),
        Worker("ours", "forward", tmp_path, 8) as worker,
    ):
        worker.wait()


class Hungry(Worker):
    """A worker whose peer the system kills at the first answer."""

    def result(self):
        if "theirs" in self._what:
            self._process.kill()
            self._process.wait()  # so that what is sent next stays in the pipe
        return super().result()


def test_a_peer_that_is_killed_gets_a_row_that_says_so(folders, monkeypatch):
    monkeypatch.setattr(works, "Worker", Hungry)
    model = Model("random", folders[0], "[MASK]", folders[1])
    ours, theirs = Entry("mbexplore", "ours", "forward"), Entry("other", "theirs", "forward")
    [row] = contest("some work", 8, ours, [theirs], model, 2)
    assert len(row.left.seconds) == 2
    assert row.right.failure.startswith("killed")
    assert row.ratio is row.worst_ratio is row.cpu_ratio is row.memory_ratio is None
    bench = Bench("random", "float32", 2, find_machine(), (row,))
    [table] = [block for block in report.to_blocks(bench) if isinstance(block, Table)]
    assert "killed: too little memory?" in table.rows[0]
    json.dumps(report.to_json(bench))
    theirs = Entry("other", "theirs", "no such task")
    with pytest.raises(ModelError, match="ended early"):
        contest("some work", 8, ours, [theirs], model, 1)


def test_a_command_is_measured_from_outside():
    seconds, peak, printed, cpu = run_command([sys.executable, "-c", "print(1 + 1)"])
    assert printed == "2\n"
    assert 0 < seconds < 60
    assert cpu is None or 0 < cpu < 60
    assert peak is None or peak > 2**20
    with pytest.raises(ModelError, match=r"failed .*ZeroDivisionError"):
        run_command([sys.executable, "-c", "1 / 0"])


@pytest.mark.parametrize("theirs", ["[[7, 0.5]]", "[[8, 0.5]]", "[[7, 0.4]]"])
def test_answers_of_whole_processes_are_compared(theirs, monkeypatch, folders):
    own = json.dumps({"masks": [{"predictions": [{"token_id": 7, "probability": 0.5}]}]})

    def run(arguments):
        return Done(1.0, 2, own if "predict" in arguments else theirs)

    monkeypatch.setattr(commands, "run_command", run)
    model = Model("random", folders[0], "[MASK]", folders[0])
    if theirs == "[[7, 0.5]]":
        [row] = measure(["predict"], model, repeats=2).rows
        assert (row.ratio, row.difference) == (1.0, 0.0)
    else:
        with pytest.raises(ModelError, match="unequal work"):
            measure(["predict"], model, repeats=2)


def test_one_sentence_of_the_bundled_model_is_answered_by_both_sides(monkeypatch):
    """Its weights are stored in float16, in which transformers would compute."""
    tiny = Path(__file__).parents[1] / "assets" / "tiny"
    monkeypatch.setattr(commands, "_processes", lambda *arguments: arguments[-1])
    [difference] = commands.predict_rows(Model("tiny", tiny, "[MASK]", tiny), (), 1, print)
    assert 0 < difference < 1e-5


def test_many_short_texts_are_answered_by_both_sides(monkeypatch, folders):
    lines = make_lines("[MASK]")
    assert len(set(lines)) == LINES and all(line.count("[MASK]") == 1 for line in lines)
    with pytest.raises(UsageError, match=r"216,001 lines were asked for; choose 1 to 216,000"):
        make_lines("[MASK]", 216_001)
    written = []

    def run(arguments):
        [place] = [each for each in arguments if each.endswith(".csv")]
        [texts] = [each for each in arguments if each.endswith(".txt")]
        assert Path(texts).read_text().splitlines() == lines[:3]
        if "predict" in arguments:
            assert run_cli("predict", "--lines", texts, "-o", place).code == 0
        else:
            rows = [f"{i},{p}" for i, some in enumerate(written[0]) for p in some]
            Path(place).write_text("\n".join(["line,probability", *rows]))
        written.append(read_answers(Path(place)))
        return Done(1.0, 2, "", 0.5)

    monkeypatch.setattr(commands, "run_command", run)
    model = Model("random", folders[0], "[MASK]", folders[0])
    [row] = measure(["lines"], model, repeats=1, lines=3).rows
    assert (row.ratio, row.cpu_ratio, row.difference) == (1.0, 1.0, 0.0)
    assert len(written) == 4  # the first of each side is compared and doesn't count
    explorer = mbexplore.load("tiny", device="cpu")
    for found, answer in zip(written[0], explorer.fill_masks_many(lines[:3]), strict=True):
        expected = [one.probability for one in answer.masks[0].predictions]
        assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_what_heads_do_over_a_corpus_is_the_same_on_both_sides(monkeypatch, folders):
    texts = corpus.make_texts(40, 5)
    assert len(set(texts)) == 5
    monkeypatch.setattr(corpus, "make_texts", lambda tokens: texts)
    made = []

    def run(arguments):
        *_, last = arguments
        made.append(last)
        if len(made) > 2:
            return Done(1.0, 2, "")
        if corpus.FRESH in arguments:
            done = run_cli(*arguments[4:])
            assert done.code == 0, done.err
        else:
            monkeypatch.setattr(sys, "argv", ["script", *arguments[3:]])
            exec(arguments[2], {})
            assert len(list((Path(last) / "heads").iterdir())) == 9 * 4
            first = json.loads((Path(last) / "heads" / "L0H0.json").read_text())
            assert len(first["examples"]) == 5
        return Done(1.0, 2, "")

    monkeypatch.setattr(commands, "run_command", run)
    model = Model("random", folders[0], "[MASK]", folders[0])
    [row] = measure(["corpus"], model, repeats=1).rows
    assert row.tokens == 512 and row.difference < 1e-4 and len(made) == 4


def test_medians_spreads_and_ratios(bench):
    row, alone = bench.rows
    assert (row.left.median, row.left.spread) == (2.0, 1.0)
    assert (row.ratio, row.memory_ratio) == (2.5, 4.0)
    assert (row.worst_ratio, row.cpu_ratio) == (4 / 3, 3.5)
    assert (alone.ratio, alone.worst_ratio, alone.memory_ratio) == (None, None, None)
    assert alone.cpu_ratio is None


def test_every_form_of_the_answer(bench):
    payload = json.loads(json.dumps(report.to_json(bench)))
    assert payload["rows"][0]["ratio"] == 2.5
    assert payload["rows"][1]["right"] is None
    assert payload["machine"]["torch"] == torch.__version__
    assert len(list(report.to_rows(bench))) == 1 + 3
    blocks = list(report.to_blocks(bench))
    assert "2.50 x" in to_text(blocks)
    texts = {text.get_text() for axes in build_figure(blocks).axes for text in axes.texts}
    assert "2.50" in texts


def test_texts_are_the_same_for_both_sides():
    assert make_ids(9, 100) == make_ids(9, 100)
    batch = make_batch(500, 100)
    assert batch == make_batch(500, 100)
    lengths = [len(text) for text in batch]
    assert len(batch) == 64
    assert 10 <= min(lengths) < 60
    assert 440 < max(lengths) <= 500


def test_a_filled_up_tokenizer_still_splits_as_before(folders, tmp_path):
    before = Tokenizer.from_folder(folders[0])
    source = folders[0] / "tokenizer.json"
    _write_tokenizer(source, tmp_path / "tokenizer.json", before.vocab_size + 500)
    after = Tokenizer.from_folder(tmp_path)
    assert after.vocab_size == before.vocab_size + 500
    text = "The capital of France is [MASK]."
    assert after.encode(text).ids == before.encode(text).ids


def test_there_is_no_such_size(tmp_path):
    with pytest.raises(UsageError, match="'huge'; choose tiny, base, large"):
        write_random("huge", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["everything"], "no work 'everything'; choose import, predict"),
        (["--tokens", "16,many"], "'16,many' is no list of lengths"),
        (["--tokens", "1"], "--tokens has 1; give"),
        (["--repeats", "0"], "--repeats is 0; give 1 or more"),
        (["-m", "tiny", "--random", "base"], "give one of them"),
        (["-o", "bench.npz"], "choose one of"),
        (["--lines", "10"], "--lines 10 has no effect without the work lines"),
        (["--against", "jax"], "--against has 'jax'; choose from transformers, onnxruntime"),
    ],
)
def test_a_wrong_wish_is_one_sentence(arguments, sentence):
    result = run_cli("bench", *arguments)
    assert result.code in (1, 2)
    assert sentence in result.err
    assert not result.out


def test_a_model_without_a_head_is_refused(monkeypatch):
    reply = json.dumps({"error": "x can't predict a masked word; name one.", "exit_code": 2})
    monkeypatch.setattr(works, "run_command", lambda arguments: Done(0.0, None, reply))
    with pytest.raises(MbexploreError, match="masked word"), works.prepared("x", None):
        pass


def test_the_table_names_both_sides(monkeypatch, bench):
    import contextlib

    @contextlib.contextmanager
    def prepared(name, size, against):
        yield None

    monkeypatch.setattr(works, "prepared", prepared)
    monkeypatch.setattr(works, "measure", lambda *args, **options: bench)
    out = " ".join(run_cli("bench", "forward").out.split())
    for shown in ("2.50 x", "transformers", "linear layers", "90%", "1e-06 at most"):
        assert shown in out
    payload = json.loads(run_cli("bench", "forward", "--json").out)
    assert payload["rows"][0]["ratio"] == 2.5


def test_a_missing_runtime_is_one_sentence(monkeypatch):
    command = import_module("mbexplore.cli.bench")  # the package has the function by that name
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = run_cli("bench", "forward", "--against", "openvino")
    assert result.code == 2
    assert "needs the package openvino; pip install 'mbexplore[bench]'" in result.err


@pytest.mark.parametrize("work", ["features", "forward", "logits", "batch"])
def test_other_runtimes_are_asked_for_the_same(work, model, monkeypatch):
    """With our own model in the place of what they would run."""
    exported = import_module("mbexplore.bench.exported")
    opened = load_model(model.folder, ModernBertForMaskedLM)

    def session(path):
        def run(inputs):
            with torch.inference_mode():
                states = opened.model(torch.from_numpy(inputs["input_ids"]))
                if path.name == "features.onnx":
                    return states.numpy()
                return opened.logits(states[:, inputs["positions"]]).numpy()

        return run

    task = partial(getattr(exported, work), session)
    monkeypatch.setattr(exported, "TASKS", {f"openvino {work}": task})
    # The runtime itself need not be installed: its place is taken.
    monkeypatch.setattr("mbexplore.bench.result.version", lambda name: f"{name} of this test")
    model = replace(model, exported=model.folder)
    [row] = measure([work], model, tokens=[30], against=["openvino"], repeats=1).rows
    assert row.right.name == "OpenVINO"
    assert row.difference < 1e-4


def test_the_exported_modules_compute_what_transformers_does(folders):
    export = import_module("mbexplore.bench.export")
    theirs = import_module("mbexplore.bench.theirs").open_theirs(folders[0])
    ids, positions = torch.arange(5, 30)[None], torch.tensor([3, 20])
    with torch.inference_mode():
        output = theirs(ids, output_hidden_states=True)
        torch.testing.assert_close(export.Features(theirs)(ids), output.hidden_states[-1])
        logits = export.Logits(theirs)(ids, positions)
    torch.testing.assert_close(logits, output.logits[:, positions])


def test_bfloat16_is_compared_with_bfloat16(model):
    [row] = measure(["bfloat16"], model, tokens=[40], repeats=1).rows
    assert row.right.name == "transformers"
    assert row.difference > 1e-4


def test_a_busy_process_ends_with_its_block():
    with busy_process() as process:
        assert process.poll() is None
    assert process.returncode is not None


def test_a_process_of_ours_is_tuned_and_others_are_not():
    environ = {"HOME": "/", "GOMP_SPINCOUNT": "7"}
    tune_process(environ)
    assert environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert environ["GOMP_SPINCOUNT"] == "7"
    assert without_tuning(environ) == {"HOME": "/", "GOMP_SPINCOUNT": "7"}
    asked = {"OMP_WAIT_POLICY": "ACTIVE"}
    tune_process(asked)
    assert "GOMP_SPINCOUNT" not in asked
    assert asked["OMP_WAIT_POLICY"] == "ACTIVE"


def test_what_predict_prints_is_read():
    printed = run_cli("predict", "A [MASK].", "--json", "-k", 3, "--no-hf").out
    found = commands.read_probabilities(printed)
    expected = json.loads(printed)["masks"][0]["predictions"]
    assert list(found) == [one["token_id"] for one in expected]
    assert 0 < sum(found.values()) < 1


@pytest.mark.parametrize(("running", "spins"), [(1, "20000"), (2, "1000")])
def test_threads_spin_less_beside_a_busy_process(running, spins, tmp_path, monkeypatch):
    statistics = tmp_path / "stat"
    statistics.write_text(f"cpu 1 2 3\nprocs_running {running}\nprocs_blocked 0\n")
    assert others_run(statistics) is (running == 2)
    monkeypatch.setattr(process, "others_run", lambda: others_run(statistics))
    environ = {"HOME": "/"}
    tune_process(environ)
    assert environ["GOMP_SPINCOUNT"] == spins
    assert without_tuning(environ) == {"HOME": "/"}


def test_without_proc_nothing_else_is_known_to_run(tmp_path):
    assert not others_run(tmp_path / "stat")
    (tmp_path / "stat").write_text("cpu 1 2 3\n")
    assert not others_run(tmp_path / "stat")


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path, monkeypatch):
    code = (
        "import time; from mbexplore.bench.processes import temporary_folder\n"
        "with temporary_folder() as folder:\n"
        "    (folder / 'model.safetensors').write_bytes(bytes(1000))\n"
        "    print(folder, flush=True); time.sleep(300)\n"
    )
    run = partial(
        subprocess.Popen, [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "mbexplore-bench-mine").mkdir()  # not one of ours
    with run() as killed, run() as running:
        try:
            left, held = (Path(child.stdout.readline().strip()) for child in (killed, running))
            killed.kill()
            killed.wait()
            assert (left / "model.safetensors").exists()
            with temporary_folder() as mine:
                assert sorted(tmp_path.iterdir()) == sorted(
                    [held, mine, tmp_path / "mbexplore-bench-mine"]
                )
        finally:
            killed.kill()
            running.kill()
    assert not mine.exists()


def test_threads_are_taken_from_the_command_line(monkeypatch):
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    monkeypatch.setitem(os.environ, "MKL_NUM_THREADS", "1")
    before = torch.get_num_threads()
    try:
        assert run_cli("--threads", 3, "info").code == 0
        assert torch.get_num_threads() == 3
        assert os.environ["OMP_NUM_THREADS"] == "3"
    finally:
        torch.set_num_threads(before)
    assert run_cli("--threads", 0, "info").code == 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc's options are GNU's")
@pytest.mark.parametrize(("names", "is_kept"), [({}, True), ({"MALLOC_ARENA_MAX": "2"}, False)])
def test_a_process_of_ours_keeps_the_memory_that_it_freed(names, is_kept):
    size = 3 * 2**24
    script = f"""
from pathlib import Path
from mbexplore.process import tune_process
def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
tune_process()
for _ in range(3):
    block = bytearray({size})
    block[::4096] = block[::4096]
    full = held()
    del block
print(full - held())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | names, capture_output=True, check=True
    )
    assert (int(done.stdout) < size / 2) is is_kept
