"""One file of a hub model into huggingface_hub's cache, taken up where an earlier run was stopped.

huggingface_hub 1.18 and later throws away what a stopped process had fetched: each run writes
under a new name. Here a file is kept under one name, fetched by its missing bytes, and only put in
its place in the cache when its hash is the one that the hub names. It goes over plain HTTP, as
Xet's own transfer can't be taken up. What the cache looks like is huggingface_hub's own documented
format, and it makes the links itself, so a cache of another shape costs a second download and
nothing else. A hub is not trusted: what it names is checked before it becomes a path, no file
grows beyond its stated size, and none takes for ever.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from mbexplore.errors import ModelError
from mbexplore.reading import JSON_BYTES
from mbexplore.text import quoted

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

PATIENCE = 5.0
"""Seconds to wait for the hub's first answer; huggingface_hub alone tries for half a minute."""
SLOWEST = 10_000
"""Bytes a second below which a file is given up; what has come is kept, so it can be taken up."""
GRACE = 120.0
"""Seconds that any file may take."""
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""Git's, of a small file, or SHA-256, of a large one."""
_ETAG = re.compile(r"\w[\w.-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CHUNK = 2**20
Made = TypeVar("Made")


def fetch_file(repo: str, file: str, revision: str | None, patience: float | None = None) -> Path:
    """Where a file lies in the cache, fetched with a progress bar on stderr if it lacked it.

    Args:
        repo: a hub id.
        file: its name in the repository.
        revision: a branch, a tag or a commit; None for the newest.
        patience: seconds to wait for what the hub says of the file; None for as long as
            huggingface_hub is asked to wait.

    Raises:
        ModelError: what came is not what the hub describes, or came too slowly.
        huggingface_hub's errors, and its HTTP client's: the hub is away or has no such file.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repo, file, revision=revision)
    about = get_hf_file_metadata(url, timeout=patience or constants.HF_HUB_ETAG_TIMEOUT)
    _check_metadata(repo, file, about)
    seconds = GRACE + (about.size or 0) / SLOWEST

    def fetch() -> Path:
        tools = _find_tools()
        is_named = bool(about.size) and _HASH.fullmatch(about.etag or "") is not None
        if tools is not None and is_named and _links_blobs(tools, repo, file, about):
            _fetch_blob(tools, repo, file, about)
        # It finds the blob, or fetches the file itself, and links it into the snapshot.
        return Path(hf_hub_download(repo, file, revision=revision))

    return _within(seconds, fetch, f"{file} of {repo}")


def http_errors() -> tuple[type[Exception], ...]:
    """The errors of the HTTP client that huggingface_hub uses: requests, httpx or another.

    It exports none of them, but its own error is one of them.
    """
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, *(one for one in HfHubHTTPError.__bases__ if issubclass(one, Exception)))


def check_blobs(folder: Path) -> None:
    """Refuses a model in the cache where a large file is not what the hub named it after.

    Args:
        folder: of a snapshot, whose files are links to blobs; files that are none are passed over.

    Raises:
        ModelError: a blob's hash is not its name.
    """
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if path.is_symlink() and _HASH.fullmatch(blob.name) and _hash_of(blob) != blob.name:
            raise ModelError(
                f"{path} is damaged: its hash is not the one that the hub names; delete {blob}, "
                "then download the model again."
            )


@dataclass(frozen=True)
class _Tools:
    """What is taken from inside huggingface_hub."""

    http_get: Callable[..., None]
    repo_folder_name: Callable[..., str]
    are_symlinks_supported: Callable[..., bool]
    lock: Callable[..., Any]
    build_headers: Callable[..., dict[str, str]]


def _find_tools() -> _Tools | None:
    """The one place that knows them; None where they have changed.

    Then huggingface_hub fetches by itself, from the start each time.
    """
    try:
        from huggingface_hub.file_download import (
            are_symlinks_supported,
            http_get,
            repo_folder_name,
        )
        from huggingface_hub.utils import (  # type: ignore[attr-defined,unused-ignore]
            WeakFileLock,
            build_hf_headers,
        )

        known = {"resume_size", "headers", "expected_size", "displayed_filename"}
        if not known <= inspect.signature(http_get).parameters.keys():
            return None
    except ImportError:
        return None
    return _Tools(
        http_get, repo_folder_name, are_symlinks_supported, WeakFileLock, build_hf_headers
    )


def _check_metadata(repo: str, file: str, about: HfFileMetadata) -> None:
    """Refuses what a hub says of a file where it would become another path, or too large a file.

    Raises:
        ModelError: the sentence names what it says.
    """
    if about.etag is not None and not _ETAG.fullmatch(about.etag):
        raise ModelError(
            f"The hub names {file} of {repo} {quoted(about.etag)}, which is no hash; choose "
            "another hub."
        )
    if about.commit_hash is not None and not _COMMIT.fullmatch(about.commit_hash):
        raise ModelError(
            f"The hub gives {repo} the commit {quoted(about.commit_hash)}, which is none; choose "
            "another hub."
        )
    if about.size is None:
        raise ModelError(f"The hub names no size of {file} of {repo}; choose another hub.")
    if file.endswith(".json") and file != "tokenizer.json" and about.size > JSON_BYTES:
        raise ModelError(
            f"{file} of {repo} has {about.size:,} bytes on the hub, more than any such file; "
            "choose another model."
        )


def _within(seconds: float, function: Callable[[], Made], what: str) -> Made:
    """What a function returns, in a thread of its own: reading from a hub can't be broken off.

    Raises:
        ModelError: it takes longer.
        whatever the function raises.
    """
    made: list[Made] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            made.append(function())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not made:
        raise ModelError(
            f"{what} came too slowly, or not at all, for {seconds:.0f} seconds; fetch it again, "
            "and it is taken up where it stopped."
        )
    return made[0]


class _Bounded(BufferedWriter):
    """A file that takes no more than the bytes it was promised."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(FileIO(path, "ab"))
        self._most = most

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > self._most:
            raise ModelError(
                f"The hub sends more than the {self._most:,} bytes that it named; fetch it again, "
                "from a hub that you trust."
            )
        return super().write(content)


def _links_blobs(tools: _Tools, repo: str, file: str, about: HfFileMetadata) -> bool:
    """Whether the cache lacks a file and would link it to a blob.

    Without symbolic links, as on Windows, the file itself lies in the snapshot and there is no
    blob: one fetched for it would be a second copy.
    """
    from huggingface_hub import constants, try_to_load_from_cache

    if isinstance(try_to_load_from_cache(repo, file, revision=about.commit_hash), str):
        return False
    return tools.are_symlinks_supported(constants.HF_HUB_CACHE)


def _fetch_blob(tools: _Tools, repo: str, file: str, about: HfFileMetadata) -> None:
    """Completes a file in the cache's folder of blobs, where each is named by its ETag."""
    from huggingface_hub import constants, hf_hub_url

    assert about.etag is not None and about.size is not None
    cache = Path(constants.HF_HUB_CACHE)
    folder = tools.repo_folder_name(repo_id=repo, repo_type="model")
    blob = cache / folder / "blobs" / about.etag
    # Ends as huggingface_hub's own leftovers do, so that its tools count and clear it.
    partial = blob.with_name(f"{about.etag}.mbexplore.incomplete")
    lock = cache / ".locks" / folder / f"{about.etag}.lock"
    for path in (blob, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with tools.lock(lock):
        if blob.exists():
            return
        if partial.exists() and partial.stat().st_size > about.size:
            partial.unlink()
        with _Bounded(partial, about.size) as content:
            tools.http_get(
                hf_hub_url(repo, file, revision=about.commit_hash),
                content,
                resume_size=content.tell(),
                headers=tools.build_headers() | {"Accept-Encoding": "identity"},
                expected_size=about.size,
                displayed_filename=file,
            )
        if _hash_of(partial, len(about.etag)) != about.etag:
            partial.unlink()
            raise ModelError(
                f"{file} of {repo} came damaged: its hash is not the one that the hub names. "
                "It was thrown away; fetch it again."
            )
        partial.replace(blob)


def _hash_of(path: Path, length: int | None = None) -> str:
    """The hash by which a hub names a file: SHA-256, or git's where the name has 40 digits."""
    if (length or len(path.name)) == 64:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
