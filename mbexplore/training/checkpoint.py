"""Files a run leaves: model folders and the state to resume from, each written beside and renamed.

A file is complete or it is the one before: a full disk or a `kill -9` harms none.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer

from mbexplore.checkpoints.model import checkpoint_of
from mbexplore.errors import ModelError, OutputError
from mbexplore.files import write_whole
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.training.tokenizer import tokenizer_config_json

STATE_FILE = "training_state.pt"
STATE = {"config", "recipe", "corpus", "model", "optimizers", "clock"}
"""What a run needs to go on."""


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} can't be made ({error.strerror}); give another --out."
        ) from None
    weights, config = checkpoint_of(model, dtype)
    files = {
        "config.json": json.dumps(config, indent=2) + "\n",
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": tokenizer_config_json(model.config.max_position_embeddings),
    }
    for name, text in files.items():
        write_whole(folder / name, text.encode())
    write_whole(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))


def save_state(folder: Path, state: dict[str, Any]) -> None:
    """Writes all a run needs to go on to `folder`.

    Raises:
        OutputError: the file can't be written.
    """
    content = BytesIO()
    torch.save(state, content)
    write_whole(folder / STATE_FILE, content.getvalue())


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
        missing = STATE.difference(state)
    except Exception as error:
        raise ModelError(
            f"{path} can't be read ({str(error).splitlines()[0]}); give another --out."
        ) from None
    if missing:
        raise ModelError(f"{path} is no state of a run: it lacks {', '.join(sorted(missing))}; "
                         "give another --out.")  # fmt: skip
    return state
