"""Checkpoint files to tensors and back: safetensors only, mapped. Knows no model class.

Every key and shape is checked before the first tensor is handed out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode
from typing_extensions import Self

from mbexplore.checkpoints.folder import CONFIG_FILE, WEIGHTS_FILE, checkpoint_files
from mbexplore.errors import ModelError, OutputError
from mbexplore.files import write_beside
from mbexplore.reading import check_regular
from mbexplore.text import shortened

_DERIVED = re.compile(r"(.*\.)?(rotary_emb\.\w*inv_freq|position_ids)")
"""Tensors that older versions of transformers and others saved, and that follow from the config."""
_HEADS = ("head.", "decoder.", "classifier.")
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


class Unfilled(TorchFunctionMode):
    """Inside it a parameter has its shape and no memory, and nothing fills a tensor in place.

    For a model whose parameters come from a file: no page of what is thrown away is ever touched,
    and a config.json that asks for more than any machine holds is refused by its shapes. The meta
    device would do as well, but costs a second of imports (sympy) at its first use.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty:
            return torch.zeros((), **kwargs).expand(*args)
        if func.__name__.endswith("_") and not func.__name__.endswith("__"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class Checkpoint:
    """The open safetensors file(s) of a folder; a context manager.

    Attributes:
        shapes: shape of every tensor by its key in the file.
        dtypes: data type of every tensor by its key.
    """

    def __init__(self, folder: Path) -> None:
        """Reads the headers.

        Raises:
            ModelError: no safetensors file, or one that is truncated or garbage.
        """
        self.folder = folder
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, torch.dtype] = {}
        self._file_of: dict[str, Any] = {}
        with ExitStack() as stack:
            for path in checkpoint_files(folder):
                self._open(path, stack)
            self._stack = stack.pop_all()

    def _open(self, path: Path, stack: ExitStack) -> None:
        try:
            check_regular(path)
            file = stack.enter_context(safe_open(path, framework="pt"))
            for key in file.keys():  # noqa: SIM118 - not a mapping
                header = file.get_slice(key)
                self.shapes[key] = tuple(header.get_shape())
                dtype = header.get_dtype()
                if dtype not in _DTYPES:
                    raise ModelError(
                        f"{path} holds {shortened(key, 60)} as {dtype}; save the model as one "
                        f"of {', '.join(_DTYPES)}."
                    )
                self.dtypes[key] = _DTYPES[dtype]
                self._file_of[key] = file
        except FileNotFoundError:
            raise ModelError(f"{path} is missing; copy or download it again.") from None
        except (SafetensorError, OSError) as error:
            raise ModelError(
                f"{path} is truncated or no safetensors file ({error}); copy or download it again."
            ) from None

    def read(
        self, wanted: Mapping[str, tuple[int, ...]], base_prefix: str, *, tied: bool
    ) -> dict[str, Tensor]:
        """The tensors a model wants, mapped from the file, under the model's own names.

        A file of a bare encoder has no `model.` before its keys, and a model may be a bare
        encoder opening a file that has it: the prefix is adapted here, once.

        Args:
            wanted: shape of every tensor the model needs.
            base_prefix: what precedes the encoder's keys in the model ("model." or "").
            tied: whether a `decoder.weight` in the file repeats the embeddings.

        Raises:
            ModelError: a tensor is missing, extra or wrongly shaped.
        """
        keys = [key for key in self.shapes if not _DERIVED.fullmatch(key)]
        key_of = {self._model_name(key, base_prefix): key for key in keys}
        if tied:
            key_of.pop("decoder.weight", None)
        if not base_prefix:  # a bare encoder leaves a head in the file alone
            key_of = {name: key for name, key in key_of.items() if not name.startswith(_HEADS)}
        missing = sorted(wanted.keys() - key_of.keys())
        extra = sorted(key_of.keys() - wanted.keys())
        if missing:
            raise self._fault("lacks", missing, "that the config asks for")
        if extra:
            raise self._fault("has", extra, "that the config has no place for")
        for name, shape in wanted.items():
            found = self.shapes[key_of[name]]
            if found != shape:
                raise ModelError(
                    f"{self.folder} has {key_of[name]} of shape {found} where its config.json "
                    f"asks for {shape}; use the config.json that belongs to these weights."
                )
        return {name: self._file_of[key_of[name]].get_tensor(key_of[name]) for name in wanted}

    def _model_name(self, key: str, base_prefix: str) -> str:
        bare = key.removeprefix("model.")
        is_encoder = bare.startswith(("embeddings.", "layers.", "final_norm."))
        return base_prefix + bare if is_encoder else key

    def _fault(self, verb: str, keys: list[str], why: str) -> ModelError:
        more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
        return ModelError(
            f"{self.folder} {verb} the tensor {keys[0]}{more} {why}; use the config.json that "
            "belongs to these weights."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._stack.close()


def write_checkpoint(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> None:
    """Writes model.safetensors and config.json, each beside its place and then renamed.

    A model whose weights are mapped from the same folder keeps them: the old file lives on until
    it is closed.

    Args:
        folder: made if it is missing.
        tensors: by the checkpoint's keys; no two may share memory.
        config: what config.json is to hold.

    Raises:
        OutputError: the folder or a file can't be written.
    """
    own = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(dict(config), indent=2, sort_keys=True) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_beside(folder / WEIGHTS_FILE, lambda path: save_file(own, path, {"format": "pt"}))
        write_beside(folder / CONFIG_FILE, lambda path: path.write_text(text, encoding="utf-8"))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{folder} can't be written ({reason}); choose another.") from None
