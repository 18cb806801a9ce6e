"""Attention maps printed in a terminal, as heat maps in half blocks with the tokens beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from mbexplore.analysis.maps import head_names
from mbexplore.display.half_blocks import Blocks, Ramp, fit
from mbexplore.display.palette import ON_BLACK, head_hues, ramp, showing_root
from mbexplore.text import word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.axis import Axis
    from mbexplore.analysis.band import BandMap
    from mbexplore.analysis.maps import LayerMap
    from mbexplore.analysis.tile import Tile
    from mbexplore.network.config import LayerKind

Line = list[Segment]
Title = tuple[str, str]
"""A map's name, and the hue of its head."""

WIDEST, TALLEST = 120, 40
"""The most columns and lines of one map."""

NARROWEST = 24
"""Columns that a map of a long text has at least, so fewer stand side by side in a narrow one."""

LABEL = 14
"""Columns for the names of rows."""

PANEL = 12
"""Columns that a small map of layers by heads has at least."""

FAINT = Style(dim=True)


def map_pixels(console: Console, maps: int) -> int:
    """The most rows and columns for which so many maps fit a terminal."""
    _, columns, lines = _layout(console, maps, NARROWEST)
    return min(columns, 2 * lines)


def band_pixels(console: Console, bands: int) -> int:
    """The most rows for which so many bands fit a terminal."""
    return 2 * _layout(console, bands, NARROWEST)[2]


def print_maps(console: Console, maps: LayerMap) -> None:
    """Every head of a layer, as many side by side as the terminal holds."""
    values = (maps.weights / maps.scale) ** (1 / showing_root(maps.weights))
    names, titles = _row_names(maps.axis, maps.pool), _titles(maps.heads, maps.is_mean)
    _print_panels(console, values, titles, names, ramp(ON_BLACK[maps.kind]))
    if maps.pooled:
        console.print(f"{maps.pooled}.", style="dim")


def print_tiles(
    console: Console, tiles: Sequence[Tile], heads: Sequence[int], mean: bool, kind: LayerKind
) -> None:
    """The same part of the maps of some heads, as many side by side as the terminal holds."""
    first, weights = tiles[0], np.stack([each.weights for each in tiles])
    values = (weights / max(float(weights.max()), 1e-9)) ** (1 / showing_root(weights))
    names = _row_names(first.queries, first.pool[0])
    _print_panels(console, values, _titles(heads, mean), names, ramp(ON_BLACK[kind]))
    columns = f"{first.keys.starts[0]} to {first.keys.stops[-1] - 1}"
    console.print(f"Columns are tokens {columns}{first.pooled}.", style="dim")


