"""The other side: whatever computes ModernBERT, asked for what it gives.

An ONNX file, an OpenVINO model, saved tensors, a server, a Python function, a command. Each
is opened by what is written after `--against`, and says what it can't be asked.
"""

from __future__ import annotations

import importlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.errors import ModelError, UsageError
from mbexplore.network.config import ModernBertConfig
from mbexplore.reading import check_regular
from mbexplore.reference.ports.implementation import Arrays, Implementation
from mbexplore.reference.ports.runtimes import OnnxModel, OpenVinoModel, failed, unreadable
from mbexplore.reference.ports.server import Server
from mbexplore.reference.ports.suite import Case
from mbexplore.reference.ports.values import LOGITS, POOLED, hidden_state
from mbexplore.text import quoted, shortened

COMMAND_SECONDS = 600
FORMS = (
    "transformers, a .onnx or .xml file, saved tensors (.safetensors, .npz), http://..., "
    "python:module.function, command:..."
)
"""What may stand after `--against`."""


def open_implementation(name: str, config: ModernBertConfig) -> Implementation:
    """Opens what is written after `--against`.

    Raises:
        UsageError: it is none of `FORMS`.
        ModelError: it can't be opened.
    """
    if name.startswith(("http://", "https://")):
        return Server(name)
    if name.startswith("python:"):
        return _Called(name, _find_function(name.removeprefix("python:")))
    if name.startswith("command:"):
        return _Called(name, _Command(name.removeprefix("command:")))
    path = Path(name)
    openers: dict[str, Callable[[Path], Implementation]] = {
        ".onnx": OnnxModel, ".xml": OpenVinoModel, ".safetensors": _Saved, ".npz": _Saved,
    }  # fmt: skip
    opener = openers.get(path.suffix)
    if opener is None:
        raise UsageError(f"There is nothing to compare with at {quoted(name)}; give {FORMS}.")
    if not path.exists():
        raise ModelError(f"There is no file {quoted(name)}; name one that is there.")
    return opener(path)


def as_named(arrays: Arrays, case: Case, config: ModernBertConfig) -> dict[str, list[Tensor]]:
    """What an implementation gave, by the names of `values`, one float64 tensor a text.

    Raises:
        ModelError: an array has another shape than its name says.
    """
    real = case.mask.bool()
    found: dict[str, list[Tensor]] = {}
    for given, array in arrays.items():
        try:
            value = torch.from_numpy(np.asarray(array, dtype=np.float64))
        except (TypeError, ValueError):
            raise ModelError(f"{quoted(given)} holds no numbers; give an array of them.") from None
        name = _name_of(given, value, config, is_alone=len(arrays) == 1)
        if name is None:
            continue
        batch, seq = real.shape
        by_token = name.startswith(("hidden_states.", "attention.")) or value.dim() == 3
        places = value.shape[2:] if name.startswith("attention.") else value.shape[1:2]
        dims = {"a": (4,), "h": (3,)}.get(name[0], (2, 3))
        if (
            value.dim() not in dims
            or len(value) != batch
            or (by_token and any(size != seq for size in places))
        ):
            raise ModelError(
                f"{quoted(given)} has the shape {tuple(value.shape)} for ids of the shape "
                f"{(batch, seq)}; give one row a text and one place a token."
            )
        if name.startswith("attention."):
            found[name] = [row[:, seen][:, :, seen] for row, seen in zip(value, real, strict=True)]
        elif by_token:
            found[name] = [row[seen] for row, seen in zip(value, real, strict=True)]
        else:
            found[name] = list(value)
    return found


_USUAL = {
    "sentence_embedding": POOLED, "pooler_output": POOLED, "embeddings": POOLED,
    "embedding": POOLED, POOLED: POOLED, LOGITS: LOGITS, "scores": LOGITS,
}  # fmt: skip


def _name_of(given: str, value: Tensor, config: ModernBertConfig, is_alone: bool) -> str | None:
    """The name in `values`; None for the inputs that were saved beside the outputs.

    The only output of a model, whatever it is called, is known by its size.
    """
    last = hidden_state(config.num_hidden_layers)
    if given in ("input_ids", "attention_mask"):
        return None
    if given in ("last_hidden_state", "token_embeddings"):
        return last
    if given.startswith(("hidden_states.", "attention.")) or given in _USUAL or not is_alone:
        return _USUAL.get(given, given)
    sizes = {(3, config.vocab_size): LOGITS, (3, config.hidden_size): last,
             (2, config.hidden_size): POOLED}  # fmt: skip
    return sizes.get((value.dim(), value.shape[-1] if value.dim() else 0), given)


