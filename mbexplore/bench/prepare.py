"""The model a benchmark runs on: `python -m mbexplore.bench.prepare`, in a process of its own.

The process that measures others must stay small, so it never loads torch itself.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

from mbexplore.checkpoints import hub
from mbexplore.checkpoints.model import save_model
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.errors import MbexploreError, UsageError
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM

SIZES = ("tiny", "base", "large")


def write_random(size: str, folder: Path) -> None:
    """Writes a model of random weights, with the bundled tokenizer, for us and for transformers.

    Queries and keys are large enough that attention is not flat.

    Args:
        size: one of `SIZES`.
        folder: an empty one.

    Raises:
        UsageError: there is no such size.
    """
    if size not in SIZES:
        raise UsageError(f"There is no size {size!r}; choose {', '.join(SIZES)}.")
    bundled = hub.locate(hub.BUNDLED).folder
    config = ModernBertConfig.from_folder(bundled)
    if size != "tiny":
        full = ModernBertConfig.base() if size == "base" else ModernBertConfig.large()
        config = replace(
            full,
            pad_token_id=config.pad_token_id,
            cls_token_id=config.cls_token_id,
            sep_token_id=config.sep_token_id,
        )
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("Wqkv.weight"):
                parameter[: 2 * config.hidden_size].mul_(4.0)
    save_model(folder, model)
    shutil.copy(bundled / "tokenizer_config.json", folder)
    _write_tokenizer(bundled / "tokenizer.json", folder / "tokenizer.json", config.vocab_size)


def _write_tokenizer(source: Path, path: Path, vocabulary: int) -> None:
    """A tokenizer as large as the vocabulary: the bundled one, filled up with words of no text."""
    tokenizer = json.loads(source.read_text(encoding="utf-8"))
    known = tokenizer["model"]["vocab"]
    used = {*known.values(), *(token["id"] for token in tokenizer["added_tokens"])}
    for number in range(vocabulary):
        if number not in used:
            known[f"\N{SYMBOL FOR NULL}{number}"] = number
    path.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")


def main(name: str | None, size: str | None, folder: Path) -> None:
    """Prints `{"name", "folder", "mask"}` of the model, or `{"error", "exit_code"}`."""
    try:
        if size is not None:
            write_random(size, folder)
            files = hub.ModelFiles(f"{size}, random weights", size, folder)
        else:
            files = hub.locate(name or hub.BUNDLED)
        mask = Tokenizer.from_folder(files.folder).mask_token
        with_head = (
            "ModernBertForMaskedLM" in ModernBertConfig.from_folder(files.folder).architectures
        )
        if mask is None or not with_head:
            raise UsageError(f"{files.name} can't predict a masked word; name a model that can.")
    except MbexploreError as error:
        print(json.dumps({"error": str(error), "exit_code": error.exit_code}))
    else:
        print(json.dumps({"name": files.name, "folder": str(files.folder), "mask": mask}))


if __name__ == "__main__":
    main(sys.argv[1] or None, sys.argv[2] or None, Path(sys.argv[3]))
