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
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mbexplore.errors import ModelError

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

PATIENCE = 5.0
"""Seconds to wait for the hub's first answer; huggingface_hub alone tries for half a minute."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20


def fetch_file(repo: str, file: str, revision: str | None, patience: float | None = None) -> Path:
    """Where a file lies in the cache, fetched with a progress bar on stderr if it lacked it.

    Large files are told by their ETag: the hub gives a SHA-256 for them, and git's hash for small
    ones.

    Args:
        repo: a hub id.
        file: its name in the repository.
        revision: a branch, a tag or a commit; None for the newest.
        patience: seconds to wait for what the hub says of the file; None for as long as
            huggingface_hub is told to wait.

    Raises:
        ModelError: what came is not what the hub describes.
        huggingface_hub's errors, and its HTTP client's: the hub is away or has no such file.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repo, file, revision=revision)
    about = get_hf_file_metadata(url, timeout=patience or constants.HF_HUB_ETAG_TIMEOUT)
    if about.size and about.etag and _SHA256.fullmatch(about.etag):
        # What it takes from inside huggingface_hub may change; then that fetches from the start.
        with suppress(ImportError, TypeError):
            if _links_blobs(repo, file, about):
                _fetch_blob(repo, file, about)
    # It finds the blob, or fetches a small file, and links it into the snapshot.
    return Path(hf_hub_download(repo, file, revision=revision))


def check_blobs(folder: Path) -> None:
    """Refuses a model in the cache where a large file is not what the hub named it after.

    Args:
        folder: of a snapshot, whose files are links to blobs; files that are none are passed over.

    Raises:
        ModelError: a blob's SHA-256 is not its name.
    """
    for path in sorted(folder.rglob("*")):
        blob = path.resolve()
        if path.is_symlink() and _SHA256.fullmatch(blob.name) and _sha256(blob) != blob.name:
            raise ModelError(
                f"{path} is damaged: its SHA-256 is not the one that the hub names; delete {blob}, "
                "then download the model again."
            )


def _links_blobs(repo: str, file: str, about: HfFileMetadata) -> bool:
    """Whether the cache lacks a file and would link it to a blob.

    Without symbolic links, as on Windows, the file itself lies in the snapshot and there is no
    blob: one fetched for it would be a second copy.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import are_symlinks_supported

    if isinstance(try_to_load_from_cache(repo, file, revision=about.commit_hash), str):
        return False
    return are_symlinks_supported(constants.HF_HUB_CACHE)


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
