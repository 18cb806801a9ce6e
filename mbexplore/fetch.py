"""One file of a hub model into huggingface_hub's cache, taken up where an earlier run was stopped.

huggingface_hub 1.18 and later throws away what a stopped process had fetched: each run writes
under a new name. Here a large file is kept under one name, fetched by its missing bytes, and only
put in its place in the cache when its hash is the one that the hub names. It goes over plain HTTP,
as Xet's own transfer can't be taken up. What the cache looks like is huggingface_hub's own
documented format, and it makes the links itself, so a cache of another shape costs a second
download and nothing else.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mbexplore.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

PATIENCE = 5.0
"""Seconds to wait for the hub's first answer."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20


def fetch_file(repo: str, file: str, revision: str | None) -> Path:
    """Where a file lies in the cache, fetched with a progress bar on stderr if it lacked it.

    Large files are told by their ETag: the hub gives a SHA-256 for them, and git's hash for small
    ones.

    Raises:
        ModelError: what came is not what the hub describes.
        huggingface_hub's errors, and its HTTP client's: the hub is away or has no such file.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    # Without this question hf_hub_download tries for half a minute to reach a hub that is away.
    url = hf_hub_url(repo, file, revision=revision)
    about = get_hf_file_metadata(url, timeout=PATIENCE)
    if about.size and about.etag and _SHA256.fullmatch(about.etag):
        _fetch_blob(repo, file, about)
    # It finds the blob, or fetches a small file, and links it into the snapshot.
    return Path(hf_hub_download(repo, file, revision=revision))


def _fetch_blob(repo: str, file: str, about: HfFileMetadata) -> None:
    """Completes a large file in the cache's folder of blobs, where each is named by its ETag."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.file_download import http_get, repo_folder_name
    from huggingface_hub.utils import (  # type: ignore[attr-defined,unused-ignore]
        WeakFileLock,
        build_hf_headers,
    )

    assert about.etag is not None
    cache = Path(constants.HF_HUB_CACHE)
    folder = repo_folder_name(repo_id=repo, repo_type="model")
    blob = cache / folder / "blobs" / about.etag
    # Ends as huggingface_hub's own leftovers do, so that its tools count and clear it.
    partial = blob.with_name(f"{about.etag}.mbexplore.incomplete")
    lock = cache / ".locks" / folder / f"{about.etag}.lock"
    for path in (blob, lock):
        path.parent.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.exists():
            return
        if partial.exists() and partial.stat().st_size > (about.size or 0):
            partial.unlink()
        with partial.open("ab") as content:
            http_get(
                hf_hub_url(repo, file, revision=about.commit_hash),
                content,
                resume_size=content.tell(),
                headers=build_hf_headers() | {"Accept-Encoding": "identity"},
                expected_size=about.size,
                displayed_filename=file,
            )
        if _sha256(partial) != about.etag:
            partial.unlink()
            raise ModelError(
                f"{file} of {repo} came damaged: its SHA-256 is not the one that the hub names. "
                "It was thrown away; fetch it again."
            )
        partial.replace(blob)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
