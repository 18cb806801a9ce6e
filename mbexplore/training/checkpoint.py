"""Files a run leaves: model folders and the state to resume from, each written beside and renamed.

A file is complete or it is the one before: a full disk or a `kill -9` harms none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from mbexplore.config import ModernBertConfig
from mbexplore.errors import ModelError, OutputError
from mbexplore.model import ModernBertForMaskedLM
from mbexplore.training.tokenizer import save_tokenizer_config

STATE_FILE = "training_state.pt"


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a path beside `path`, then renames that file over it.

    Raises:
        OutputError: the file can't be written (a full disk, say); `path` is as it was.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        write(beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except Exception as error:
        beside.unlink(missing_ok=True)
        # torch and safetensors report a full disk as errors of their own
        if isinstance(error, OSError) or type(error).__name__ in (
            "SafetensorError",
            "RuntimeError",
        ):
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise OutputError(
                f"{path} can't be written ({str(reason).splitlines()[0]}); free some space or give "
                "another --out. What was there before is unharmed."
            ) from error
        raise


def save_model_folder(
    folder: Path,
    model: ModernBertForMaskedLM,
    tokenizer: Tokenizer,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Writes config, tokenizer and weights in the form transformers and mbexplore open.

    Raises:
        OutputError: a file can't be written.
    """
    config = model.config
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} can't be made ({error.strerror}); give another --out."
        ) from None
    weights = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
        if not (name == "decoder.weight" and config.tie_word_embeddings)
    }
    text = json.dumps(config_json(config, dtype), indent=2) + "\n"
    write_beside(folder / "config.json", lambda path: path.write_text(text, encoding="utf-8"))
    write_beside(folder / "tokenizer.json", lambda path: tokenizer.save(str(path)))
    write_beside(
        folder / "tokenizer_config.json",
        lambda path: save_tokenizer_config(path, config.max_position_embeddings),
    )
    write_beside(
        folder / "model.safetensors",
        lambda path: path.write_bytes(save(weights, metadata={"format": "pt"})),
    )


def config_json(config: ModernBertConfig, dtype: torch.dtype) -> dict[str, Any]:
    """The config.json of a trained model."""
    known = config.to_dict()
    return known | {
        "architectures": ["ModernBertForMaskedLM"],
        "dtype": str(dtype).removeprefix("torch."),
    }


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes all a run needs to go on to `folder`.

    Raises:
        OutputError: the file can't be written.
    """
    write_beside(folder / STATE_FILE, lambda path: torch.save(state, path))


def load_state(folder: Path) -> dict[str, Any] | None:
    """Reads what `save_state` wrote, or None where no run has saved yet.

    Raises:
        ModelError: the file is there but can't be read.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{path} can't be read ({str(error).splitlines()[0]}); start again without --resume."
        ) from None
    return state
