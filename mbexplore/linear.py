"""The linear layer: y = x W^T + b; knows no model.

torch hands float32 products to MKL, which on processors that are not Intel's leaves half of their
vector width unused: 94 GFLOP/s a core against 203 of oneDNN, measured on an AMD EPYC 9005. oneDNN
comes with torch too. It sums in another order, with rounding errors up to twice as large, so it is
taken only where `$MBEXPLORE_FAST` (`mbexplore --fast`) asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

FAST = "MBEXPLORE_FAST"
"""Environment variable that asks for the faster product."""


class Linear(nn.Linear):
    """`nn.Linear` with the same parameters; gradients and other devices take torch's own path."""

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The product with a weight's rows, x W^T + b.

    Args:
        x: (..., in_features).
        weight: (out_features, in_features).
        bias: (out_features,), or None.
    """
    if not os.environ.get(FAST) or torch.compiler.is_compiling() or torch.is_grad_enabled():
        return functional.linear(x, weight, bias)
    is_plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    if not is_plain or (product := onednn_product()) is None:
        return functional.linear(x, weight, bias)
    return product(x, weight, bias, "none", [], "")


@cache
def onednn_product() -> Callable[..., Tensor] | None:
    """The product of plain tensors by oneDNN, if this build of torch has it and it is right."""
    try:
        product: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
        x, weight = torch.ones(2, 3), torch.arange(6.0).view(2, 3)
        found = product(x, weight, torch.ones(2), "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    return product if found.tolist() == [[4.0, 13.0]] * 2 else None
