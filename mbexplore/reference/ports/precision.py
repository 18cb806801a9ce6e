"""How far rounding takes an implementation: ours, computed in what the other side holds."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mbexplore.network.model import PretrainedModel
from mbexplore.reference.forward import EVERY_TAP, roundings
from mbexplore.reference.ports.faults import rebuilt
from mbexplore.reference.ports.implementation import Precision
from mbexplore.reference.ports.values import Ours

_DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def in_precision(ours: Ours, precision: Precision) -> Ours:
    """Ours in float64, with the roundings of another precision.

    In "float32" it is computed so. In half precision the weights and the values at every tap are
    rounded. In "int8" weights and inputs of linear layers are rounded to 8 bits, a scale for each
    tensor, as dynamic quantization does.
    """
    if precision == "float32":
        model = rebuilt(ours.model, ours.model.config).float()
        return replace(ours, model=model)
    if precision == "int8":
        return replace(ours, model=_quantized(ours))
    dtype = _DTYPES[precision]
    model = rebuilt(ours.model, ours.model.config)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype).to(parameter.dtype)
    return replace(ours, model=model, edits=roundings(model.config, EVERY_TAP, dtype))


def _quantized(ours: Ours) -> PretrainedModel:
    model = rebuilt(ours.model, ours.model.config)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight = nn.Parameter(_to_steps(module.weight.detach()), False)
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(_rounding)
    return model


def _rounding(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (_to_steps(inputs[0]), *inputs[1:])


def _to_steps(x: Tensor) -> Tensor:
    """Rounded to 127 steps of each sign."""
    scale = x.abs().max().clamp(min=1e-30) / 127
    return (x / scale).round() * scale
