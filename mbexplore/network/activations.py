"""The activations that config.json may name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from mbexplore.errors import ModelError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,  # the exact erf one
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


def build_activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation that config.json names.

    Raises:
        ModelError: it is none of `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ModelError(
            f"config.json asks for the activation {name!r}; mbexplore has {', '.join(ACTIVATIONS)}."
        )
    return ACTIVATIONS[name]
