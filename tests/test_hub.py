"""Names to folders; the network is used only for a hub model that the cache lacks."""

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from mbexplore.errors import ModelError
from mbexplore.hub import locate

FILES = {
    "config.json": b'{"model_type": "modernbert"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"never fetched",
}


@pytest.fixture
def hub():
    """A hub on this machine that holds one model, and the list of files it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.rpartition("/")[2]
            asked.append(name)
            if not self.path.startswith("/someone/model/resolve/main/") or name not in FILES:
                missing = "EntryNotFound" if "/someone/model/" in self.path else "RepoNotFound"
                self.send_response(404)
                self.send_header("X-Error-Code", missing)
                self.send_header("X-Repo-Commit", "c0ffee")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("X-Repo-Commit", "c0ffee")
            self.send_header("ETag", f'"{name}"')
            self.send_header("Content-Length", str(len(FILES[name])))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(FILES[name])

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def locate_elsewhere(name, endpoint, cache):
    """`locate` in a process of its own, since the hub's address is read at import."""
    code = (
        "import json, sys\nfrom mbexplore.errors import MbexploreError\n"
        "from mbexplore.hub import locate\n"
        "try: folder = locate(sys.argv[1]).folder\n"
        "except MbexploreError as error: print(json.dumps(['error', str(error)]))\n"
        "else: print(json.dumps([str(folder), sorted(p.name for p in folder.iterdir())]))\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache)}
    environment.pop("HF_HUB_OFFLINE", None)
    done = subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_a_hub_model_is_fetched_once_and_only_what_is_needed(hub, tmp_path):
    endpoint, asked = hub
    _, fetched = locate_elsewhere("someone/model", endpoint, tmp_path)
    assert fetched == ["config.json", "model.safetensors", "tokenizer.json"]
    assert "pytorch_model.bin" not in asked
    asked.clear()
    _, again = locate_elsewhere("someone/model", endpoint, tmp_path)
    assert again == fetched
    assert asked == []


def test_an_unknown_hub_model_is_one_sentence(hub, tmp_path):
    _, message = locate_elsewhere("someone/else", hub[0], tmp_path)
    assert "someone/else" in message and "hub" in message and message.count("\n") == 0


def test_no_network_is_one_sentence(tmp_path):
    _, message = locate_elsewhere("base", "http://127.0.0.1:9", tmp_path)
    assert "answerdotai/ModernBERT-base is not in the cache" in message


@pytest.mark.parametrize("name", ["nonsense", "a/b/c", "./nowhere", "/no/such/folder"])
def test_an_unknown_name_is_one_sentence(name):
    with pytest.raises(ModelError, match=r"no model .* use tiny, base, large"):
        locate(name)


def test_bundled_and_folder(tmp_path):
    assert locate("tiny").source == "bundled"
    assert (locate("tiny").folder / "config.json").exists()
    assert locate(str(tmp_path)).folder == tmp_path
