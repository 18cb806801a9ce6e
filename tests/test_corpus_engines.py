"""A corpus by several processes, one of which is killed: the same bytes as by one."""

import os
import subprocess
import sys

import pytest

from mbexplore.checks import find_device
from mbexplore.cli.corpus import own_device
from mbexplore.corpus.reader import Store
from tests.cli_runner import run_cli

pytest.importorskip("pyarrow")

DYING = """
import os, signal, sys, time
from pathlib import Path
from mbexplore.corpus import build
flag, real, calls = Path(sys.argv.pop(1)), build.add_block, []
build.SAVE_AFTER = -1.0
def add_block(*given, **more):
    calls.append(given)
    if os.environ["RANK"] == "1" and len(calls) == 2 and not flag.exists():
        end = time.monotonic() + 60  # what was saved by another thread, the test asks for
        while not any(flag.parent.glob("store/sketch-1*")) and time.monotonic() < end:
            time.sleep(0.01)
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    real(*given, **more)
build.add_block = add_block
from mbexplore.cli import main
main()
"""
"""`mbexplore`, whose second worker is killed once, after a block."""

DYING_ACTOR = """
import os, signal, sys
from pathlib import Path
from mbexplore.corpus import cluster
flag = Path(sys.argv.pop(1))
class Worker(cluster.Worker):
    def _read(self, key):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super()._read(key)
cluster.Worker = Worker
from mbexplore.cli import main
main()
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory, one_thread):
    """Texts of 5 blocks, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("engines")
    texts = folder / "texts.txt"
    words = ("tide", "wave", "salt", "wind", "[MASK]")
    texts.write_text("\n".join(f"The {words[i % 5]} of sea {i} rises." for i in range(300)))
    found = {}
    for options in ((), ("--control",)):
        done = run_cli("corpus", "build", texts, "-o", folder / str(len(options)), *options)
        assert done.code == 0, done.err
        found[options] = content(folder / str(len(options)))
    return texts, found[("--control",)], found[()]


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def run(script, before, one, tmp_path, *options):
    (tmp_path / "script.py").write_text(script)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, *before, tmp_path / "script.py", tmp_path / "killed", "corpus",
               "build", one[0], "-o", tmp_path / "store", *options]  # fmt: skip
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, timeout=240
    )


def test_two_processes_of_torchrun_and_a_killed_one(one, tmp_path):
    before = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
              "--max-restarts=1")  # fmt: skip
    done = run(DYING, before, one, tmp_path, "--engine", "torchrun", "--control")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists() and "Going on after" in done.stderr
    assert content(tmp_path / "store") == one[1]


def test_two_actors_of_ray_and_a_killed_one(one, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed: pip install 'mbexplore[ray]'")
    done = run(DYING_ACTOR, (), one, tmp_path, "--engine", "ray", "--workers", 2, "--batch", 2)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    assert content(tmp_path / "store") == one[2]


def test_ranks_one_by_one_and_another_number_of_them(one, tmp_path, monkeypatch):
    """A job array without torchrun: whoever comes last writes the tables."""
    command = ("corpus", "build", one[0], "-o", tmp_path / "store", "--engine", "torchrun")
    for rank, world in ((2, 3), (0, 3)):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        done = run_cli(*command)
        assert done.code == 0 and f"Worker {rank} of {world} is done" in done.err, done.err
    done = run_cli(*command[:-2])
    assert done.code == 0 and "300 of 300 texts" in done.err
    assert content(tmp_path / "store") == one[2]
    assert Store(tmp_path / "store").manifest["texts"] == 300


@pytest.mark.parametrize(
    ("given", "environment", "words"),
    [
        (("--engine", "torchrun"), {}, "start it with torchrun"),
        (("--engine", "torchrun"), {"RANK": "2", "WORLD_SIZE": "2"}, "ranks that count from 0"),
        (("--workers", "2"), {}, "--workers has no effect without --engine ray"),
        (("--engine", "ray", "--runtime-env", "[1]"), {}, "is no JSON object"),
        (("--runtime-env", "{}"), {}, "--runtime-env has no effect"),
    ],
)
def test_an_engine_that_cant_run_is_one_sentence(one, tmp_path, monkeypatch, given, environment,
                                                 words):  # fmt: skip
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = run_cli("corpus", "build", one[0], "-o", tmp_path / "store", *given)
    assert done.code == 2 and words in done.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("device", "engine", "environment", "gpus", "wanted"),
    [
        ("auto", "torchrun", {"LOCAL_RANK": "3"}, 8, "cuda:3"),
        ("cuda", "torchrun", {"LOCAL_RANK": "5"}, 4, "cuda:1"),
        ("auto", "torchrun", {"LOCAL_RANK": "3"}, 1, "cuda:0"),  # CUDA_VISIBLE_DEVICES shows one
        ("auto", "torchrun", {"SLURM_LOCALID": "2"}, 8, "cuda:2"),
        ("auto", "torchrun", {"LOCAL_RANK": "1"}, 0, "auto"),
        ("auto", "torchrun", {}, 8, "auto"),
        ("cpu", "torchrun", {"LOCAL_RANK": "1"}, 8, "cpu"),
        ("cuda:6", "torchrun", {"LOCAL_RANK": "1"}, 8, "cuda:6"),
        ("auto", "here", {"LOCAL_RANK": "1"}, 8, "auto"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(monkeypatch, device, engine, environment, gpus,
                                             wanted):  # fmt: skip
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    found = own_device(device, engine, environment)
    assert found == wanted
    if found.startswith("cuda:") and gpus > int(found[5:]):
        assert str(find_device(found)) == wanted


def test_without_ray_a_sentence_says_what_to_install(one, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_cli("corpus", "build", one[0], "-o", tmp_path / "store", "--engine", "ray")
    assert done.code == 2 and "mbexplore[ray]" in done.err
