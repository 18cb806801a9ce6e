"""A model's name to a folder on this machine. The only code that may use the network.

It does so only for a hub model that the user named and that the cache lacks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mbexplore.errors import ModelError
from mbexplore.weights import FILE, INDEX

BUNDLED = "tiny"
SHORT_NAMES = {
    "base": "answerdotai/ModernBERT-base",
    "large": "answerdotai/ModernBERT-large",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_NEEDED = ("config.json", "tokenizer.json")
_HELPFUL = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies.

    Attributes:
        name: as the user wrote it.
        source: "bundled", the hub id, or the folder.
        folder: holds config.json, tokenizer.json and the weights.
    """

    name: str
    source: str
    folder: Path


def locate(name: str) -> ModelFiles:
    """Finds a model: "tiny", "base", "large", a folder, or a hub id.

    Raises:
        ModelError: there is no such model, or it is not cached and can't be downloaded.
    """
    if name == BUNDLED:
        return ModelFiles(name, "bundled", Path(str(files("mbexplore_assets"))) / "tiny")
    folder = Path(name).expanduser()
    if name not in SHORT_NAMES and folder.is_dir():
        return ModelFiles(name, str(folder), folder)
    repo = SHORT_NAMES.get(name, name)
    if not _HUB_ID.fullmatch(repo):
        raise ModelError(
            f"There is no model {name!r}; use tiny, base, large, a folder, or a hub id such as "
            "answerdotai/ModernBERT-base."
        )
    return ModelFiles(name, repo, _cached(repo) or _download(repo))


def _cached(repo: str) -> Path | None:
    """The snapshot folder in the cache, if it is whole."""
    from huggingface_hub import try_to_load_from_cache

    def find(file: str) -> Path | None:
        path = try_to_load_from_cache(repo, file)
        return Path(path) if isinstance(path, str) else None

    found = [find(file) for file in _NEEDED]
    if index := find(INDEX):
        found += [find(shard) for shard in _shards(index)]
    else:
        found.append(find(FILE))
    return found[0].parent if found[0] and all(found) else None


def _download(repo: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    def fetch(file: str) -> Path | None:
        try:
            return Path(hf_hub_download(repo, file))
        except LocalEntryNotFoundError:  # also an EntryNotFoundError: no connection
            raise
        except EntryNotFoundError:
            return None

    try:
        needed = [(file, fetch(file)) for file in _NEEDED]
        for file in _HELPFUL:
            fetch(file)
        if not (weights := fetch(FILE)) and (weights := fetch(INDEX)):
            needed += [(shard, fetch(shard)) for shard in _shards(weights)]
        needed.append((FILE, weights))
    except RepositoryNotFoundError:
        raise ModelError(
            f"The hub has no model {repo!r}, or it is private; correct the name, or log in with "
            "`hf auth login`."
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, HfHubHTTPError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise ModelError(
            f"{repo} is not in the cache and can't be downloaded ({reason}); connect to the "
            "network, or name a folder."
        ) from None
    for file, path in needed:
        if path is None:
            raise ModelError(
                f"{repo} has no {file} on the hub; choose a model that is saved with safetensors "
                "and tokenizers."
            )
    assert needed[0][1] is not None
    return needed[0][1].parent


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{index} can't be read ({error!r}); delete it and try again.") from None
