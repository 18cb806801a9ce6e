"""The texts of a corpus, and what a store depends on: hashes, and no path of this machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mbexplore.corpus.sketch import NUMBERS, Ints
from mbexplore.errors import TextError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.network.pages import free_mapped
from mbexplore.prompts import Prompts, Survey
from mbexplore.rows import is_dataset

BLOCK = 64
"""Texts of a block."""
FORMAT = 3
"""Of sketches and tables."""
CONTROLS = ("freshly initialised", "weights shuffled")
"""What a control may be: the same model with other weights."""


@dataclass(frozen=True)
class Block:
    """Neighbouring texts of a source.

    Attributes:
        number: from 0.
        texts: "" where there is none, None where its row is broken.
        source: the source's key.
    """

    number: int
    texts: Sequence[str | None]
    source: int = 0

    @property
    def key(self) -> int:
        """Of the block among those of all sources."""
        return self.source * NUMBERS + self.number

    @property
    def first(self) -> int:
        """The key of its first text."""
        return self.source * NUMBERS + self.number * BLOCK


@dataclass(frozen=True)
class Source:
    """A file of texts, or a dataset.

    Attributes:
        prompts: the texts.
        about: file, sha256, column, id, rows.
        errors: of the first broken rows.
    """

    prompts: Prompts
    about: Mapping[str, Any]
    errors: tuple[str, ...] = ()

    @cached_property
    def key(self) -> int:
        """A number below 2**31 that depends on the texts alone, so that any machine finds it."""
        named = json.dumps([self.about[name] for name in ("sha256", "column", "id")])
        return int.from_bytes(hashlib.sha256(named.encode()).digest()[:4], "big") // 2

    @property
    def keys(self) -> range:
        """Of its blocks."""
        first = self.key * NUMBERS
        return range(first, first - (-self.about["rows"] // BLOCK))

    def blocks(self) -> Iterator[Block]:
        """All its texts.

        Raises:
            TextError: the file can't be read.
        """
        prompts, number = self.prompts.each(), 0
        while some := list(islice(prompts, BLOCK)):
            yield Block(number, [one.text if one.error is None else None for one in some], self.key)
            number += 1


def find_source(prompts: Prompts, *, strict: bool = False) -> Source:
    """Reads a file once, for what is in it.

    Args:
        prompts: its texts.
        strict: whether a broken row is an error.

    Raises:
        TextError: it can't be read, or has no text.
    """
    found: Survey = prompts.survey(strict=strict)
    about = {
        "file": prompts.path.name if not is_dataset(prompts.path) else str(prompts.path),
        "sha256": _hash_rows(prompts) if is_dataset(prompts.path) else hash_file(prompts.path),
        "column": prompts.column,
        "id": prompts.id,
        "rows": found.rows,
    }
    return Source(prompts, about, found.errors)


def find_sources(
    paths: Sequence[Path], column: str | None, identity: str | None, *, strict: bool = False
) -> tuple[Source, ...]:
    """The sources of a corpus, in an order that doesn't depend on that of `paths`.

    Raises:
        TextError: see `find_source`.
        UsageError: two hold the same.
    """
    found = [find_source(Prompts(path, column, identity), strict=strict) for path in paths]
    by_key: dict[int, Source] = {}
    for one in found:
        if one.key in by_key:
            raise UsageError(
                f"{by_key[one.key].about['file']} and {one.about['file']} hold the same texts; "
                "give one of them."
            )
        by_key[one.key] = one
    return tuple(by_key[int(key)] for key in in_order({str(k): s.about for k, s in by_key.items()}))


def in_order(sources: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Keys of sources as a store counts their texts: by name, then by hash."""
    return sorted(sources, key=lambda key: (sources[key]["file"], sources[key]["sha256"], key))


def read_blocks(sources: Sequence[Source], done: Collection[int] = ()) -> Iterator[Block]:
    """The blocks of a corpus, those left out that are done.

    Raises:
        TextError: a file can't be read.
    """
    for source in sources:
        if not set(source.keys).issubset(done):
            yield from (block for block in source.blocks() if block.key not in done)


def describe(
    explorer: Explorer, thresholds: Mapping[str, Sequence[float]], *,
    dictionary: Mapping[str, Any] | None = None, control: str = CONTROLS[0],
    truncate: bool = False, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """What a sketch depends on besides its texts: the same, and sketches can be merged.

    Args:
        explorer: whose model runs.
        thresholds: of neurons by layer, and of features.
        dictionary: what names it.
        control: one of `CONTROLS`.
        truncate: whether long texts are cut.
        seed: of the samples and the control.
    """
    return {
        "model": {
            "name": explorer.info.name if explorer.info.source != str(explorer.files.folder)
            else explorer.files.folder.name,
            "sha256": hash_model(explorer),
            "dtype": explorer.info.dtype,
        },
        "tokenizer": {"sha256": explorer.tokenizer.sha256},
        "thresholds": {name: list(some) for name, some in thresholds.items()},
        "dictionary": None if dictionary is None else dict(dictionary),
        "control": control,
        "truncate": truncate,
        "seed": seed,
        "block": BLOCK,
        "format": FORMAT,
    }  # fmt: skip


def describe_corpus(sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a manifest says of the texts: one source, or several and a hash over theirs."""
    every: list[dict[str, Any]] = [{"key": key, **sources[key]} for key in in_order(sources)]
    if len(every) == 1:
        return {"corpus": dict(sources[every[0]["key"]]), "sources": every}
    together = hashlib.sha256("".join(one["sha256"] for one in every).encode()).hexdigest()
    corpus = {
        "file": ", ".join(one["file"] for one in every),
        "sha256": together,
        "rows": sum(one["rows"] for one in every),
    }
    return {"corpus": corpus, "sources": every}


class Numbers:
    """Numbers of texts in the store, from 0, one source after the other."""

    def __init__(self, sources: Mapping[str, Mapping[str, Any]]) -> None:
        """Counts the rows of the sources, by their keys."""
        order = in_order(sources)
        rows = np.array([sources[key]["rows"] for key in order], dtype=np.int64)
        self._rising = np.argsort([int(key) for key in order])
        self._keys = np.array([int(key) for key in order], dtype=np.int64)
        self._starts = np.cumsum(rows) - rows

    def of(self, keys: Ints) -> Ints:
        """Of the texts with these keys."""
        sorted_keys = self._keys[self._rising]
        place = self._rising[np.searchsorted(sorted_keys, keys // NUMBERS)]
        found: Ints = self._starts[place] + keys % NUMBERS
        return found

    def key_of(self, number: int) -> int:
        """The key of a text."""
        place = int(np.searchsorted(self._starts, number, side="right")) - 1
        return int(self._keys[place]) * NUMBERS + number - int(self._starts[place])


def hash_model(explorer: Explorer) -> str:
    """SHA-256 over the names, shapes and values of all parameters."""
    found = hashlib.sha256()
    for name, value in sorted(explorer.model.encoder.state_dict().items()):
        found.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        found.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        free_mapped(value)
    return found.hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        TextError: it can't be read.
    """
    found = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(2**20):
                found.update(part)
    except OSError as error:
        raise TextError(f"{path} can't be read ({error.strerror}); name a file of texts.") from None
    return found.hexdigest()


def _hash_rows(prompts: Prompts) -> str:
    """SHA-256 over the ids and texts of a dataset, wherever its files are."""
    found = hashlib.sha256()
    for prompt in prompts.each():
        found.update(f"{json.dumps([str(prompt.id), prompt.text])}\n".encode())
    return found.hexdigest()
