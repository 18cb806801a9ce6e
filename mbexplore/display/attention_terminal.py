"""Attention in a terminal: maps as matrices, with numbers where they are small.

Where nobody looks, in a pipe, the tables beside them say it all and maps print nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.cells import set_cell_size
from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.blocks import Heat, Hue, TokenStrip
from mbexplore.display.numbers import decimals, fixed, significant
from mbexplore.display.terminal_heat import (
    LABEL,
    HeatLines,
    Titled,
    hue_style,
    pixel_lines,
    render,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WIDEST, TALLEST = 120, 40
"""Most columns and lines of one map."""
NARROWEST = 24
"""Columns that a map of a long text has at least."""
SMALL = 24
"""Most rows of a map with its numbers in the cells."""
DIM = Style(dim=True)
OUTSIDE = "\N{MIDDLE DOT}"
"""In place of a number outside the window."""


@render.register
def _(block: AttentionMap) -> ConsoleRenderable:
    return MapLines(block)


@render.register
def _(block: ModelView) -> ConsoleRenderable:
    return ModelLines(block)


@render.register
def _(block: Arcs) -> ConsoleRenderable:
    """The text, each token as dark as the strongest link that is shown to it."""
    axis = block.arcs.axis
    values = [0.0] * len(axis)
    for link in block.shown:
        values[link.key] = max(values[link.key], link.weight)
    who = "any query" if block.mark is None else axis.name_of(block.mark)
    unit = f"largest weight from {who} to each token"
    return render(
        TokenStrip(axis.labels, tuple(values), block.title, unit, block.arcs.kind, block.mark)
    )


class MapLines(Titled[AttentionMap]):
    """Maps side by side, as many as there is room for; the leftmost has the names of rows."""

    for_eyes = True

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The maps, and what their colours and pixels mean."""
        block, width = self.block, options.max_width
        count, rows, columns = block.tile.weights.shape
        if count == 1 and rows <= SMALL and LABEL + columns * 6 <= width:
            yield HeatLines(_with_numbers(block))
            pooled = ""
        else:
            across, each = _layout(width, count, columns)
            most = TALLEST if count == 1 else max(each // 2, 4)
            heats = block.heats(2 * most if colour else most, each)
            pooled = block.tile.shrink(2 * most if colour else most, each).pooled
            for first in range(0, count, across):
                grid = Table.grid(padding=(0, 1))
                shown = heats[first : first + across]
                for number, _ in enumerate(shown):
                    grid.add_column(width=each + (LABEL if number == 0 else 1))
                unnamed = ("",) * len(heats[0].rows)
                rest = (replace(one, rows=unnamed, scale=False) for one in shown[1:])
                grid.add_row(*map(HeatLines, (replace(shown[0], scale=False), *rest)))
                yield grid
        ends = f"0 to {significant(block.high)} {block.scale}"
        yield Text(f"{ends}; {pooled}" if pooled else ends, style=DIM)


def _layout(width: int, maps: int, columns: int) -> tuple[int, int]:
    """Maps side by side, and columns for each."""
    room = min(width, WIDEST + LABEL) - LABEL
    least = min(2 * columns, NARROWEST)
    across = max(1, min(maps, (room + 2) // (least + 2)))
    across = -(-maps // -(-maps // across))  # so that the last line is as full as the rest
    return across, (room - 2 * (across - 1)) // across


def _with_numbers(block: AttentionMap) -> Heat:
    """A small map with its numbers in the cells."""
    [heat] = block.heats(SMALL, WIDEST)
    places = min(decimals(block.high), 4)
    texts = (
        tuple(fixed(value, places) if value == value else OUTSIDE for value in row)
        for row in heat.values.tolist()
    )
    return replace(heat, texts=tuple(texts), scale=False)


class ModelLines(Titled[ModelView]):
    """Every head of every layer as a thumbnail, a layer a row, the deepest on top."""

    for_eyes = True

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The layers with the largest weight of each map under it, and the scale."""
        block, maps = self.block, self.block.maps
        beside = len(f"{len(maps) - 1} global") + 1
        heads = len(maps[0].weights)
        size = max(4, min((min(options.max_width, 160) - beside) // heads - 1, 16) // 2 * 2)
        names = [name.removeprefix("head ") for name in maps[0].names]
        yield Text(" " * beside + "".join(set_cell_size(n, size + 1) for n in names), DIM)
        for each in reversed(maps):
            panels = [_thumbnail(one, size, each.kind, colour) for one in each.weights]
            for y, parts in enumerate(zip(*panels, strict=True)):
                name = f"{each.layer} {each.kind}" if y == 0 else ""
                line = Text.assemble((name.ljust(beside), hue_style(each.kind)))
                for part in parts:
                    line.append_text(part)
                    line.append(" ")
                yield line
            under = [
                "off" if block.is_off(each.layer, head) else f"{float(one.max()):.2f}"[:size]
                for head, one in enumerate(each.weights)
            ]
            yield Text(" " * beside + "".join(one.ljust(size + 1) for one in under), DIM)
        pooled = f"; {maps[0].pooled}" if maps[0].pooled else ""
        yield Text(f"The number under a map is its largest weight; {block.scale}{pooled}.", DIM)


def _thumbnail(weights: NDArray[np.float32], size: int, hue: Hue, colour: bool) -> list[Text]:
    import numpy as np

    from mbexplore.analysis.maps import max_pool

    shares = np.sqrt(weights / max(float(weights.max()), 1e-9))
    pool = -(-len(shares) // size)
    small = max_pool(shares[None], (pool, pool))[0]
    small = small.repeat(times := max(1, size // len(small)), 0).repeat(times, 1)
    panel = np.zeros((size, size))
    panel[: small.shape[0], : small.shape[1]] = small
    return pixel_lines(panel, hue, colour)
