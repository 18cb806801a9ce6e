"""A hub on this machine: the endpoints huggingface_hub asks for a model's files, and faults.

As the real one does, it names a small file by git's hash and sends it itself; a large one it names
by its SHA-256, and redirects to another host.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

REPO = "someone/model"
LARGE = (".safetensors", ".bin")
COMMITS = {"main": "a" * 40, "older": "b" * 40}


@dataclass
class Hub:
    """What the hub holds and how it misbehaves.

    Attributes:
        files: content by name; of `repo` at "main".
        older: the same at the revision "older".
        repo: whose files these are.
        breaks: file whose connection breaks at each of these bytes, in turn.
        stalls: file that is sent up to this byte, once, and then no further.
        stalled: set when a file is sent no further.
        gated: whether the repository wants to be asked first.
        lies: headers that are sent with a file, in place of the true ones.
        elsewhere: address that large files are redirected to; None for this hub by another name.
        floods: file that never ends.
        hides_size: whether the hub does not even say how large that file is.
        drips: file that comes by a byte at a time.
        asked: every GET, as (file, first byte).
    """

    files: dict[str, bytes]
    older: dict[str, bytes] = field(default_factory=dict)
    repo: str = REPO
    breaks: dict[str, list[int]] = field(default_factory=dict)
    stalls: dict[str, int] = field(default_factory=dict)
    stalled: Event = field(default_factory=Event)
    gated: bool = False
    lies: dict[str, dict[str, str]] = field(default_factory=dict)
    elsewhere: str | None = None
    floods: str | None = None
    hides_size: bool = False
    drips: str | None = None
    asked: list[tuple[str, int]] = field(default_factory=list)
    endpoint: str = ""


@contextmanager
def serve(hub):
    """Serves a hub on loopback for as long as the block lasts; gives it its `endpoint`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body):
            repo, _, rest = self.path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            commit = COMMITS.get(revision, revision)
            if repo != hub.repo:
                return self.refuse(404, "RepoNotFound")
            if hub.gated:
                return self.refuse(403, "GatedRepo")
            if commit not in COMMITS.values():
                return self.refuse(404, "RevisionNotFound")
            files = hub.older if commit == COMMITS["older"] else hub.files
            if name not in files:
                return self.refuse(404, "EntryNotFound", commit)
            self.send(name, files[name], commit, body)

        def refuse(self, status, code, commit=None):
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            if commit is not None:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def send_header(self, key, value):
            lies = hub.lies.get(self.path.partition("/resolve/")[2].partition("/")[2], {})
            super().send_header(key, lies.get(key, value))

        def pour(self, content):
            """Without end, or hardly any."""
            try:
                while not hub.stalled.wait(0.2 if hub.drips else 0):
                    self.wfile.write(content)
                    self.wfile.flush()
            except OSError:
                pass
            self.close_connection = True

        def send(self, name, content, commit, body):
            is_hub = self.headers["Host"].startswith("127.0.0.1")
            if name.endswith(LARGE) and is_hub:
                self.send_response(302)
                self.send_header("X-Repo-Commit", commit)
                self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Linked-Size", str(len(content)))
                here = f"http://localhost:{server.server_port}"
                self.send_header("Location", (hub.elsewhere or here) + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            assert is_hub or "Authorization" not in self.headers
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", commit)
            self.send_header("ETag", f'"{blob}"')
            if name == hub.floods and (body or hub.hides_size):
                self.send_header("Connection", "close")
            else:
                self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            self.end_headers()
            if not body:
                return
            hub.asked.append((name, start))
            if name == hub.floods:
                self.pour(bytes(2**16))
            elif name == hub.drips:
                self.pour(b"x")
            elif name in hub.stalls:
                self.wfile.write(content[start : hub.stalls.pop(name)])
                self.wfile.flush()
                hub.stalled.set()
                self.rfile.read(1)  # until the client is gone
                self.close_connection = True
            elif hub.breaks.get(name):
                stop = hub.breaks[name].pop(0)
                self.wfile.write(content[start:stop])
                self.close_connection = True
                self.connection.close()
            else:
                self.wfile.write(content[start:])

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *arguments: None  # a connection that was broken on purpose
    Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
