"""A long text in chunks: what is made of each token alone, made for some tokens at a time.

The intermediate values then stay in a processor's cache and their memory is used again. The
result, and its gradient, are those of the whole.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

CHUNK = 3 * 2**18
"""Values of `x` that go through a projection together: 1,024 tokens of ModernBERT-base."""


def in_chunks(
    function: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor, dim: int
) -> tuple[Tensor, ...]:
    """What `function` makes of `x`.

    Args:
        function: takes some tokens of `x`; each of its results has these tokens on axis `dim`.
        x: (batch, seq, _).
        dim: of the results.
    """
    seq, width = x.shape[1], x.shape[-1]
    size = max(1, CHUNK // width)
    if seq <= size:
        return function(x)
    whole: list[Tensor] = []
    for start in range(0, seq, size):
        some = function(x[:, start : start + size])
        if not whole:
            whole = [y.new_empty(*y.shape[:dim], seq, *y.shape[dim + 1 :]) for y in some]
        for into, y in zip(whole, some, strict=True):
            into.narrow(dim, start, y.shape[dim]).copy_(y)
    return tuple(whole)
