"""Names to folders, through huggingface_hub itself and a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load, save

import mbexplore
from mbexplore.checkpoints.hub import KNOWN, SHORT_NAMES, list_models, locate
from mbexplore.errors import ModelError
from tests.cli_runner import run_cli
from tests.hub_server import COMMITS, REPO, Hub, serve

FILES = {
    "config.json": b'{"model_type": "modernbert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": bytes(range(256)) * 4000,
    "pytorch_model.bin": b"never fetched",
}
NEEDED = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def hub():
    """A hub that holds one model."""
    with serve(Hub(dict(FILES))) as hub:
        yield hub


def environment_of(endpoint, cache, offline=False):
    """Where the hub is another one: its address is read from here at import."""
    return os.environ | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "for the hub alone",
    }


def in_a_process(code, arguments, endpoint, cache, offline=False):
    """Runs Python where the hub is another one."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        env=environment_of(endpoint, cache, offline),
        timeout=300,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def locate_elsewhere(name, endpoint, cache, **options):
    """The folder and its files, or "error" and the sentence."""
    code = (
        "import json, sys\nfrom mbexplore.errors import MbexploreError\n"
        "from mbexplore.checkpoints.hub import locate\n"
        "try: folder = locate(sys.argv[1]).folder\n"
        "except MbexploreError as error: print(json.dumps(['error', str(error)]))\n"
        "else: print(json.dumps([str(folder), sorted(p.name for p in folder.iterdir())]))\n"
    )
    return json.loads(in_a_process(code, [name], endpoint, cache, **options).stdout)


def sentence_of(name, endpoint, cache, **options):
    kind, sentence = locate_elsewhere(name, endpoint, cache, **options)
    assert kind == "error" and sentence.count("\n") == 0 and sentence.endswith(".")
    return sentence


