"""A hub that means ill: nothing is written outside the cache, and every download ends."""

import json
import os
import time
from pathlib import Path

import pytest

from mbexplore.checkpoints import fetch
from tests.hub_server import REPO, Hub, serve
from tests.test_hub import FILES, NEEDED, in_a_process, locate_elsewhere, sentence_of

CODE = (
    "import json, sys\nfrom mbexplore.checkpoints import fetch, hub\n"
    "from mbexplore.errors import MbexploreError\n"
    "fetch.GRACE, fetch.SLOWEST = 4.0, 10**9\n"
    "try: print(hub.locate(sys.argv[1]).folder)\n"
    "except MbexploreError as error: print('error:', error)\n"
)


@pytest.fixture
def hub():
    with serve(Hub(dict(FILES))) as hub:
        yield hub
        hub.stalled.set()


def files_outside(folder):
    """What lies beside the cache."""
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


PLACES = ["../../../outside", "/tmp/mbexplore-outside", "a/b", "..", "x" * 300, "a\\b", "\x1b[31m"]


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("place", PLACES, ids=range(len(PLACES)))
def test_a_name_that_would_be_a_path(hub, tmp_path, file, place):
    key = "X-Linked-ETag" if file.endswith("safetensors") else "ETag"
    hub.lies = {file: {key: f'"{place}"'}}
    message = sentence_of(REPO, hub.endpoint, tmp_path / "cache")
    assert "is no hash" in message and message.isprintable()
    assert files_outside(tmp_path) == [] and not os.path.exists("/tmp/mbexplore-outside")
    assert file not in dict(hub.asked)


@pytest.mark.parametrize("commit", ["../../../outside", "main", "a" * 39, "/tmp/outside"])
def test_a_commit_that_would_be_a_path(hub, tmp_path, commit):
    hub.lies = {name: {"X-Repo-Commit": commit} for name in FILES}
    message = sentence_of(REPO, hub.endpoint, tmp_path / "cache")
    assert "the commit" in message and "choose another hub" in message
    assert files_outside(tmp_path) == [] and hub.asked == []


def test_names_in_an_index_stay_names(hub, tmp_path):
    del hub.files["model.safetensors"]
    for name in ("../../x.safetensors", "/etc/passwd", "a/../../b", "..", "."):
        index = {"weight_map": {"a": name}}
        hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
        message = sentence_of(REPO, hub.endpoint, tmp_path / "cache")
        assert "does not lie beside it" in message or "on the hub" in message
    modules = [{"type": "x.Transformer", "path": ""}, {"type": "x.Dense", "path": "../../x"}]
    hub.files["modules.json"] = json.dumps(modules).encode()
    hub.files["model.safetensors"] = FILES["model.safetensors"]
    _, fetched = locate_elsewhere(REPO, hub.endpoint, tmp_path / "other")
    assert fetched == sorted([*NEEDED, "modules.json"])
    assert files_outside(tmp_path) == ["other"]


def test_a_file_larger_than_it_was_named(hub, tmp_path):
    """Large and small; what came is no more than was named."""
    for file in ("model.safetensors", "tokenizer.json"):
        hub.floods = file
        message = sentence_of(REPO, hub.endpoint, tmp_path / file)
        assert "The hub sends more than the" in message
        size = sum(path.stat().st_size for path in (tmp_path / file).rglob("*") if path.is_file())
        assert size <= sum(map(len, FILES.values())) + 10_000


def test_a_file_of_no_size_is_not_fetched(hub, tmp_path):
    hub.floods, hub.hides_size = "tokenizer.json", True
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert f"names no size of tokenizer.json of {REPO}" in message
    assert "tokenizer.json" not in dict(hub.asked)


def test_a_small_file_of_a_large_size_is_not_fetched(hub, tmp_path):
    hub.files["tokenizer_config.json"] = b" " * (17 * 2**20)
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "tokenizer_config.json" in message and "more than any such file" in message
    assert "tokenizer_config.json" not in dict(hub.asked)


def test_small_files_that_are_not_the_hubs_are_thrown_away(hub, tmp_path):
    hub.lies = {"tokenizer.json": {"ETag": '"' + "0" * 40 + '"'}}
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "tokenizer.json" in message and "came damaged" in message
    assert not list(tmp_path.rglob("0" * 40))


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_slow_drip_ends(hub, tmp_path, file):
    hub.drips = file
    before = time.monotonic()
    done = in_a_process(CODE, [REPO], hub.endpoint, tmp_path)
    assert f"{file} of {REPO} came too slowly" in done.stdout.decode()
    assert time.monotonic() - before < 100  # it would take a day


def test_redirects_without_end(hub, tmp_path):
    hub.elsewhere = hub.endpoint  # to itself, by the same name
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "can't be downloaded" in message


def test_no_token_goes_to_another_host(hub, tmp_path):
    """Small and large files; the other host notes what it is sent."""
    with serve(Hub(dict(FILES))) as other:
        hub.elsewhere = other.endpoint.replace("127.0.0.1", "localhost")
        assert locate_elsewhere(REPO, hub.endpoint, tmp_path)[1] == NEEDED
        assert [name for name, _ in other.asked] == ["model.safetensors"]
    # The server itself refuses a token under its other name: see hub_server.


def test_files_of_a_sentence_model_and_adapters(hub, tmp_path):
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
        {"type": "sentence_transformers.models.Dense", "path": "2_Dense"},
    ]
    more = ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors"]
    hub.files |= {"modules.json": json.dumps(modules).encode(), **dict.fromkeys(more, b"{}")}
    hub.files["config_sentence_transformers.json"] = b"{}"
    folder, _ = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert all(Path(folder, name).exists() for name in [*more, "modules.json"])
    adapter = {"base_model_name_or_path": "answerdotai/ModernBERT-base"}
    hub.files["adapter_config.json"] = json.dumps(adapter).encode()
    message = sentence_of(REPO, hub.endpoint, tmp_path / "beside")
    assert f"{REPO} has an adapter beside its model" in message
    del hub.files["config.json"]
    message = sentence_of(REPO, hub.endpoint, tmp_path / "alone")
    assert "is an adapter" in message and "'answerdotai/ModernBERT-base'" in message


def test_what_is_taken_from_inside_huggingface_hub_is_there():
    """Where this fails, huggingface_hub has changed, and downloads start anew each time."""
    assert fetch._find_tools() is not None
    assert any(not issubclass(one, OSError) for one in fetch.http_errors())
