"""Attention in a terminal: maps in half blocks, or as numbers where they are small.

Where nobody looks, in a pipe, the tables beside them say it all and maps print nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size
from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult
from rich.style import Style
from rich.text import Text

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import max_pool
from mbexplore.analysis.tile import Tile
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.blocks import Heat, Hue, TokenStrip
from mbexplore.display.half_blocks import pixel_lines
from mbexplore.display.numbers import decimals, fixed, significant
from mbexplore.display.palette import head_hues
from mbexplore.display.terminal import render
from mbexplore.display.terminal_heat import HeatLines, Titled, hue_style
from mbexplore.text import word

WIDEST, TALLEST = 120, 40
"""Most columns and lines of one map."""
NARROWEST = 24
"""Columns that a map of a long text has at least."""
LABEL = 14
"""Columns of the names of rows."""
DIM, BOLD = Style(dim=True), Style(bold=True)
OUTSIDE = "\N{MIDDLE DOT}"
"""In place of a number outside the window."""

Shares = NDArray[np.floating]
Outside = NDArray[np.bool_]


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
    """Maps side by side, as many as there is room for, with the names of their rows."""

    for_eyes = True

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The maps, and what their colours and pixels mean."""
        block, width, tile = self.block, options.max_width, self.block.tile
        if self._has_numbers(width):
            yield HeatLines(_numbers(block))
        else:
            tile = yield from self._pictures(width, colour)
        ends = f"0 to {significant(block.high)} {block.scale}"
        yield Text(f"{ends}; {tile.pooled}" if tile.pooled else ends, style="dim")

    def _has_numbers(self, width: int) -> bool:
        _, rows, columns = self.block.tile.weights.shape
        return len(self.block.names) == 1 and rows <= 24 and LABEL + columns * 6 <= width

    def _label(self, tile: Tile, row: int) -> Text:
        """The name of a row of pixels; the marked one stands out."""
        first = row * tile.pool[0]
        marked = self.block.mark is not None and row == self.block.mark // tile.pool[0]
        place = self.block.mark if marked and self.block.mark is not None else first
        number = str(int(tile.queries.starts[place]))
        name = _cut(word(tile.queries.labels[place]), LABEL - len(number) - 3)
        mark = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}" if marked else " "
        label = set_cell_size(f"{name} {number}", LABEL - 1) + mark
        return Text.assemble((label, BOLD if marked else DIM))

    def _pictures(self, width: int, colour: bool) -> Generator[Text, None, Tile]:
        block = self.block
        count, rows, columns = block.tile.weights.shape
        in_a_line, room, tallest = _layout(width, count, columns)
        square = block.has_keys and block.tile.queries.spans == block.tile.keys.spans
        tile = block.tile.shrink(min(2 * tallest, room) if square else 2 * tallest, room)
        _, rows, columns = tile.weights.shape
        times = max(1, min(2, room // columns, 2 * tallest // rows))
        shares, outside = block.shades(tile), _outside(tile)
        hues = head_hues(tile.heads, tile.is_mean)
        for first in range(0, count, in_a_line):
            seen = range(first, min(first + in_a_line, count))
            title = Text(" " * LABEL)
            for number in seen:
                title.append_text(_title(block, number, hues[number], columns * times, colour))
            yield title
            yield from self._lines(tile, shares[list(seen)], outside, times, colour)
            yield Text(
                " " * LABEL + "  ".join(_ends(tile.keys, columns * times) for _ in seen), DIM
            )
        return tile

    def _lines(
        self, tile: Tile, shares: Shares, outside: Outside, times: int, colour: bool
    ) -> Iterator[Text]:
        """Half blocks of some maps beside each other, two rows of pixels a line."""
        panels = [
            pixel_lines(one.repeat(times, 0).repeat(times, 1),
                        outside.repeat(times, 0).repeat(times, 1), tile.kind, colour)
            for one in shares
        ]  # fmt: skip
        rows, every = len(outside), 1 if times == 2 else 4
        marked = -1 if self.block.mark is None else self.block.mark // tile.pool[0]
        for y, parts in enumerate(zip(*panels, strict=True)):
            row = min(2 * y // times, rows - 1)
            here = [r for r in (row, min((2 * y + 1) // times, rows - 1)) if r == marked]
            line = self._label(tile, here[0] if here else row)
            line = line if here or y % every == 0 else Text(" " * LABEL)
            for number, part in enumerate(parts):
                line.append("  " if number else "")
                line.append_text(part)
            yield line


def _numbers(block: AttentionMap) -> Heat:
    """A small map with its numbers in the cells."""
    tile, outside = block.tile, _outside(block.tile)
    places = min(decimals(block.high), 4)
    texts = tuple(
        tuple(OUTSIDE if out else fixed(value, places) for value, out in zip(*row, strict=True))
        for row in zip(tile.weights[0].tolist(), outside.tolist(), strict=True)
    )
    return Heat(
        np.where(outside, np.nan, tile.weights[0]),
        tuple(map(tile.queries.name_of, range(len(tile.queries)))),
        tuple(map(word, tile.keys.labels)), hue=tile.kind, low=0.0, high=block.high, texts=texts,
        mark=None if block.mark is None else (block.mark, None), scale=False, root=block.root,
    )  # fmt: skip


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
    shares = np.sqrt(weights / max(float(weights.max()), 1e-9))
    pool = -(-len(shares) // size)
    small = max_pool(shares[None], (pool, pool))[0]
    small = small.repeat(times := max(1, size // len(small)), 0).repeat(times, 1)
    panel = np.zeros((size, size))
    panel[: small.shape[0], : small.shape[1]] = small
    return pixel_lines(panel, np.zeros_like(panel, dtype=bool), hue, colour)


def _outside(tile: Tile) -> Outside:
    """The pixels (rows, columns) that the window leaves out."""
    _, rows, columns = tile.weights.shape
    window = tile.window()
    if window is None:
        return np.zeros((rows, columns), dtype=bool)
    low, high = np.array(window).T
    places = np.arange(columns)
    found: Outside = (places < low[:, None]) | (places >= high[:, None])
    return found


def _layout(width: int, maps: int, columns: int) -> tuple[int, int, int]:
    """Maps side by side, columns for each, and lines for each."""
    room = min(width, WIDEST + LABEL) - LABEL
    least = min(2 * columns, NARROWEST)
    in_a_line = max(1, min(maps, (room + 2) // (least + 2)))
    in_a_line = -(-maps // -(-maps // in_a_line))  # so that the last line is as full as the rest
    each = (room - 2 * (in_a_line - 1)) // in_a_line
    return in_a_line, each, TALLEST if maps == 1 else max(each // 2, 4)


def _title(block: AttentionMap, number: int, hue: str, width: int, colour: bool) -> Text:
    """A map's name and largest value over it, with a square in its head's hue."""
    mark = (
        Text.assemble(("\N{BLACK SQUARE} ", Style(color=hue))) if colour and width > 8 else Text()
    )
    room = width - cell_len(mark.plain)
    name = block.title_of(number)
    said = name if cell_len(name) <= room else block.names[number].removeprefix("head ")
    return mark.append(set_cell_size(said, room) + "  ", BOLD)


def _ends(keys: Axis, width: int) -> str:
    """Names of the first and the last column, as wide as a map."""
    first, last = keys.name_of(0), keys.name_of(len(keys) - 1)
    if keys.starts[0] < 0:  # offsets
        first, last = keys.labels[0], keys.labels[-1]
    if cell_len(first) + cell_len(last) + 1 > width:
        first, last = str(keys.starts[0]), str(keys.starts[-1])
    return set_cell_size(first + " " * max(1, width - cell_len(first + last)) + last, width)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1) + "\u2026"