def print_band(console: Console, band: BandMap) -> None:
    """Every head of a local layer by offset."""
    values = np.sqrt(band.weights / max(float(band.weights.max()), 1e-9))
    count, _, width = values.shape
    room = _layout(console, count, width)[1]
    held = -(-width // room)
    values = np.maximum.reduceat(values, range(0, width, held), axis=2)
    names = _row_names(band.axis, band.pool)
    titles = _titles(band.heads, band.is_mean)
    _print_panels(console, values, titles, names, ramp(ON_BLACK["local"]))
    low, high = int(band.offsets[0]), int(band.offsets[-1])
    pooled = f"; {band.pooled}" if band.pooled else ""
    each = f", {held} to a cell" if held > 1 else ""
    console.print(f"Columns are offsets {low:+d} to {high:+d}{each}{pooled}.", style="dim")


def print_model(console: Console, maps: Sequence[LayerMap]) -> None:
    """Every head of every layer as a thumbnail, a layer a row."""
    columns = len(maps[0].weights)
    beside = len(f"{len(maps) - 1} global") + 1
    size = (min(console.width, 160) - beside) // columns - 1
    size = max(3, min(size, 15) - (size % 2 == 0))  # odd: half a line is left between layers
    titles = _titles(maps[0].heads, maps[0].is_mean)
    heading = [_title_line(console, each, size) for each in titles]
    _print_lines(console, _side_by_side([[[Segment(" " * beside)]], *([line] for line in heading)],
                                        gap=1, first_gap=0))  # fmt: skip
    for layer_map in maps:
        panels = [
            _lines(console, fit(np.sqrt(each / max(float(each.max()), 1e-9)), size, -(-size // 2)),
                   ramp(ON_BLACK[layer_map.kind]))
            for each in layer_map.weights
        ]  # fmt: skip
        name = f"{layer_map.layer} {layer_map.kind}".ljust(beside)
        style = Style(color=ON_BLACK[layer_map.kind][2][1])
        labels = [[Segment(name, style)]] + [[Segment(" " * beside)]] * (len(panels[0]) - 1)
        _print_lines(console, _side_by_side([labels, *panels], gap=1, first_gap=0))


def print_atlas(console: Console, panels: Mapping[str, NDArray[np.floating]]) -> None:
    """Maps of layers by heads under their names, as many side by side as the terminal holds.

    Args:
        console: to print on.
        panels: (layers, heads) each, from 0 to 1.
    """
    layers, heads = next(iter(panels.values())).shape
    times = -(-PANEL // heads)
    beside = [f"{layer:>2} " for layer in range(0, layers, 2)]  # two layers a line
    labels = [[Segment(text, FAINT)] for text in (" " * 3, *beside)]
    drawn = [
        [
            [Segment(set_cell_size(name, heads * times), Style(bold=True))],
            *_lines(console, values.repeat(times, axis=1), ramp(ON_BLACK["global"])),
        ]
        for name, values in panels.items()
    ]
    in_a_line = max(1, (min(console.width, WIDEST) - 1) // (heads * times + 2))
    for first in range(0, len(drawn), in_a_line):
        side_by_side = [labels, *drawn[first : first + in_a_line]]
        _print_lines(console, _side_by_side(side_by_side, gap=2, first_gap=0))
        console.print()


def _print_panels(
    console: Console,
    values: NDArray[np.floating],
    titles: Sequence[Title],
    names: Sequence[str],
    colours: Ramp,
) -> None:
    """Maps (heads, rows, columns) side by side, row names to the left of the first of each line."""
    count, rows, columns = values.shape
    in_a_line, room, tallest = _layout(console, count, columns)
    for first in range(0, count, in_a_line):
        panels = []
        for place in range(first, min(first + in_a_line, count)):
            picture = fit(values[place], room, tallest)
            width = picture.shape[1]
            title = _title_line(console, titles[place], width)
            panels.append([title, *_lines(console, picture, colours)])
        beside = _label_lines(names, picture.shape[0], rows)
        _print_lines(console, _side_by_side([[[Segment(" " * LABEL)], *beside], *panels], gap=2,
                                            first_gap=0))  # fmt: skip
        console.print()


def _titles(heads: Sequence[int], mean: bool) -> list[Title]:
    names, hues = head_names(tuple(heads), mean), head_hues(heads, mean)
    return list(zip(names, hues, strict=True))


def _title_line(console: Console, title: Title, width: int) -> Line:
    """What a map is called over it, and a square in its head's hue; its number where that fits."""
    (name, hue), number = title, title[0].removeprefix("head ")
    is_marked = not console.no_color and cell_len(number) + 2 <= width
    mark = [Segment("\N{BLACK SQUARE} ", Style(color=hue))] if is_marked else []
    room = width - 2 * len(mark)
    said = name if cell_len(name) <= room else number
    return [*mark, Segment(set_cell_size(said, room), Style(bold=True))]


def _layout(console: Console, maps: int, columns: int) -> tuple[int, int, int]:
    """Maps side by side, columns for each, and lines for each."""
    room = min(console.width, WIDEST + LABEL) - LABEL
    least = min(2 * columns, NARROWEST)
    in_a_line = max(1, min(maps, (room + 2) // (least + 2)))
    in_a_line = -(-maps // -(-maps // in_a_line))  # so that the last line is as full as the rest
    each = (room - 2 * (in_a_line - 1)) // in_a_line
    return in_a_line, each, TALLEST if maps == 1 else max(each // 2, 4)


def _row_names(axis: Axis, pool: int) -> list[str]:
    """Token and text of the first of every row of pixels."""
    return [f"{axis.starts[i]} {word(axis.labels[i])}" for i in range(0, len(axis), pool)]


def _label_lines(names: Sequence[str], height: int, rows: int) -> list[Line]:
    """A name a line where lines are rows, otherwise one for every fourth line."""
    lines: list[Line] = []
    every = 1 if height >= 2 * rows else 4
    for line in range(-(-height // 2)):
        row = min(2 * line * rows // height, rows - 1)
        name = names[row] if line % every == 0 else ""
        if cell_len(name) > LABEL - 1:
            name = set_cell_size(name, LABEL - 2) + "\N{HORIZONTAL ELLIPSIS}"
        lines.append([Segment(set_cell_size(name, LABEL), FAINT)])
    return lines


def _lines(console: Console, values: NDArray[np.floating], colours: Ramp) -> list[Line]:
    colour = console.color_system is not None and not console.no_color
    return Blocks(values, colours).lines(colour=colour)


def _side_by_side(panels: Sequence[Sequence[Line]], gap: int, first_gap: int) -> list[Line]:
    """Panels of lines, joined line by line."""
    joined = []
    for lines in zip(*panels, strict=True):
        line = list(lines[0])
        for i, part in enumerate(lines[1:]):
            line += [Segment(" " * (gap if i else first_gap)), *part]
        joined.append(line)
    return joined


def _print_lines(console: Console, lines: Sequence[Line]) -> None:
    for line in lines:
        console.print(Segments([*line, Segment.line()]), end="")
