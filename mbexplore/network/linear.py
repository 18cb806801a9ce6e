"""The linear layer: y = x W^T + b; knows no model.

torch hands float32 products to MKL, which on processors that are not Intel's leaves half of their
vector width unused: 94 GFLOP/s a core against 203 of oneDNN, measured on an AMD EPYC 9005. oneDNN
comes with torch too, but sums a whole row in one go, where MKL sums blocks of 192 and adds these:
its rounding errors are up to twice as large. So it is given MKL's blocks one by one, which makes
the same sums in the same order, on every product large enough to be worth it; that they are the
same to the bit is checked once, on the machine itself. `$MBEXPLORE_FAST` (`mbexplore --fast`) asks
for whole rows, on any product.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache, reduce
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

FAST = "MBEXPLORE_FAST"
"""Environment variable that asks for the fastest product, rounded more coarsely."""

SUM = 192
"""Terms that MKL sums before it adds the sum to the others'."""

HEIGHT = 256
"""Rows of x that go through at a time, at most, so that what is added up stays in the cache."""

WIDTH = 8192
"""Features made at a time: all of a layer's, but not of a vocabulary, whose weights in pieces would
take their memory once more."""

WORTH = 32
"""Rows of x from which adding up makes less work than the faster product saves."""

FEW = 3
"""Rows of x, such as those of masks at the decoder, up to which MKL does better with the weights in
the place of x: four times as fast. A single row is oneDNN's, finer and twice as fast."""


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
    if torch.compiler.is_compiling() or torch.is_grad_enabled():
        return functional.linear(x, weight, bias)
    is_plain = x.dtype == torch.float32 and x.device.type == "cpu" and x.numel() > 0
    if not is_plain or (product := onednn_product()) is None:
        return functional.linear(x, weight, bias)
    if os.environ.get(FAST):
        return product(x, weight, bias)
    if not mkl_is_slow():
        return functional.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])  # (rows, terms)
    rows, terms = flat.shape
    if rows == 1:
        output = product(flat, weight, bias)
    elif rows <= FEW:
        output = functional.linear(weight, flat).T.contiguous()
        output = output if bias is None else output.add_(bias)
    elif rows >= WORTH and terms > SUM and terms % SUM == 0:
        output = _by_sums(flat, weight, bias, product)
    else:
        return functional.linear(x, weight, bias)
    return output.reshape(*x.shape[:-1], len(weight))


def _by_sums(
    x: Tensor, weight: Tensor, bias: Tensor | None, product: Callable[..., Tensor]
) -> Tensor:
    """The product as MKL sums it: over `SUM` terms of each row at a time, the bias with the first.

    Args:
        x: (rows, terms).
        weight: (out_features, terms).
        bias: (out_features,), or None.
        product: of whole rows.
    """
    output = x.new_empty(len(x), len(weight))
    parts = -(-len(x) // HEIGHT)  # of like size: oneDNN sums a single row in another order
    biases = [None] * -(-len(weight) // WIDTH) if bias is None else torch.split(bias, WIDTH)
    wide = zip(torch.split(weight, WIDTH), biases, torch.split(output, WIDTH, dim=1), strict=True)
    for some, added, columns in wide:
        # oneDNN is fast on weights that lie in one piece.
        pieces = torch.split(some, SUM, dim=1)
        weights: Iterable[Tensor] = (piece.contiguous() for piece in pieces)
        if parts > 1:  # for one alone, a piece is better used while it is in the cache
            weights = list(weights)
        firsts = [added, *[None] * (len(pieces) - 1)]
        for rows, into in zip(
            *(torch.tensor_split(one, parts) for one in (x, columns)), strict=True
        ):
            blocks = zip(torch.split(rows, SUM, dim=1), weights, firsts, strict=True)
            into.copy_(reduce(Tensor.add_, (product(*block) for block in blocks)))
    return output


@cache
def onednn_product() -> Callable[..., Tensor] | None:
    """The product of plain tensors by oneDNN, if this build of torch has it and it is right."""
    try:
        pointwise: Callable[..., Tensor] = torch.ops.mkldnn._linear_pointwise
        x, weight = torch.ones(2, 3), torch.arange(6.0).view(2, 3)
        found = pointwise(x, weight, torch.ones(2), "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    if found.tolist() != [[4.0, 13.0]] * 2:
        return None
    return lambda x, weight, bias: pointwise(x, weight, bias, "none", [], "")


@cache
def mkl_is_slow() -> bool:
    """Whether MKL leaves vectors unused, as on AMD with AVX-512, and sums as `_by_sums` does."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
        return False
    info = Path("/proc/cpuinfo")
    product = onednn_product()
    if product is None or not info.exists() or "AuthenticAMD" not in info.read_text("utf-8"):
        return False
    with torch.no_grad():
        x, weight = (torch.arange(n * 2.0 * SUM).sin().view(n, -1) for n in (HEIGHT + 1, 64))
        return torch.equal(
            _by_sums(x, weight, x[0, :64], product), functional.linear(x, weight, x[0, :64])
        )
