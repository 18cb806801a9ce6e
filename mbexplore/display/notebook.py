"""Pictures for notebooks, which keep all that they show."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_small_png(figure: Figure) -> bytes:
    """A figure as a small file: fewer dots than on a page, and 64 colours."""
    from PIL import Image

    from mbexplore.display.figure import to_bytes
    from mbexplore.display.style import SCREEN

    buffer = BytesIO()
    with Image.open(BytesIO(to_bytes(figure, "png", replace(SCREEN, dpi=72)))) as picture:
        picture.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()
