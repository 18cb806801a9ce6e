"""Finds the renderers of blocks that have files of their own.

The blocks of a module "NAME_blocks" are rendered by "NAME_terminal", "NAME_figure" and
"NAME_browser" beside it, which register themselves when they are first needed.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec

from mbexplore.display.blocks import Block


def load_renderers(block: Block, medium: str) -> None:
    """Imports what renders a block in a medium.

    Args:
        block: of a kind that has no renderer yet.
        medium: "terminal", "figure" or "browser".

    Raises:
        TypeError: there is none.
    """
    module = type(block).__module__
    wanted = f"{module.removesuffix('_blocks')}_{medium}"
    unknown = not module.endswith("_blocks") or find_spec(wanted) is None
    if unknown or wanted in sys.modules:
        raise TypeError(f"no {medium} renderer for {type(block).__name__}")
    import_module(wanted)
