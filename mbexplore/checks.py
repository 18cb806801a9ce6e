"""Checks of the machine and of the numbers that a model computes."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from mbexplore.errors import DeviceError, ModelError
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel


def check_finite(model: PretrainedModel, *values: Tensor) -> None:
    """Refuses what a model computed where there is NaN or infinity in it.

    Raises:
        ModelError: its weights are damaged, or its dtype is too narrow for what it computes.
    """
    if all(_is_finite(model, value) for value in values):
        return
    is_narrow, dtype = model.dtype == torch.float16, str(model.dtype).removeprefix("torch.")
    for name, weight in model.named_parameters():
        if not _is_finite(model, weight, is_bias=name == "decoder.bias"):
            kind = "NaN" if bool(weight.isnan().any()) else "infinity"
            where, remedy = "", "copy or train its weights again"
            if is_narrow and kind == "infinity":  # what a wider dtype holds may be too large
                where, remedy = f" in {dtype}", "open it in float32, or " + remedy
            raise ModelError(
                f"The model's tensor {name} has {kind} in it{where}, so nothing that it computes "
                f"can be trusted; {remedy}."
            )
    damaged = "its weights are damaged, so copy or train them again"
    remedy = "open it in float32" if is_narrow else damaged
    raise ModelError(f"The model computes numbers that are not finite in {dtype}; {remedy}.")


def _is_finite(model: PretrainedModel, value: Tensor, *, is_bias: bool = False) -> bool:
    """Whether there is no NaN or infinity in a value, but what the decoder's bias switches off.

    Minus infinity there gives a token of the vocabulary no probability, on purpose.
    """
    total = value.sum(dtype=torch.promote_types(value.dtype, torch.float32))
    if bool(total.isfinite()):  # a sum is not finite if a part is not, and is quickly made
        return True
    bias = model.decoder.bias if isinstance(model, ModernBertForMaskedLM) else None
    if bias is not None and (is_bias or value.shape[-1:] == bias.shape):
        value = value[..., ~bias.isneginf()]
    return bool(value.isfinite().all())


EMBEDDINGS = ("embeddings.tok_embeddings.weight", "embeddings.norm.weight")
VECTORS = (*EMBEDDINGS, "final_norm.weight")
HEADS = ("head.", "decoder.", "classifier.")
ANSWERS = (*VECTORS, "head.dense.weight", "head.norm.weight", "decoder.weight", "classifier.weight")
"""Tensors that all of a text passes on its way: to the residual stream, to a vector, to an answer.
Layers can be passed by, so one of them may be blank."""


def check_blank(model: PretrainedModel, passed: Collection[str] = ANSWERS) -> None:
    """Refuses a model that gives the same for every text, as a tensor that all passes is blank.

    Args:
        model: any.
        passed: names of the tensors, those of the encoder without its prefix.

    Raises:
        ModelError: all rows of a matrix are the same, or a norm is zero.
    """
    prefix = "" if model.encoder is model else "model."
    for part in passed:
        name = part if part.startswith(HEADS) else prefix + part
        weight = _find_parameter(model, name)
        if weight is not None and _is_blank(weight):
            raise ModelError(
                f"The model's tensor {name} is {'zero' if not weight.any() else 'the same'} in all "
                "its rows, so every text gives the same; copy or train its weights again."
            )


def _find_parameter(model: PretrainedModel, name: str) -> Tensor | None:
    try:
        return model.get_parameter(name)
    except AttributeError:  # another head, or none
        return None


def _is_blank(weight: Tensor) -> bool:
    if weight.dim() < 2 or len(weight) == 1:
        return not bool(weight.any())
    # The first two rows alone tell of nearly every other tensor.
    return torch.equal(weight[0], weight[1]) and bool((weight == weight[:1]).all())


def check_told_apart(logits: Tensor) -> None:
    """Refuses logits (..., option) that are all the same: whatever is named first is no answer.

    Two options may come out level by chance in half precision.

    Raises:
        ModelError: they are.
    """
    if logits.shape[-1] <= 2 or not torch.equal(logits[..., 0], logits[..., 1]):
        return  # nearly always
    if bool((logits == logits[..., :1]).all()):
        raise ModelError(
            f"All {logits.shape[-1]:,} options have one logit, {float(logits.flatten()[0]):.3g}: "
            "none is the answer; copy or train the model's weights again, or undo the edit that "
            "made them so."
        )


def find_device(name: str) -> torch.device:
    """The device of that name, "cuda:1" too; "auto" is the first there is of cuda, mps and cpu.

    Raises:
        DeviceError: this machine lacks it.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, is_there in there.items() if is_there))
    kind, _, index = name.partition(":")
    is_one_of = kind == "cuda" and index.isdigit() and int(index) < torch.cuda.device_count()
    if not there.get(kind, False) or (index and not is_one_of):
        have = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise DeviceError(f"There is no device {name!r} here; choose one of {have}.")
    return torch.device(name)
