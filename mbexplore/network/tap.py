"""Named places in the forward pass, and the hooks on them. Knows no model.

A `Tap` is an identity: hooks on it observe or edit the value that passes. `hooked` puts them there
and always takes them away again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

Action = Callable[[Tensor], Tensor | None]
"""What a hook does with a value: returns None to leave it, or what takes its place."""


class Hook(NamedTuple):
    """An action, and the thread whose passes it is for: no other is observed or edited."""

    thread: int
    action: Action


class Tap(nn.Module):
    """Returns its input, or what the hooks on it make of that.

    The hooks are a tuple that is replaced whole: PyTorch's own forward hooks are a dictionary that
    changes in place, and a pass of another thread that is just reading it then fails.

    Attributes:
        name: of the value, unique in the model: "embed", "layers.3.rot_q", ...
        hooks: in the order in which they act.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.hooks: tuple[Hook, ...] = ()

    @property
    def is_hooked(self) -> bool:
        """Whether a hook observes or edits the passes of this thread."""
        return any(hook.thread == threading.get_ident() for hook in self.hooks)

    def forward(self, x: Tensor) -> Tensor:
        """The value, as observed or edited."""
        for hook in self.hooks:
            if hook.thread == threading.get_ident():
                edited = hook.action(x)
                x = x if edited is None else edited
        return x
