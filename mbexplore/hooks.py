"""The only code that puts hooks on a model's taps, and takes them away again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor

from mbexplore.errors import RangeError
from mbexplore.network.model import PretrainedModel
from mbexplore.network.tap import Action, Hook, Tap

Progress = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""

_HOOKING = threading.Lock()
"""Held while a tap's hooks are replaced, so that none is lost between two threads."""


def find_tap(model: PretrainedModel, name: str) -> Tap:
    """The tap of that name.

    Raises:
        RangeError: the model has none.
    """
    taps = model.taps
    if name not in taps:
        short = dict.fromkeys(tap.rpartition(".")[2] for tap in taps if "." in tap)
        raise RangeError(
            f"There is no tap {name!r}; choose 'embed' or 'layers.N.T' with N from 0 to "
            f"{model.config.num_hidden_layers - 1} and T one of {', '.join(short)}."
        )
    return taps[name]


@contextmanager
def hooked(model: PretrainedModel, actions: Mapping[str, Action]) -> Iterator[None]:
    """Runs an action on the value at each named tap, for as long as the `with` block lasts.

    An action that returns None only observes; what it returns otherwise takes the value's place.
    The hooks are gone after the block, whatever ends it. They act on the passes of this thread
    alone: another that runs the same model meanwhile is neither observed nor edited.

    Args:
        model: whose taps they are.
        actions: by the name of the tap: "embed", or "layers.N.T" with T one of `resid_pre`, `q`,
            `k`, `v`, `rot_q`, `rot_k`, `scores`, `pattern`, `z`, `attn_out`, `resid_mid`,
            `mlp_post`, `mlp_out` and `resid_post`; see `Recording` for their shapes.

    Raises:
        RangeError: a name is no tap; nothing is hooked then.
    """
    known = model.taps  # looked up in the model once
    taps = {name: known[name] if name in known else find_tap(model, name) for name in actions}
    with ExitStack() as stack:
        for name, tap in taps.items():
            stack.enter_context(_hooked(tap, Hook(threading.get_ident(), actions[name])))
        yield


@contextmanager
def _hooked(tap: Tap, hook: Hook) -> Iterator[None]:
    with _HOOKING:
        tap.hooks += (hook,)
    try:
        yield
    finally:
        with _HOOKING:
            tap.hooks = tuple(each for each in tap.hooks if each is not hook)


@contextmanager
def watched(model: PretrainedModel, progress: Progress) -> Iterator[None]:
    """Calls `progress` after each layer, for as long as the `with` block lasts.

    Args:
        model: that runs in the block.
        progress: called with the layers done and all there are; what it raises ends the pass.
    """
    layers = model.config.num_hidden_layers

    def report(done: int) -> Action:
        return lambda _: progress(done, layers)

    with hooked(model, {f"layers.{i}.resid_post": report(i + 1) for i in range(layers)}):
        yield


def keep_shape(name: str, action: Action) -> Action:
    """An action that may not change the shape of the value at the tap of that name."""

    def edit(value: Tensor) -> Tensor | None:
        edited = action(value)
        if edited is not None and getattr(edited, "shape", None) != value.shape:
            found = tuple(edited.shape) if isinstance(edited, Tensor) else repr(edited)
            raise RangeError(
                f"The edit of {name!r} gives {found} for a value of shape {tuple(value.shape)}; "
                "return a tensor of that shape, or None."
            )
        return edited

    return edit
