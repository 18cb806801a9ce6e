"""Any picture as a page: its heat maps and bars tell their names and numbers when pointed at."""

from __future__ import annotations

import math
from base64 import b64encode
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from mbexplore.plots.cells import Cells, find_cells
from mbexplore.web import build_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CELLS = 200_000
"""Beyond so many cells a picture tells no numbers: the page would take longer to open than help."""


def picture_page(figure: Figure, name: str, command: str) -> str:
    """A page in one file that needs no network; without scripts it still shows the picture.

    Args:
        figure: whose title becomes that of the page.
        name: the title where it has none.
        command: that makes it again.
    """
    title, _, line = (figure.get_suptitle() or name).partition("\n")
    figure.suptitle("")
    buffer = BytesIO()
    figure.savefig(buffer, format="svg")
    cells = list(find_cells(figure))
    parts = [_part(each) for each in cells] if _count(cells) <= MOST_CELLS else []
    hint = "Point at a cell or a bar to read its number." if parts else ""
    picture = b64encode(buffer.getvalue()).decode()
    image = f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{picture}">'
    note = ". ".join(filter(None, (line, hint)))
    return build_page(title, note, command, {"parts": parts}, "picture", image)


def _count(cells: list[Cells]) -> int:
    return sum(each.values.size for each in cells)


def _part(cells: Cells) -> dict[str, Any]:
    """What `mountPicture` of `mbexplore.web` shows; null is a cell without a number."""
    return {
        "title": cells.title,
        "what": cells.what,
        "box": [round(share, 5) for share in cells.box],
        "rows": cells.rows,
        "columns": cells.columns,
        "values": [[_short(value) for value in row] for row in cells.values.tolist()],
    }


def _short(value: float) -> float | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() else float(f"{value:.4g}")