# Files.


class _Saved(Implementation):
    """Tensors that somebody else computed and saved, with the ids they were computed of."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._arrays = _read_arrays(path)
        if "input_ids" not in self._arrays:
            raise ModelError(
                f"{path} holds {', '.join(sorted(self._arrays)[:6])} and no input_ids; save the "
                "token ids beside the values, (batch, seq)."
            )
        ids = np.atleast_2d(self._arrays["input_ids"])
        mask = np.atleast_2d(self._arrays.get("attention_mask", np.ones(ids.shape, np.int64)))
        whole = all(array.dtype.kind in "iub" for array in (ids, mask)) and ids.ndim == 2
        if not whole or ids.shape != mask.shape or not ids.size or not mask.any(axis=1).all():
            raise ModelError(
                f"{path} has input_ids of the shape {ids.shape} ({ids.dtype}) and an "
                f"attention_mask of {mask.shape} ({mask.dtype}); both must be whole numbers, "
                "(batch, seq), with a real token in each row."
            )
        ids = ids.astype(np.int64)
        self.own_case = Case(
            "the ids saved", torch.from_numpy(ids), torch.from_numpy(mask.astype(np.int64))
        )
        halves = {str(a.dtype) for a in self._arrays.values()} & {"float16"}
        if halves:
            self.precision = "float16"

    def run(self, case: Case) -> Arrays:
        """What was saved."""
        return self._arrays


def _read_arrays(path: Path) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        check_regular(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        return {
            name: (x.float() if x.dtype == torch.bfloat16 else x).numpy()
            for name, x in load_file(path).items()
        }
    except (OSError, ValueError, SafetensorError) as error:
        raise unreadable(path, error) from None


# Code.


class _Called(Implementation):
    """A function of ids and mask."""

    def __init__(self, name: str, function: Callable[..., Mapping[str, Any]]) -> None:
        self.name, self._function = name, function

    def run(self, case: Case) -> Arrays:
        """See `Implementation`."""
        try:
            with redirect_stdout(sys.stderr):  # ours is for the answer
                found = self._function(case.ids.numpy(), case.mask.numpy())
        except ModelError:
            raise
        except (Exception, SystemExit) as error:
            raise failed(self.name, case, error) from error
        if not isinstance(found, Mapping):
            raise ModelError(
                f"{self.name} returned {type(found).__name__}; return a dict of arrays by name: "
                "logits, last_hidden_state, hidden_states.N, attention.N or pooled."
            )
        types = {str(x.dtype).removeprefix("torch.") for x in found.values() if hasattr(x, "dtype")}
        for precision in ("float16", "bfloat16"):
            if precision in types and "float32" not in types:
                self.precision = precision
        return {
            name: x.detach().cpu().double().numpy() if isinstance(x, Tensor) else np.asarray(x)
            for name, x in found.items()
        }


def _find_function(path: str) -> Callable[..., Mapping[str, Any]]:
    """A function by its dotted path; modules of the working directory count.

    Raises:
        ModelError: there is none.
    """
    module, _, name = path.rpartition(".")
    before = list(sys.path)
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"There is no function {quoted(path)} ({error}); give python:module.function."
        ) from None
    finally:
        sys.path[:] = before
    if not callable(found):
        raise ModelError(f"{path} is {type(found).__name__}; name a function of ids and mask.")
    return found  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Command:
    """A program: JSON on its standard input, a safetensors file on its standard output."""

    line: str

    def __call__(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load

        given = json.dumps({"input_ids": ids.tolist(), "attention_mask": mask.tolist()})
        try:
            if not (words := shlex.split(self.line)):
                raise ValueError("nothing is named")
            done = subprocess.run(
                words,
                input=given.encode(),
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise ModelError(
                f"The command {quoted(self.line)} can't be run ({error}); correct it."
            ) from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise ModelError(
                f"The command {quoted(self.line)} ended with {done.returncode} "
                f"({shortened(said[-1], 300)}); run it by itself."
            )
        try:
            return load(done.stdout)
        except SafetensorError as error:
            raise ModelError(
                f"The command {quoted(self.line)} wrote no safetensors file to standard output "
                f"({error}); write nothing else there."
            ) from None
