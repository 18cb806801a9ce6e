"""Words on a figure: a text in colour, tables, and stories."""

from __future__ import annotations

from dataclasses import replace
from textwrap import wrap

from matplotlib.axes import Axes

from mbexplore.display import blocks as b
from mbexplore.display.axes import Size, draw, fit, name_axes, size_of
from mbexplore.display.blocks import Block, Cell
from mbexplore.display.fonts import drawable, token_label
from mbexplore.display.palette import ink_on
from mbexplore.display.story_blocks import Story
from mbexplore.display.style import colour_of, ink, room, sign
from mbexplore.text import shortened

STRIP, STRIP_WIDTH = 96, 8.0
"""Letters of a line of a text whose tokens are coloured, and its inches."""


def _strip_letters() -> float:
    return STRIP * min(1.0, room() / STRIP_WIDTH)


def _strip_gap(block: b.TokenStrip, i: int) -> float:
    """Letters before a token: pieces of a word stand close."""
    starts_word = block.tokens[i].startswith((" ", "[")) or block.tokens[i - 1].startswith("[")
    return 2.0 if starts_word else 0.7


def _strip_lines(block: b.TokenStrip) -> list[list[tuple[int, float]]]:
    """Tokens line by line, each with its place."""
    lines: list[list[tuple[int, float]]] = [[]]
    x = 0.0
    for i, token in enumerate(block.tokens):
        letters = len(token_label(token))
        x += _strip_gap(block, i) if lines[-1] else 0.0
        if x + letters > _strip_letters() and lines[-1]:
            lines.append([])
            x = 0.0
        lines[-1].append((i, x))
        x += letters
    return lines


@size_of.register
def _(block: b.TokenStrip) -> Size:
    return min(STRIP_WIDTH, room()), 0.27 * len(_strip_lines(block)) + 0.5


@draw.register
def _(block: b.TokenStrip, axes: Axes) -> None:
    lines = _strip_lines(block)
    for row, line in enumerate(lines):
        for i, x in line:
            text, share = token_label(block.tokens[i]), block.values[i] / block.full
            at = (share + 1) / 2 if block.hue == "signed" else share
            ground = colour_of(block.hue, at)
            axes.text(
                x, row, text, fontsize=8, family="monospace", va="center", parse_math=False,
                color=ink_on(ground),
                bbox={"facecolor": ground, "edgecolor": ink() if i == block.mark else "none",
                      "boxstyle": "square,pad=0.25"},
            )  # fmt: skip
    axes.set_xlim(-1, _strip_letters() + 2)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()


@size_of.register
def _(block: b.Table) -> Size:
    widths = _widths(block)
    return min(0.095 * sum(widths) + 0.8, 14.0, room()), 0.22 * (len(block.rows) + 1) + 0.5


def _widths(block: b.Table) -> list[int]:
    rows = ([_written(cell) for cell in row] for row in block.cells)
    columns = zip(block.columns, *rows, strict=True)
    return [max(map(len, column)) + 2 for column in columns]


def _written(cell: Cell) -> str:
    """What stands in a cell: half the room at most."""
    return shortened(cell.shown, int(min(room() / 0.095 / 2, 1e6)))


@fit.register
def _(block: b.Table) -> Block:
    """Columns that there is no room for go on below, after the first one."""
    first, *widths = _widths(block)
    parts: list[list[int]] = [[]]
    for i, width in enumerate(widths, start=1):
        used = first + sum(widths[j - 1] for j in parts[-1])
        if parts[-1] and 0.095 * (used + width) + 0.3 > room():
            parts.append([])
        parts[-1].append(i)
    if len(parts) == 1:
        return block
    return b.Column(tuple(
        replace(block, columns=tuple(block.columns[i] for i in (0, *part)),
                rows=tuple(tuple(row[i] for i in (0, *part)) for row in block.cells),
                title=block.title if part is parts[0] else "")
        for part in parts
    ))  # fmt: skip


@draw.register
def _(block: b.Table, axes: Axes) -> None:
    widths = _widths(block)
    rows = [tuple(Cell(name, strong=True) for name in block.columns), *block.cells]
    for i, row in enumerate(rows):
        left = 0
        for name, cell, width in zip(block.columns, row, widths, strict=True):
            is_word = name in block.left
            if cell.bar is not None:
                colour = sign(cell.bar >= 0) if cell.hue == "signed" else ink(cell.hue)
                axes.barh(i, min(abs(cell.bar), 1.0) * (width - 1), 0.7, left=left - 0.5,
                          color=colour, alpha=0.25, linewidth=0)  # fmt: skip
            axes.text(
                left if is_word else left + width - 2, i, drawable(_written(cell)), fontsize=8,
                va="center", ha="left" if is_word else "right", parse_math=False,
                color=ink(cell.hue) if cell.bar is None else ink(),
                weight="bold" if cell.strong else "normal",
            )  # fmt: skip
            left += width
    axes.set_xlim(0, sum(widths))
    axes.set_ylim(len(rows) - 0.5, -0.6)
    name_axes(axes, block.title)
    axes.set_axis_off()


STORY, STORY_WIDTH = 165, 11.0
"""Letters of a line, and its inches."""


def _sentences(block: Story) -> list[str]:
    letters = int(STORY * min(1.0, room() / STORY_WIDTH))
    return [
        line
        for number, one in enumerate(block.sentences, start=1)
        for line in wrap(f"{number}. {one.text}", letters, subsequent_indent="    ")
    ]


@size_of.register
def _(block: Story) -> Size:
    return min(STORY_WIDTH, room()), 0.165 * len(_sentences(block)) + 0.05


@draw.register
def _(block: Story, axes: Axes) -> None:
    lines = [drawable(line) for line in _sentences(block)]
    text = "\n".join(line.replace("    ", "\N{NO-BREAK SPACE}" * 4) for line in lines)
    axes.text(
        0.006, 1, text, fontsize=8.5, color=ink(), va="top", transform=axes.transAxes,
        parse_math=False, linespacing=1.3,
    )  # fmt: skip
    axes.set_axis_off()
