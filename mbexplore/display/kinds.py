"""Finds the renderers of blocks that have files of their own.

The blocks of a module "NAME_blocks" are rendered by "NAME_terminal", "NAME_figure" and
"NAME_browser" beside it, which register themselves when they are first needed.
"""

from __future__ import annotations

from functools import singledispatch
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block

if TYPE_CHECKING:
    from functools import _SingleDispatchCallable


def renderer(medium: str) -> _SingleDispatchCallable[Any]:
    """A function of blocks with which each kind registers what renders it in a medium.

    Args:
        medium: "terminal", "figure" or "browser".
    """

    @singledispatch
    def render(block: Block) -> Any:
        """A block in the medium; raises TypeError where nothing renders its kind."""
        kind = type(block)
        wanted = f"{kind.__module__.removesuffix('_blocks')}_{medium}"
        if kind.__module__.endswith("_blocks") and find_spec(wanted) is not None:
            import_module(wanted)  # waits where another thread imports it
        if render.dispatch(kind) is render.dispatch(object):
            raise TypeError(f"no {medium} renderer for {kind.__name__}")
        return render(block)

    return render
