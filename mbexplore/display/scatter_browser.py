"""Points on two measures as JSON for a browser."""

from __future__ import annotations

from mbexplore.display.browser import Part, short, to_part
from mbexplore.display.scatter_blocks import Scatter, Values


def _short(values: Values) -> list[float | None]:
    return [None if value is None else short(value) for value in values]


@to_part.register
def _(block: Scatter) -> Part:
    return {
        "kind": "scatter",
        "title": block.title,
        "names": list(block.names),
        "measures": {name: _short(values) for name, values in block.measures.items()},
        "theirs": {name: _short(values) for name, values in block.theirs.items()},
        "theirs_name": block.theirs_name,
        "x": block.x,
        "y": block.y,
        "hues": [block.hue(i) for i in range(len(block.names))],
        "hold": [dict(one) for one in block.select],
        "axes": list(block.hold),
        "mark": block.mark,
        "shares": sorted(block.shares),
    }
