"""A model's name to a folder on this machine. With `fetch`, the only code that may use the network.

It does so only for a hub model that the user named and that the cache lacks. What is fetched, and
where it is kept, is huggingface_hub's own cache and format.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from math import prod
from pathlib import Path, PurePath

from mbexplore.checkpoints.fetch import PATIENCE, fetch_file, http_errors
from mbexplore.checkpoints.folder import (
    ADAPTER_FILE,
    CONFIG_FILE,
    INDEX_FILE,
    LIMITS_FILE,
    MODULES_FILE,
    PROMPTS_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    check_adapter,
    checkpoint_files,
    explain_file,
    read_shards,
    sentence_files,
)
from mbexplore.errors import ModelError
from mbexplore.network.config import ModernBertConfig
from mbexplore.reading import check_regular, read_optional_json
from mbexplore.text import quoted, shown

BUNDLED = "tiny"
SHORT_NAMES = {
    "base": "answerdotai/ModernBERT-base",
    "large": "answerdotai/ModernBERT-large",
}
KNOWN = {
    "answerdotai/ModernBERT-base": 149_655_232,
    "answerdotai/ModernBERT-large": 395_881_664,
    **{f"jhu-clsp/ettin-encoder-{size}m": size * 10**6 for size in (17, 32, 68, 150, 400)},
    "jhu-clsp/ettin-encoder-1b": 10**9,
    "jhu-clsp/mmBERT-small": 140 * 10**6,
    "jhu-clsp/mmBERT-base": 307 * 10**6,
    "Alibaba-NLP/gte-modernbert-base": 149 * 10**6,
    "nomic-ai/modernbert-embed-base": 149 * 10**6,
    "ibm-granite/granite-embedding-small-english-r2": 47 * 10**6,
    "ibm-granite/granite-embedding-english-r2": 149 * 10**6,
    "ibm-granite/granite-embedding-97m-multilingual-r2": 97 * 10**6,
    **{
        f"sbintuitions/modernbert-ja-{name}m": millions * 10**6
        for name, millions in ((30, 37), (70, 70), (130, 132), (310, 315))
    },
}
"""Models of the family on the hub and how many parameters their cards give them; any other that
config.json calls modernbert opens as well."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a disk says that holds no more."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HELPFUL = (
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    MODULES_FILE,
    PROMPTS_FILE,
    LIMITS_FILE,
)


@dataclass(frozen=True)
class Listing:
    """A model that can be named.

    Attributes:
        name: what to write after -m.
        place: "bundled", "cached", or "hub" for one that would be downloaded.
        parameters: how many: of one that is here as counted, else as its authors round them; None
            where its files can't be read.
        size: bytes on this machine; None for one that is not here.
    """

    name: str
    place: str
    parameters: int | None
    size: int | None


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies. Its name and source are printable: the folder alone is as on disk.

    Attributes:
        name: as the user wrote it.
        source: "bundled", the hub id, or the folder.
        folder: holds config.json, tokenizer.json and the weights.
    """

    name: str
    source: str
    folder: Path

    @property
    def display_name(self) -> str:
        """The name without the folders above it, for titles, links and pages."""
        return PurePath(self.name).name or self.name


def locate(name: str) -> ModelFiles:
    """Finds a model: "tiny", "base", "large", a folder, or a hub id.

    A hub id may end in a revision, "base@main": a branch, a tag or a commit.

    Raises:
        ModelError: there is no such model, or it is not cached and can't be downloaded.
    """
    if name == BUNDLED:
        return ModelFiles(name, "bundled", Path(str(files("mbexplore_assets"))) / "tiny")
    folder = _expanded(name)
    if name not in SHORT_NAMES and os.path.isdir(folder):
        check_adapter(folder, str(folder))
        return ModelFiles(shown(name), shown(str(folder)), folder)
    if os.path.exists(folder):
        raise ModelError(explain_file(folder))
    short, _, revision = name.partition("@")
    repo = SHORT_NAMES.get(short, short)
    if not _is_hub_id(repo) or name.endswith("@"):
        raise ModelError(
            f"There is no model {quoted(name)}; use tiny, base, large, a folder, or a hub id such "
            "as answerdotai/ModernBERT-base."
        )
    found = _cached(repo, revision or None) or _download(repo, revision or None)
    check_adapter(found, repo)
    return ModelFiles(name, _spell(repo, revision), found)


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~x", and nobody is called x
        return Path(name)


def _spell(repo: str, revision: str | None) -> str:
    return f"{repo}@{revision}" if revision else repo


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import (  # type: ignore[attr-defined,unused-ignore]
        validate_repo_id,
    )

    if not _HUB_ID.fullmatch(name):  # the hub still has some without an owner
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def list_models() -> list[Listing]:
    """Every model that can be named without a folder: bundled, then cached, then on the hub."""
    tiny = locate(BUNDLED).folder
    size = sum(path.stat().st_size for path in tiny.iterdir())
    cached = _scan_cache()
    short = {repo: name for name, repo in SHORT_NAMES.items()}
    return [
        Listing(BUNDLED, "bundled", _count_parameters(tiny), size),
        *(Listing(short.get(r, r), "cached", *cached[r]) for r in sorted(cached)),
        *(Listing(short.get(r, r), "hub", KNOWN[r], None) for r in KNOWN if r not in cached),
    ]


def _count_parameters(folder: Path) -> int | None:
    """How many numbers the weights of a folder are, by their headers; None if they can't be read.

    A tied decoder is not in the file, and counts once.
    """
    from safetensors import SafetensorError, safe_open

    try:
        count = 0
        for path in checkpoint_files(folder):
            check_regular(path)
            with safe_open(path, framework="np") as file:
                keys = file.keys()
                count += sum(prod(file.get_slice(key).get_shape()) for key in keys)
    except (OSError, SafetensorError, ModelError):
        return None
    return count


def _scan_cache() -> dict[str, tuple[int | None, int]]:
    """Parameters and bytes of every ModernBERT in the cache that is whole, by its hub id."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repos = [repo for repo in scan_cache_dir().repos if repo.repo_type == "model"]
    except CacheNotFound:
        return {}
    found = {}
    for repo in repos:
        folder = _cached(repo.repo_id)
        if folder is not None and _is_modernbert(folder / CONFIG_FILE):
            found[repo.repo_id] = (_count_parameters(folder), repo.size_on_disk)
    return found


