"""Checkpoint folders to models and back. Knows every model class, and nothing of tokenizers.

A folder holds config.json and safetensors; what is written, transformers 4 and 5 open too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from mbexplore.checkpoints.weights import Checkpoint, Unfilled, write_checkpoint
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import (
    CLASSIFIERS,
    ClassifierModel,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
)
from mbexplore.network.linear import HALF, Linear
from mbexplore.network.model import ModernBertForMaskedLM, ModernBertModel, PretrainedModel
from mbexplore.network.pages import free_mapped

Model = TypeVar("Model", bound=PretrainedModel)

_CLASSIFIER = "classifier.weight"
_CHUNK = re.compile(r"O|[BIESLU]-.+")
"""Labels that say where in a name a token stands, as those of tokens do and of texts never."""


def load_model(
    folder: Path | str,
    kind: type[Model],
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    weights: bool = True,
) -> Model:
    """Opens the checkpoint in `folder` as a model of one kind, in evaluation mode.

    The weights stay in the mapped file where dtype and device allow; nothing is copied.

    Args:
        folder: holds config.json and model.safetensors (or a sharded index).
        kind: the class.
        dtype: see `set_precision`; None for the file's own, of every parameter.
        device: where they go.
        weights: whether they will be used; if not they stay as they are, and none is read.

    Raises:
        ModelError: a file, a key or a shape is not what the config asks for.
    """
    config = ModernBertConfig.from_folder(Path(folder))
    with Unfilled():
        model = kind(config)
    is_tied = _is_tied(model)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if is_tied:
        del wanted["decoder.weight"]
    prefix = "" if isinstance(model, ModernBertModel) else "model."
    with Checkpoint(Path(folder)) as checkpoint:
        tensors = checkpoint.read(wanted, prefix, tied=is_tied)
        model.load_state_dict(tensors, strict=False, assign=True)
    if isinstance(model, ModernBertForMaskedLM):
        model.tie_weights()
    return (set_precision(model.to(device), dtype) if weights else model).eval()


def set_precision(model: Model, dtype: torch.dtype | None) -> Model:
    """The model itself, computing in `dtype`.

    In half precision, the linear layers of the encoder alone are: embeddings, norms, the residual
    stream and the head stay in float32, and so do rotations and the attention's softmax.
    """
    if dtype not in HALF:
        return model.to(dtype=dtype)
    model.float()
    for module in model.encoder.layers.modules():
        if isinstance(module, Linear):
            wide = module.weight.detach()
            module.to(dtype=dtype)
            free_mapped(wide)  # others keep the file open
    return model


def open_model(
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
    weights: bool = True,
) -> PretrainedModel:
    """Opens a checkpoint as what it is: with the head that its file has, else the bare encoder.

    All classifiers have the same tensors, so config.json must tell which it is; one that it does
    not tell is left alone.

    Raises:
        ModelError: see `load_model`.
    """
    config = ModernBertConfig.from_folder(folder)
    with Checkpoint(folder) as checkpoint:
        keys = checkpoint.shapes.keys()
    kind: type[PretrainedModel] = ModernBertModel
    if _CLASSIFIER in keys:
        kind = _find_classifier(config) or ModernBertModel
    elif "head.dense.weight" in keys:
        kind = ModernBertForMaskedLM
    return load_model(folder, kind, dtype=dtype, device=device, weights=weights)


def save_model(
    folder: Path | str, model: PretrainedModel, *, dtype: torch.dtype | None = None
) -> None:
    """Writes config.json and model.safetensors. The tokenizer's files are not written.

    Args:
        folder: made if it is missing.
        model: what to write.
        dtype: of the file; None for the model's own.

    Raises:
        OutputError: the folder can't be written.
    """
    write_checkpoint(Path(folder), *checkpoint_of(model, dtype))


def checkpoint_of(
    model: PretrainedModel, dtype: torch.dtype | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What the files of a model hold: tensors by the checkpoint's keys, and config.json.

    Args:
        model: what to write.
        dtype: of the file; None for the model's own.
    """
    dtype = dtype or model.dtype
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    if _is_tied(model):
        del tensors["decoder.weight"]
    named = {"architectures": [type(model).__name__], "dtype": str(dtype).removeprefix("torch.")}
    return tensors, model.config.to_dict() | named


def _is_tied(model: PretrainedModel) -> bool:
    """Whether a decoder shares the token embeddings, and is in no file."""
    return isinstance(model, ModernBertForMaskedLM) and model.config.tie_word_embeddings


def _find_classifier(config: ModernBertConfig) -> type[ClassifierModel] | None:
    """The class that `architectures` names, or that nothing but one head has a use for."""
    for name in config.architectures:
        if name in CLASSIFIERS:
            return CLASSIFIERS[name]
    if config.problem_type is not None:
        return ModernBertForSequenceClassification
    if all(_CHUNK.fullmatch(label) for label in config.labels):
        return ModernBertForTokenClassification
    return None


def explain_no_head(name: str, folder: Path) -> str:
    """Why a model that opened as a bare encoder can't predict, in one sentence.

    Args:
        name: of the model.
        folder: where it lies.
    """
    with Checkpoint(folder) as checkpoint:
        has_classifier = _CLASSIFIER in checkpoint.shapes
    if has_classifier:
        return (
            f"{name} has a classifier, and its config.json does not tell which, so it opens as a "
            f"bare encoder; name one of {', '.join(CLASSIFIERS)} in its architectures."
        )
    return (
        f"{name} is a bare encoder without an MLM head, so it can't predict; use `mbexplore "
        "attention` on it, or name a masked-language model."
    )