def test_a_model_is_fetched_once_and_only_what_is_needed(hub, tmp_path):
    folder, fetched = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert fetched == NEEDED
    assert Path(folder, "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert "pytorch_model.bin" not in dict(hub.asked)
    hub.asked.clear()
    assert locate_elsewhere(REPO, hub.endpoint, tmp_path)[1] == NEEDED
    assert hub.asked == []
    # With a cache, neither a hub that is away nor offline mode matters.
    assert locate_elsewhere(REPO, "http://127.0.0.1:9", tmp_path)[1] == NEEDED
    assert locate_elsewhere(REPO, hub.endpoint, tmp_path, offline=True)[1] == NEEDED
    assert hub.asked == []


def test_a_broken_connection_is_taken_up_where_it_broke(hub, tmp_path):
    weights = hub.files["model.safetensors"] = bytes(range(256)) * 100_000
    hub.breaks = {"model.safetensors": [12_000_000, 22_000_000]}
    folder, fetched = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert fetched == NEEDED
    assert Path(folder, "model.safetensors").read_bytes() == weights
    starts = [start for name, start in hub.asked if name == "model.safetensors"]
    assert starts == [0, 10 * 2**20, 20 * 2**20]  # huggingface_hub keeps chunks of 10 MiB


def test_a_killed_download_is_taken_up_where_it_was_killed(hub, tmp_path):
    weights = hub.files["model.safetensors"] = bytes(range(256)) * 100_000
    hub.stalls = {"model.safetensors": 22_000_000}
    code = f"from mbexplore.checkpoints.hub import locate; locate({REPO!r})"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment_of(hub.endpoint, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert hub.stalled.wait(120)
        deadline = time.monotonic() + 60
        while not (kept := incomplete(tmp_path)) or kept[0].stat().st_size < 20 * 2**20:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.kill()
    [partial] = incomplete(tmp_path)
    there = partial.stat().st_size
    hub.asked.clear()
    folder, fetched = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert fetched == NEEDED and incomplete(tmp_path) == []
    assert Path(folder, "model.safetensors").read_bytes() == weights
    # Neither the bytes that were there nor the files that were whole are asked for again.
    assert hub.asked == [("model.safetensors", there)]


def incomplete(cache):
    return list(cache.glob("hub/*/blobs/*.incomplete"))


def test_bytes_that_are_not_the_hubs_are_thrown_away(hub, tmp_path):
    weights = hub.files["model.safetensors"]
    blobs = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    name = hashlib.sha256(weights).hexdigest()
    (blobs / f"{name}.mbexplore.incomplete").write_bytes(b"x" * 1000)
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "model.safetensors" in message and "came damaged" in message
    assert ("model.safetensors", 1000) in hub.asked and not (blobs / name).exists()
    hub.asked.clear()
    folder, _ = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert Path(folder, "model.safetensors").read_bytes() == weights
    assert hub.asked == [("model.safetensors", 0)]


def test_a_partial_file_longer_than_the_whole_is_fetched_anew(hub, tmp_path):
    weights = hub.files["model.safetensors"]
    blobs = tmp_path / "hub" / f"models--{REPO.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    name = hashlib.sha256(weights).hexdigest()
    (blobs / f"{name}.mbexplore.incomplete").write_bytes(weights + b"x")
    folder, _ = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert Path(folder, "model.safetensors").read_bytes() == weights


def test_without_symbolic_links_the_weights_are_kept_and_fetched_once(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_DISABLE_SYMLINKS", "1")
    weights = hub.files["model.safetensors"]
    folder = Path(locate_elsewhere(REPO, hub.endpoint, tmp_path)[0])
    kept = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert kept.count(len(weights)) == 1
    (folder / "config.json").unlink()
    hub.asked.clear()
    assert locate_elsewhere(REPO, hub.endpoint, tmp_path)[1] == NEEDED
    assert [name for name, _ in hub.asked] == ["config.json"]


def test_a_huggingface_hub_of_another_inside_fetches_by_itself(hub, tmp_path):
    code = (
        "import sys\nimport huggingface_hub.file_download as inside\n"
        "from mbexplore.checkpoints.hub import locate\n"
        "theirs = inside.http_get\n"
        "def http_get(url, content, *, headers=None, expected_size=None, tqdm_class=None):\n"
        "    return theirs(url, content, headers=headers, expected_size=expected_size)\n"
        "inside.http_get = http_get\n"
        "print(locate(sys.argv[1]).folder)\n"
    )
    done = in_a_process(code, [REPO], hub.endpoint, tmp_path)
    weights = Path(done.stdout.decode().strip(), "model.safetensors")
    assert weights.read_bytes() == hub.files["model.safetensors"]


def test_shards_are_fetched_by_their_index(hub, tmp_path):
    weights = hub.files.pop("model.safetensors")
    shards = {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}
    hub.files["model.safetensors.index.json"] = json.dumps({"weight_map": shards}).encode()
    hub.files |= dict.fromkeys(shards.values(), weights)
    _, fetched = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert set(shards.values()) < set(fetched)
    del hub.files["model-2-of-2.safetensors"]
    assert "has no model-2-of-2.safetensors on the hub" in sentence_of(
        REPO, hub.endpoint, tmp_path / "other"
    )


@pytest.mark.parametrize("file", NEEDED)
def test_a_missing_file_is_named(hub, tmp_path, file):
    del hub.files[file]
    assert f"{REPO} has no {file} on the hub" in sentence_of(REPO, hub.endpoint, tmp_path)


def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(hub, tmp_path):
    hub.files["config.json"] = b'{"model_type": "bert"}'
    assert "model_type 'bert'" in sentence_of(REPO, hub.endpoint, tmp_path)
    assert [name for name, _ in hub.asked] == ["config.json"]


def test_a_shard_outside_the_model_is_refused(hub, tmp_path):
    del hub.files["model.safetensors"]
    index = {"weight_map": {"a": "../../elsewhere.safetensors"}}
    hub.files["model.safetensors.index.json"] = json.dumps(index).encode()
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "'../../elsewhere.safetensors', which does not lie beside it" in message


def test_a_cache_that_can_not_be_written_is_one_sentence(hub, tmp_path):
    (tmp_path / "hub").write_text("a file in the folder's place")
    message = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "make room or set HF_HOME" in message


@pytest.mark.skipif(os.name == "nt", reason="limits are posix")
def test_a_disk_that_is_full_is_one_sentence_and_what_came_is_kept(hub, tmp_path):
    """A limit on the size of files stands for the disk's."""
    weights = hub.files["model.safetensors"] = bytes(range(256)) * 100_000
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (15_000_000, 15_000_000))\n"
        "from mbexplore.cli import main; import sys; main(sys.argv[1:])\n"
    )
    done = in_a_process(code, ["download", REPO], hub.endpoint, tmp_path)
    assert done.returncode == 1
    sentence = done.stderr.decode().splitlines()[-1]
    assert "(File too large); make room or set HF_HOME" in sentence
    hub.asked.clear()
    folder, _ = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    assert Path(folder, "model.safetensors").read_bytes() == weights
    assert [start > 0 for _, start in hub.asked] == [True]


def test_what_was_missing_is_fetched_later_and_the_rest_is_not(hub, tmp_path):
    weights = hub.files.pop("model.safetensors")
    sentence_of(REPO, hub.endpoint, tmp_path)
    hub.files["model.safetensors"] = weights
    hub.asked.clear()
    assert locate_elsewhere(REPO, hub.endpoint, tmp_path)[1] == NEEDED
    assert [name for name, _ in hub.asked] == ["model.safetensors"]


def test_a_revision(hub, tmp_path):
    hub.older = FILES | {"config.json": b'{"model_type": "modernbert", "num_labels": 3}'}
    newest, _ = locate_elsewhere(REPO, hub.endpoint, tmp_path)
    for name in (f"{REPO}@older", f"{REPO}@{COMMITS['older']}"):
        older, fetched = locate_elsewhere(name, hub.endpoint, tmp_path)
        assert fetched == NEEDED and older != newest and older.endswith(COMMITS["older"])
        assert b"num_labels" in Path(older, "config.json").read_bytes()
    message = sentence_of(f"{REPO}@none", hub.endpoint, tmp_path)
    assert f"{REPO} has no revision 'none'" in message
    message = sentence_of(f"{REPO}@newer", hub.endpoint, tmp_path, offline=True)
    assert message.startswith(f"{REPO}@newer is not in the cache")


def test_a_gated_or_unknown_repository(hub, tmp_path):
    unknown = sentence_of("someone/else", hub.endpoint, tmp_path)
    assert "The hub has no model 'someone/else'" in unknown and "hf auth login" in unknown
    hub.gated = True
    gated = sentence_of(REPO, hub.endpoint, tmp_path)
    assert "is gated; accept its terms" in gated


def test_no_network_is_one_sentence_and_soon(tmp_path):
    before = time.monotonic()
    message = sentence_of("base", "http://127.0.0.1:9", tmp_path)
    assert "answerdotai/ModernBERT-base is not in the cache and can't be downloaded" in message
    # huggingface_hub alone tries for 23 seconds and more.
    assert time.monotonic() - before < 20
    message = sentence_of("base", "http://127.0.0.1:9", tmp_path, offline=True)
    assert "HF_HUB_OFFLINE forbids" in message


def test_half_a_cache_without_network_is_one_sentence(hub, tmp_path):
    del hub.files["model.safetensors"]
    sentence_of(REPO, hub.endpoint, tmp_path)
    assert "not in the cache" in sentence_of(REPO, hub.endpoint, tmp_path, offline=True)


def tiny_checkpoint():
    """The files of a small ModernBERT that can be opened, as bytes."""
    from dataclasses import replace

    from mbexplore.network.config import ModernBertConfig
    from mbexplore.network.model import ModernBertForMaskedLM

    tiny = locate("tiny").folder
    base = ModernBertConfig.from_folder(tiny)
    config = replace(
        base, hidden_size=32, intermediate_size=24, num_attention_heads=2, num_hidden_layers=2,
        layer_kinds=base.layer_kinds[:2],
    )  # fmt: skip
    tensors = ModernBertForMaskedLM(config).state_dict()
    del tensors["decoder.weight"]
    return {
        "config.json": json.dumps(config.to_dict()).encode(),
        "tokenizer.json": (tiny / "tokenizer.json").read_bytes(),
        "model.safetensors": save({k: v.contiguous() for k, v in tensors.items()}),
    }


COMMAND = "import sys\nfrom mbexplore.cli import main\nmain(sys.argv[1:])\n"


def test_download_fetches_and_checks_and_models_lists_it(tmp_path):
    """The example of `mbexplore download --help`, with a small model in the place of base."""
    files = tiny_checkpoint()
    with serve(Hub(files, repo=SHORT_NAMES["base"])) as hub:
        done = in_a_process(COMMAND, ["download", "base"], hub.endpoint, tmp_path)
        assert done.returncode == 0, done.stderr.decode()
        line, folder = done.stdout.decode().splitlines()
        assert "every tensor in its place" in line and "answerdotai/ModernBERT-base" in line
        assert sorted(os.listdir(folder)) == NEEDED
        hub.asked.clear()
        listed = in_a_process(COMMAND, ["models", "--json"], hub.endpoint, tmp_path)
        assert hub.asked == []
    [base] = [m for m in json.loads(listed.stdout)["models"] if m["name"] == "base"]
    assert base["place"] == "cached" and base["size"] >= len(files["model.safetensors"])
    tensors = load(files["model.safetensors"]).values()
    assert base["parameters"] == sum(tensor.numel() for tensor in tensors)


def test_download_finds_damage_in_the_cache(tmp_path):
    """One bit, which changes no shape: the file opens all the same."""
    with serve(Hub(tiny_checkpoint(), repo=SHORT_NAMES["base"])) as hub:
        done = in_a_process(COMMAND, ["download", "base"], hub.endpoint, tmp_path)
        weights = Path(done.stdout.decode().splitlines()[1], "model.safetensors")
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
        again = in_a_process(COMMAND, ["download", "base"], hub.endpoint, tmp_path)
        assert (again.returncode, again.stdout) == (1, b"")
        assert f"{weights} is damaged" in again.stderr.decode()
        weights.resolve().unlink()
        assert in_a_process(COMMAND, ["download", "base"], hub.endpoint, tmp_path).returncode == 0


def test_a_download_that_is_no_model_is_one_sentence(hub, tmp_path):
    done = in_a_process(COMMAND, ["download", REPO], hub.endpoint, tmp_path)
    assert done.returncode == 1 and done.stdout == b""
    assert done.stderr.decode().splitlines()[-1].startswith("Error: ")


def test_the_list_of_models():
    found = list_models()
    assert (found[0].name, found[0].place) == ("tiny", "bundled")
    names = [listing.name for listing in found]
    assert {"base", "large", "jhu-clsp/mmBERT-small"} <= set(names)
    assert len(names) == len(set(names)) and len(names) >= 1 + len(KNOWN)
    tiny = sum(p.numel() for p in mbexplore.load("tiny", device="cpu").model.parameters())
    assert found[0].size >= 2 * tiny  # float16
    assert found[0].parameters == tiny


def test_the_list_fits_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = run_cli("models").out.splitlines()
    assert len([line for line in lines if line.strip()]) == 2 + len(list_models())
    assert max(map(len, lines)) <= 80


UNKNOWN = ["nonsense", "a/b/c", "./nowhere", "/no/such/folder", "~nobody", "a/b@"]
UNKNOWN += ["a/b--c", "a/b..c", "a/b.git", f"a/{'b' * 100}"]  # what no hub id may be


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_one_sentence(name):
    with pytest.raises(ModelError, match=r"no model .* use tiny, base, large"):
        locate(name)


def test_bundled_and_folder(tmp_path):
    assert locate("tiny").source == "bundled"
    assert (locate("tiny").folder / "config.json").exists()
    assert locate(str(tmp_path)).folder == tmp_path
