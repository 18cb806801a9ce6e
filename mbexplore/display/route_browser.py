"""A route as JSON for a browser."""

from __future__ import annotations

from mbexplore.display.browser import Part, short, to_part
from mbexplore.display.route_blocks import LEAST, RouteGraph
from mbexplore.display.story_browser import link_of


@to_part.register
def _(block: RouteGraph) -> Part:
    nodes = block.nodes
    return {
        "kind": "route",
        "title": nodes.title,
        "unit": nodes.unit,
        "values": [[short(x) for x in row] for row in nodes.values.tolist()],
        "rows": list(nodes.rows),
        "row_hues": list(nodes.row_hues or ()),
        "row_hold": list(nodes.row_values or ()),
        "columns": list(nodes.columns),
        "column_hold": list(nodes.column_values or ()),
        "mark": None if nodes.mark is None else nodes.mark[1],
        "least": LEAST,
        "high": short(nodes.bounds[1]),
        "edges": [
            {
                "row": edge.row, "key": edge.key, "query": edge.query, "name": edge.name,
                "share": short(edge.share), "text": edge.text, "about": edge.about,
                "hue": edge.hue, "backup": edge.backup, "open": link_of(edge.proof),
                "number": number, "count": count,
            }
            for edge, number, count in block.ends
        ],
    }  # fmt: skip
