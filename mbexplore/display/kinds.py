"""Finds the renderers of blocks that have files of their own.

The blocks of a module "NAME_blocks" are rendered by "NAME_terminal", "NAME_figure" and
"NAME_browser" beside it, which register themselves when they are first needed.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mbexplore.display.blocks import Block


def load_renderers(block: Block, medium: str, function: Any) -> None:
    """Imports what renders a block in a medium.

    Args:
        block: of a kind that has no renderer yet.
        medium: "terminal", "figure" or "browser".
        function: of a single dispatch, with which the renderer registers itself.

    Raises:
        TypeError: there is none.
    """
    kind = type(block)
    wanted = f"{kind.__module__.removesuffix('_blocks')}_{medium}"
    if kind.__module__.endswith("_blocks") and find_spec(wanted) is not None:
        import_module(wanted)  # waits where another thread imports it
    if function.dispatch(kind) is function.dispatch(object):
        raise TypeError(f"no {medium} renderer for {kind.__name__}")
