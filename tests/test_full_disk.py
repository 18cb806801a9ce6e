"""A full disk: every form of every kind of file is one sentence, and what was there stays."""

import errno
import os

import pytest

import mbexplore
from mbexplore import files
from mbexplore.checkpoints.model import save_model
from mbexplore.corpus import store
from mbexplore.errors import OutputError
from mbexplore.recording import Recording
from tests.cli_runner import run_cli

TEXT = "The capital of France is [MASK]."
FULL = "No space left on device"


@pytest.fixture
def full_disk(monkeypatch):
    """From now on nothing that is written reaches the disk."""

    def fill():
        def fsync(handle):
            raise OSError(errno.ENOSPC, FULL)

        monkeypatch.setattr(files.os, "fsync", fsync)

    return fill


def saved(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "html", "json", "csv", "npz"])
def test_every_form_of_a_view(full_disk, tmp_path, ending):
    path = tmp_path / f"lens.{ending}"
    path.write_text("before")
    full_disk()
    done = run_cli("lens", TEXT, "--all", "-o", str(path))
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        f"Error: {path} can't be written ({FULL}) and is as it was; make room, or choose another "
        "place."
    )
    assert path.read_text() == "before" and saved(tmp_path) == [path.name]


def test_one_file_for_many_texts(full_disk, tmp_path, monkeypatch):
    """The rows that were computed for a table are kept, and taken up again."""
    texts = tmp_path / "texts"
    texts.write_text("One [MASK].\nTwo [MASK].\n")
    command = ("predict", "--lines", str(texts), "--no-hf", "-o")
    full_disk()
    for name in ("x.json", "x.csv"):
        done = run_cli(*command, str(tmp_path / name))
        assert done.code == 1 and FULL in done.err.splitlines()[-1]
    assert saved(tmp_path) == ["texts", "x.csv.partial"]
    monkeypatch.undo()
    assert run_cli(*command, str(tmp_path / "x.csv")).code == 0
    assert saved(tmp_path) == ["texts", "x.csv"]


def test_a_corpus(full_disk, tmp_path, monkeypatch):
    """No part, and no table without the others; with room again it goes on to the same tables."""
    pytest.importorskip("pyarrow")
    texts, command = tmp_path / "texts", ("corpus", "build", str(tmp_path / "texts"), "-o")
    texts.write_text("The sea rises.\nThe sea falls.\n")
    assert run_cli(*command, str(tmp_path / "whole")).code == 0
    full_disk()
    done = run_cli(*command, str(tmp_path / "store"))
    assert done.code == 1 and FULL in done.err.splitlines()[-1]
    assert saved(tmp_path / "store") == []
    monkeypatch.undo()
    real = store.write_whole

    def fail(path, content):
        raise OutputError(f"{path} can't be written ({FULL}); make room.")

    monkeypatch.setattr(store, "write_whole", fail)  # the manifest, which comes last
    assert run_cli(*command, str(tmp_path / "store")).code == 1
    assert "finished" in run_cli("corpus", "show", str(tmp_path / "store")).err
    monkeypatch.setattr(store, "write_whole", real)
    assert run_cli(*command, str(tmp_path / "store")).code == 0
    assert saved(tmp_path / "store") == saved(tmp_path / "whole")
    for name in saved(tmp_path / "whole"):
        assert (tmp_path / "store" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_recording(full_disk, tmp_path):
    path = tmp_path / "rec"
    recording = mbexplore.load("tiny", device="cpu").record(TEXT)
    recording.save(path)
    before = os.stat(path)
    full_disk()
    with pytest.raises(OutputError, match=rf"rec can't be written \({FULL}\)"):
        recording.save(path)
    done = run_cli("record", TEXT, "-o", str(path))
    assert done.code == 1 and FULL in done.err.splitlines()[-1]
    assert os.stat(path) == before and saved(tmp_path) == ["rec"]
    assert len(Recording.load(path)) == len(recording)


def test_a_checkpoint(full_disk, tmp_path):
    model = mbexplore.load("tiny", device="cpu").model
    save_model(tmp_path, model)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full_disk()
    with pytest.raises(OutputError, match=rf"can't be written \({FULL}\)"):
        save_model(tmp_path, model)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
