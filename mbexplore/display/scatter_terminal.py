"""Points on two measures, in the cells of a terminal."""

from __future__ import annotations

from rich.console import ConsoleOptions, ConsoleRenderable, RenderResult
from rich.style import Style
from rich.text import Text

from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.terminal import render
from mbexplore.display.terminal_heat import Titled, hue_style
from mbexplore.text import shown

WIDE, TALL = 64, 15
"""Cells of the picture, where there is room."""
POINT = {"global": "\N{BLACK CIRCLE}", "local": "\N{WHITE CIRCLE}"}
CORNER, LINE = "\N{BOX DRAWINGS LIGHT UP AND RIGHT}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
MARKED, THEIRS = "\N{BLACK DIAMOND}", "\N{MIDDLE DOT}"


@render.register
def _(block: Scatter) -> ConsoleRenderable:
    return ScatterLines(block)


class ScatterLines(Titled[Scatter]):
    """A cell a point; the later of two in one cell is seen, the marked one last."""

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The picture with some names in it, then what the axes are."""
        block = self.block
        points, theirs = block.points(), block.points(theirs=True)
        if not points:
            yield Text("No point has both measures.", style="dim")
            return
        width = max(20, min(WIDE, options.max_width - 2))
        every = [*points.values(), *theirs.values()]
        ends = [(min(v), max(v)) for v in zip(*every, strict=True)]
        grid = [[(" ", Style.null())] * width for _ in range(TALL)]

        def cell(at: tuple[float, float]) -> tuple[int, int]:
            x, y = (
                (value - low) / ((high - low) or 1.0)
                for value, (low, high) in zip(at, ends, strict=True)
            )
            return round((1 - y) * (TALL - 1)), round(x * (width - 1))

        for at in theirs.values():
            row, column = cell(at)
            grid[row][column] = (THEIRS, Style(dim=True))
        for i in sorted(points, key=lambda i: i == block.mark):
            row, column = cell(points[i])
            hue = block.hue(i)
            sign = MARKED if i == block.mark else POINT.get(hue, "\N{BLACK CIRCLE}")
            grid[row][column] = (sign, hue_style(hue) + Style(bold=i == block.mark or None))
        for i in block.outermost():
            _name(grid, cell(points[i]), shown(block.names[i]), bold=i == block.mark)
        for line in grid:
            yield Text.assemble("\N{BOX DRAWINGS LIGHT VERTICAL}", *line)
        yield Text(CORNER + LINE * width)
        yield self._legend(ends, bool(theirs))

    def _legend(self, ends: list[tuple[float, float]], has_theirs: bool) -> Text:
        block = self.block
        parts = []
        for way, name, pair in zip(("across", "up"), (block.x, block.y), ends, strict=True):
            low, high = (block.shown(name, value) for value in pair)
            parts.append(f"{way}: {name.replace('_', ' ')}, {low} to {high}")
        parts += [f"{sign} {hue}" for hue, sign in POINT.items() if hue in block.hues]
        parts += [f"{THEIRS} {block.theirs_name}"] * has_theirs
        return Text(shown("; ".join(parts)), style="dim")


def _name(
    grid: list[list[tuple[str, Style]]], at: tuple[int, int], name: str, *, bold: bool
) -> None:
    """Writes a name beside its point, to the right or else to the left, where nothing stands."""
    row, column = at
    line = grid[row]
    for start in (column + 1, column - len(name)):
        part = line[start : start + len(name)] if start >= 0 else []
        if len(part) < len(name):
            continue
        if bold or all(sign in (" ", THEIRS) for sign, _ in part):  # the marked one has its name
            line[start : start + len(name)] = [
                (letter, Style(bold=bold or None)) for letter in name
            ]
            return
