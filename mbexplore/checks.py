"""Checks of the machine and of the numbers that a model computes."""

from __future__ import annotations

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


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first there is of cuda, mps and cpu.

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
    if not there.get(name, False):
        have = ", ".join(kind for kind, is_there in there.items() if is_there)
        raise DeviceError(f"There is no device {name!r} here; this machine has {have}.")
    return torch.device(name)
