"""The linear layer: y = x W^T + b; knows no model.

torch hands float32 products to MKL, which leaves half of the vector width of processors that are
not Intel's unused: 94 GFLOP/s a core against 203 of oneDNN on an AMD EPYC 9005. On an Intel Xeon
with AVX-512 the two are level from 64 rows on, and oneDNN is 1.3 times as fast at 16 once the
weights are packed in its own layout; in bfloat16 packing doubles the speed up to 64 rows. So
products of 16 rows and more go to oneDNN, and a layer that is used again packs its weights.
Weights that a file is mapped for leave memory when they are packed, and after their first product:
one short text then holds a layer's at a time, and a session those that are packed.

oneDNN's rounding errors against float64 are up to 1.7 times MKL's from 16 rows on (up to 3.4 times
below, where MKL sums few rows more finely; those are left to it).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from mbexplore.network.pages import free_mapped, join_pages

ROWS = 16
"""Rows of x from which the product is oneDNN's."""

HALF = (torch.bfloat16, torch.float16)


class Linear(nn.Linear):
    """`nn.Linear` with the same parameters; gradients and other devices take torch's own product.

    The packed weights are made from the second large product on, so that one short text pays
    nothing for them, and made anew when the weights change: by an optimiser, `copy_`, `to`, or a
    new parameter. A change through `weight.data` or numpy is not seen.
    """

    keeps_packed = True
    """Whether weights are packed for later products; where memory counts for more, they aren't, and
    those that are mapped from a file leave memory after each product."""
    _blocks = 1
    """Blocks of rows that the weights are packed in."""
    _state: tuple[object, tuple[Tensor, ...]] = (None, ())
    """What identifies the weights last used, and these packed; replaced whole, for threads."""

    def reset_parameters(self) -> None:
        """What torch starts from; nothing where there are no values yet, which would take long."""
        if not self.weight.is_meta:
            super().reset_parameters()

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features), in the weights' dtype.

        Where only the linear layers are in half precision, what comes from a norm is rounded here.
        """
        if input.dtype == torch.float32 and self.weight.dtype in HALF:
            input = input.to(self.weight.dtype)
        # A compiler sees torch's product alone: it can't follow how oneDNN's is looked for.
        kernel = onednn() if self._suits(input) else None
        if kernel is None:
            return self._product(input, self.weight)
        is_large = input.numel() >= ROWS * self.in_features
        before, weights = self._state, self._prepared(kernel, is_large)
        if is_large:
            output = self._large_product(kernel, input, *weights)
        else:
            output = self._product(input, self.weight.detach())
        # The weights were read for the first time, or packed, or are read anew each time.
        if self._state is not before or not self.keeps_packed:
            free_mapped(self.weight)
        return output

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        """What torch makes of it."""
        return functional.linear(x, weight, self.bias)

    def _large_product(self, kernel: OneDnn, x: Tensor, *weights: Tensor) -> Tensor:
        """What oneDNN makes of it; `weights` are the blocks, packed or not."""
        return kernel.product(x, *weights, self.bias)

    def _suits(self, x: Tensor) -> bool:
        """Whether oneDNN's product may be taken."""
        if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
            return False
        if torch.is_grad_enabled() and any(p.requires_grad for p in (x, *self.parameters())):
            return False
        return (
            x.device.type == self.weight.device.type == "cpu"
            and x.dtype == self.weight.dtype
            and x.dtype in (torch.float32, torch.bfloat16)
        )

    def _prepared(self, kernel: OneDnn, is_large: bool) -> tuple[Tensor, ...]:
        """The weights: as they are for their first product, packed for the large ones after it."""
        weight = self.weight.detach()
        blocks = weight.chunk(self._blocks)
        if weight.is_inference() or not self.keeps_packed:  # or: no version tells of a change
            return blocks
        used = (weight.data_ptr(), weight._version, weight.dtype, weight.shape)
        before, packed = self._state
        if used != before:
            self._state = (used, ())
        if used != before or not is_large:
            return blocks
        if not packed:
            packed = tuple(map(kernel.pack, blocks))
            self._state = (used, packed)
        return packed

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What `to`, `half`, ... do: new weights may come to lie where the old ones lay."""
        self._state = (None, ())
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles leave the packed weights out."""
        return {name: value for name, value in self.__dict__.items() if name != "_state"}


class GatedLinear(Linear):
    """act(x W^T + b) * (x V^T + c), where V and c are the second halves of `weight` and `bias`.

    A large product meets GELU while it is in the processor's registers: a tenth of the time less.
    """

    _blocks = 2

    def __init__(
        self, in_features: int, out_features: int, act: Callable[[Tensor], Tensor], bias: bool
    ) -> None:
        super().__init__(in_features, 2 * out_features, bias=bias)
        self.act = act

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        inner, gate = super()._product(x, weight).chunk(2, dim=-1)
        return self.act(inner) * gate

    def _large_product(self, kernel: OneDnn, x: Tensor, *weights: Tensor) -> Tensor:
        first, second = (None, None) if self.bias is None else self.bias.chunk(2)
        if self.act is functional.gelu:
            inner = kernel.product(x, weights[0], first, "gelu")
        else:
            inner = self.act(kernel.product(x, weights[0], first))
        return kernel.product(x, weights[1], second).mul_(inner)


@dataclass(frozen=True)
class OneDnn:
    """torch's private operators for oneDNN's linear layer, without gradients.

    Attributes:
        pack: a weight (out_features, in_features) in oneDNN's layout.
        product: x W^T + b of `x` (..., in_features), a weight, packed or not, and a bias or None;
            with "gelu" after these, the GELU of that.
    """

    pack: Callable[[Tensor], Tensor]
    product: Callable[..., Tensor]


@cache
def onednn() -> OneDnn | None:
    """The linear layer of oneDNN, if this build of torch has it and it gives the right product.

    The one place where these private names stand; without them every product is torch's own.
    """
    try:
        ops = torch.ops.mkldnn

        def pack(weight: Tensor) -> Tensor:
            packed: Tensor = ops._reorder_linear_weight(weight, 512)  # rows; others do as well
            with suppress(AttributeError):  # an older torch
                join_pages(ops.data_ptr(packed), ops._nbytes(packed))
            return packed

        def product(x: Tensor, weight: Tensor, bias: Tensor | None, after: str = "none") -> Tensor:
            made: Tensor = ops._linear_pointwise(x, weight, bias, after, [], "none")
            return made

        with torch.no_grad():
            x, weight, bias = torch.ones(2, 3), torch.arange(6.0).view(2, 3), torch.ones(2)
            found = [product(x, each, bias) for each in (weight, pack(weight))]
            found.append(product(x, weight, bias, "gelu").round())
    except (AttributeError, RuntimeError, NotImplementedError, TypeError):
        return None
    kernel = OneDnn(pack, product)
    return kernel if all(each.tolist() == [[4.0, 13.0]] * 2 for each in found) else None