def _is_modernbert(path: Path) -> bool:
    try:
        return read_optional_json(path).get("model_type") == "modernbert"
    except ModelError:
        return False


def _cached(repo: str, revision: str | None = None) -> Path | None:
    """The snapshot folder in the cache, if it is whole."""
    from huggingface_hub import try_to_load_from_cache

    def find(file: str) -> Path | None:
        path = try_to_load_from_cache(repo, file, revision=revision)
        return Path(path) if isinstance(path, str) else None

    found = [find(CONFIG_FILE), find(TOKENIZER_FILE)]
    if index := find(INDEX_FILE):
        found += [find(shard) for shard in read_shards(index)]
    else:
        found.append(find(WEIGHTS_FILE))
    return found[0].parent if found[0] and all(found) else None


def _download(repo: str, revision: str | None) -> Path:
    """Fetches a model's files into the cache, each with a progress bar on stderr.

    A file is taken up where a broken connection or a stopped process left it; files that are whole
    are not fetched again.
    """
    from huggingface_hub.errors import (
        GatedRepoError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return _fetch_all(repo, revision)
    except GatedRepoError:
        raise ModelError(
            f"{repo} is gated; accept its terms on https://huggingface.co/{repo}, then log in with "
            "`hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"The hub has no model {quoted(repo)}, or it is private; correct the name, or log in "
            "with `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"{repo} has no revision {quoted(revision)}; name a branch, a tag or a commit, or "
            "leave out what follows the @."
        ) from None
    except OfflineModeIsEnabled:
        raise ModelError(
            f"{_spell(repo, revision)} is not in the cache, and HF_HUB_OFFLINE forbids a download; "
            "unset it, or name a folder."
        ) from None
    except http_errors() as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        remedy = "connect to the network"
        if isinstance(error, OSError) and (error.filename or error.errno in _FULL):
            reason, remedy = error.strerror or reason, "make room or set HF_HOME"
        raise ModelError(
            f"{_spell(repo, revision)} is not in the cache and can't be downloaded ({reason}); "
            f"{remedy}, or name a folder."
        ) from None


def _fetch_all(repo: str, revision: str | None) -> Path:
    """The files one by one; what mbexplore can't open is known by the first and smallest."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    def fetch(file: str) -> Path | None:
        # A hub that is away is known by the first question; a slow line has more time for the rest.
        patience = PATIENCE if file == CONFIG_FILE else None
        try:
            return fetch_file(repo, file, revision, patience)
        except LocalEntryNotFoundError:  # also an EntryNotFoundError: no connection
            raise
        except EntryNotFoundError:
            return None

    def need(file: str) -> Path:
        path = fetch(file)
        if path is None:
            if file == CONFIG_FILE and (adapter := fetch(ADAPTER_FILE)):
                check_adapter(adapter.parent, repo)
            raise ModelError(
                f"{repo} has no {file} on the hub; choose a model that is saved with safetensors "
                "and tokenizers."
            )
        return path

    folder = need(CONFIG_FILE).parent
    ModernBertConfig.from_folder(folder)
    need(TOKENIZER_FILE)
    for file in _HELPFUL:
        fetch(file)
    wanted: list[str] = []
    if fetch(ADAPTER_FILE):
        check_adapter(folder, repo)
    with suppress(ModelError):  # sentence vectors alone need them, and say what is wrong
        wanted = list(sentence_files(folder))
    for file in wanted:
        fetch(file)
    if fetch(WEIGHTS_FILE) is None:
        index = fetch(INDEX_FILE)
        for file in read_shards(index) if index else [WEIGHTS_FILE]:
            need(file)
    return folder
