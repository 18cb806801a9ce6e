"""Rotary position embedding: pure functions of positions; knows no model and no config.

Su et al. 2021 (arXiv:2104.09864). Dimension `m` of the first half of a head is paired with
dimension `m + head_dim / 2`; at position `p` the pair is turned by the angle `p * w_m`, with
`w_m = theta ** (-2m / head_dim)`, so the score of a query at `i` and a key at `j` depends on
`i - j` alone.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from mbexplore.network.scaling import RopeScaling


def inverse_frequencies(theta: float, head_dim: int, scaling: RopeScaling | None = None) -> Tensor:
    """Angular frequencies in radians per token, float32, shape (head_dim / 2,), falling."""
    exponents = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    plain = 1.0 / theta**exponents
    if scaling is None:
        return plain
    if scaling.rope_type == "linear":
        return plain / scaling.factor
    divided = 1.0 / (scaling.factor * theta**exponents)
    low, high = scaling.ends(theta, head_dim)
    kept = 1.0 - ((torch.arange(len(plain)) - low) / (high - low)).clamp(0, 1)  # (head_dim / 2,)
    return divided * (1.0 - kept) + plain * kept


@lru_cache(maxsize=16)
def rope_tables(
    theta: float,
    head_dim: int,
    length: int,
    dtype: torch.dtype,
    device: torch.device,
    scaling: RopeScaling | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every pair's angle at positions 0 .. length - 1.

    Angles are float32 whatever the model's dtype, as in transformers. Half-precision models
    turn in float32 too, so their tables stay float32. Cached: every layer of a kind shares them.

    Returns:
        `(cos, sin)`, each of shape (length, head_dim / 2).
    """
    # A tensor made in inference mode could not be used by a later backward pass.
    with torch.inference_mode(False), torch.no_grad():
        positions = torch.arange(length, dtype=torch.float32)
        angles = torch.outer(positions, inverse_frequencies(theta, head_dim, scaling))
        magnitude = 1.0 if scaling is None else scaling.attention_factor
        cos, sin = angles.cos() * magnitude, angles.sin() * magnitude
        wide = torch.promote_types(dtype, torch.float32)
        return cos.to(device, wide), sin.to(device, wide)


def apply_rope(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns every pair of `x` by its position's angle.

    Args:
        x: queries or keys, (..., seq, head_dim).
        cos: table (..., seq, head_dim / 2); see `rope_tables`.
        sin: the same of sines.

    Returns:
        The rotated tensor, of the shape and dtype of `x`.
    """
    first, second = x.to(cos.dtype).chunk(2, dim=-1)
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        left = (first * cos).addcmul_(second, sin, value=-1)
        right = (second * cos).addcmul_(first, sin)
        return torch.cat((left, right), dim=-1).to(x.dtype)
    turned = torch.empty(x.shape, dtype=cos.dtype, device=x.device)
    left, right = turned.chunk(2, dim=-1)  # without a copy, which takes a fifth of the time
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=right).addcmul_(first, sin)
    return turned.to(x.dtype)
