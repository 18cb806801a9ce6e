"""A route in a terminal: a grid of the tokens on the way, and beside each layer its heads."""

from __future__ import annotations

import math

from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from mbexplore.display.route_blocks import LEAST, MOST, RouteGraph
from mbexplore.display.terminal import render
from mbexplore.display.terminal_heat import hue_style
from mbexplore.text import shortened, shown

SIGNS = ((MOST, "\N{BLACK CIRCLE}"), (LEAST, "\N{WHITE CIRCLE}"), (-LEAST, "\N{MIDDLE DOT}"))
"""Of a place, by the least share that it has; below them all a minus."""
COLUMNS, LETTERS = 6, 12
"""Most tokens of the grid, those that carry most, and letters of each."""


@render.register
def _(block: RouteGraph) -> ConsoleRenderable:
    columns, nodes = _columns(block), block.nodes
    grid = Table.grid(padding=(0, 2))
    for width in (max(map(len, nodes.rows)), *([LETTERS] * len(columns))):
        grid.add_column(no_wrap=True, min_width=min(width, LETTERS))
    grid.add_column(overflow="fold")
    for row in reversed(range(len(nodes.rows))):
        hue = nodes.row_hues[row] if nodes.row_hues else "plain"
        signs = (Text(_sign(float(nodes.values[row, i])), justify="center") for i in columns)
        grid.add_row(Text(nodes.rows[row], style=hue_style(hue)), *signs, _heads(block, row))
    names = (shortened(_name(block, i), LETTERS) for i in columns)
    grid.add_row(Text(""), *(Text(name, justify="center") for name in names), Text(""))
    return Group(Text(nodes.title, style="bold"), grid, Text())


def _heads(block: RouteGraph, row: int) -> Text:
    """The heads that write a state, those of one way together."""
    ways: dict[str, list[str]] = {}
    for edge in block.edges:
        if edge.row + 1 == row:
            ends = dict.fromkeys(_name(block, i) for i in (edge.key, edge.query))
            way = " \N{RIGHTWARDS ARROW} ".join(ends)
            ways.setdefault(way, []).append(f"{edge.name} {edge.text}")
    text = "; ".join(f"{', '.join(names)}: {way}" for way, names in ways.items())
    hue = block.nodes.row_hues[row] if block.nodes.row_hues else "plain"
    return Text(text, style=hue_style(hue))


def _name(block: RouteGraph, column: int) -> str:
    """The token of the text itself, where the other one has another."""
    return shown(block.nodes.columns[column].partition(" / ")[0])


def _columns(block: RouteGraph) -> list[int]:
    """The tokens on the way, and those that carry most."""
    import numpy as np

    most = np.nanmax(np.abs(np.nan_to_num(block.nodes.values)), axis=0)
    ends = {place for edge in block.edges for place in (edge.key, edge.query)}
    order = sorted(range(len(most)), key=lambda i: (i not in ends, -most[i]))
    return sorted(i for i in order[:COLUMNS] if i in ends or most[i] >= LEAST)


def _sign(share: float) -> str:
    if math.isnan(share):
        return " "
    return next((sign for least, sign in SIGNS if share >= least), "\N{MINUS SIGN}")
