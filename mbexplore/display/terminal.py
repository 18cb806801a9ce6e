"""Blocks in a terminal, as rich renderables: for commands, and for the panes of the explorer.

`render` gives the renderable of any block. Where there are no colours, shades or numbers stand in
their place. Text is printed as text: control characters appear as escapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from io import StringIO
from itertools import groupby

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.columns import Columns
from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderResult
from rich.style import Style
from rich.table import Table
from rich.text import Text

from mbexplore.display import attention_terminal as attention_terminal  # registers its own
from mbexplore.display import blocks as b
from mbexplore.display.blocks import Block, Cell
from mbexplore.display.narrow_table import NarrowTable
from mbexplore.display.numbers import count, decimals, fixed, percent, significant
from mbexplore.display.palette import colour_of, ink_on
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.story_blocks import LEAST, RouteGraph, Story
from mbexplore.display.terminal_heat import GAP, HeatLines, Titled, hue_style
from mbexplore.display.terminal_heat import render as render
from mbexplore.text import bar, shortened, shown, word

SPARKS = "\N{LOWER ONE EIGHTH BLOCK}▂▃▄▅▆▇\N{FULL BLOCK}"
BAR = 16
"""Cells of a full bar."""
COMMAND = 240
"""Most letters of a command: that of a long text loses its middle; JSON has all of it."""


def to_text(blocks: Iterable[Block], width: int = 100) -> str:
    """Blocks as plain text."""
    console = Console(
        file=StringIO(), width=width, color_system=None, highlight=False, force_jupyter=False
    )
    for block in blocks:
        console.print(render(block))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


@render.register
def _(block: b.Headline) -> ConsoleRenderable:
    return Text(shown(block.text), style="bold")


@render.register
def _(block: b.Badge) -> ConsoleRenderable:
    sign, colour = ("\N{CHECK MARK}", "green") if block.good else ("\N{MULTIPLICATION X}", "red")
    return Text(f"{sign} {shown(block.text)}", style=colour)


@render.register
def _(block: b.Note) -> ConsoleRenderable:
    return Text(shown(block.text), style="dim")


@render.register
def _(block: b.Row) -> ConsoleRenderable:
    lines: list[ConsoleRenderable] = []
    for is_small, some in groupby(b.share_scale(block.blocks), _is_small):
        blocks = [render(one) for one in some]
        lines += [Columns(blocks, padding=(0, GAP, 0, 0))] if is_small else blocks
    return Group(*lines)


def _is_small(block: Block) -> bool:
    """Whether it may stand beside others: a matrix without words."""
    return isinstance(block, b.Heat) and block.texts is None


@render.register
def _(block: b.Heat) -> ConsoleRenderable:
    return HeatLines(block)


@render.register
def _(block: b.Column) -> ConsoleRenderable:
    return Group(*(render(one) for one in block.blocks))


def titled(title: str, table: NarrowTable) -> ConsoleRenderable:
    """A table under its title, which may be wider."""
    return Group(Text(shown(title), style="bold"), table) if title else table


def build_table(*columns: str, left: Iterable[str] = ()) -> NarrowTable:
    """A table in the house style: numbers to the right, the columns in `left` to the left."""
    words = set(left)
    table = NarrowTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(
            Text(shown(name)), justify="left" if name in words else "right", overflow="fold"
        )
    return table


@render.register
def _(block: b.Table) -> ConsoleRenderable:
    barred = [any(row[i].bar is not None for row in block.cells) for i in range(len(block.columns))]
    names: list[str] = []
    for name, has_bar in zip(block.columns, barred, strict=True):
        names += [name or " ", ""] if has_bar else [name or " "]  # without a name: a bar
    table = build_table(*names, left=(*(name or " " for name in block.left), ""))
    for row in block.cells:
        cells: list[Text] = []
        for cell, has_bar in zip(row, barred, strict=True):
            cells += [_cell(cell), _bar(cell)] if has_bar else [_cell(cell)]
        table.add_row(*cells)
    return titled(block.title, table)


def _cell(cell: Cell) -> Text:
    style = hue_style(cell.hue) if cell.bar is None and cell.hue != "signed" else Style.null()
    return Text(shown(cell.shown), style=style + Style(bold=cell.strong or None))


def _bar(cell: Cell) -> Text:
    share = cell.bar or 0.0
    return Text(bar(min(abs(share), 1.0), BAR), style=hue_style(cell.hue, sign=share))


@render.register
def _(block: b.Bars) -> ConsoleRenderable:
    return render(block.table)


@render.register
def _(block: b.Lines) -> ConsoleRenderable:
    is_said = block.y.lower() in block.title.lower()
    title = block.title if is_said else f"{block.title}, {block.y}" if block.title else block.y
    text = Text(shown(title), style="bold")
    names = [shown(one.name) for one in block.series]
    widest = max(map(cell_len, names), default=0)
    for one, name in zip(block.series, names, strict=True):
        y = [value for _, value in one.points if value == value]
        if y:
            text.append(f"\n{set_cell_size(name, widest)}  ", Style(bold=False))
            text.append(_spark(one, block), hue_style(one.hue) + Style(bold=False))
            text.append(f"  {significant(y[0])} to {significant(y[-1])}", Style(bold=False))
    where = f"{block.ticks[0]} to {block.ticks[-1]}" if block.ticks else _range(block)
    text.append(f"\n{block.x or 'from left'}: {shown(where)}", Style(bold=False, dim=True))
    return text


def _range(block: b.Lines) -> str:
    x = [a for one in block.series for a, _ in one.points]
    ends = (min(x), max(x)) if x else ()
    return " to ".join(count(a) if a == int(a) else significant(a) for a in ends) or "nothing"


def _spark(one: b.Series, block: b.Lines, most: int = 64) -> str:
    """A curve as a line of blocks, pooled to the largest where it has many points."""
    from math import isfinite, log

    def scaled(value: float) -> float:
        return log(max(value, 1e-30)) if block.log_y else value

    every = [scaled(v) for s in block.series for _, v in s.points if isfinite(v)]
    low, high = min(every, default=0.0), max(every, default=1.0)
    values = [scaled(v) if isfinite(v) else low for _, v in one.points]
    pool = -(-len(values) // most)
    pooled = [max(values[i : i + pool]) for i in range(0, len(values), pool)]
    span = (high - low) or 1.0
    shares = ((value - low) / span for value in pooled)
    return "".join(SPARKS[round((1 - s if block.y_down else s) * 7)] for s in shares)


@render.register
def _(block: b.TokenStrip) -> ConsoleRenderable:
    return StripLines(block)


class StripLines(Titled[b.TokenStrip]):
    """A text whose tokens are coloured by value; without colours their values stand behind them."""

    def lines(self, colour: bool, options: ConsoleOptions) -> RenderResult:
        """The text, and what its colours mean."""
        block, line = self.block, Text()
        signed = block.hue == "signed"
        places = decimals(block.full)
        for i, (token, value) in enumerate(zip(block.tokens, block.values, strict=True)):
            share = value / block.full
            ground = colour_of(block.hue, (share + 1) / 2 if signed else share, dark=True)
            style = Style(bgcolor=ground, color=ink_on(ground)) if colour else Style.null()
            if i and (token.startswith(" ") or token.startswith("[")):
                line.append(" ")
            marked = Style(underline=True, bold=True) if i == block.mark else Style.null()
            line.append(word(token), style + marked)
            if not colour and abs(share) >= 0.05:
                line.append(f"({fixed(value, places, signed=signed)})")
        yield line
        low = -block.full if signed else 0.0
        ends = f"{significant(low)} to {significant(block.full)} {block.unit}".strip()
        yield Text(ends, style="dim")


@render.register
def _(block: Story) -> ConsoleRenderable:
    """Each sentence with its number, its commands quiet below."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, one in enumerate(block.sentences, start=1):
        commands = (shortened(shown(command), COMMAND) for command in one.elsewhere)
        lines = (Text(shown(one.text)), *(Text(command, style="dim") for command in commands))
        grid.add_row(Text(f"{number}."), Group(*lines))
    return Group(Text(), grid, Text())


@render.register
def _(block: RouteGraph) -> ConsoleRenderable:
    """The places on the way as a matrix, each with its share and the heads that write there."""
    nodes = block.nodes
    texts = [
        [percent(share, 0) if abs(share) >= LEAST else "" for share in row]
        for row in nodes.values.tolist()
    ]
    for edge in block.edges:
        texts[edge.row + 1][edge.query] += f" {edge.name}"
    columns = [i for i, column in enumerate(zip(*texts, strict=True)) if any(column)]
    return render(
        replace(
            nodes,
            values=nodes.values[:, columns],
            columns=tuple(nodes.columns[i] for i in columns),
            texts=tuple(tuple(row[i] for i in columns) for row in texts),
            mark=None,
        )
    )


@render.register
def _(block: Scatter) -> ConsoleRenderable:
    """The points farthest out, and the one that stands out, by name."""
    rows: tuple[tuple[b.Value, ...], ...] = tuple(
        (
            Cell(block.names[i], hue=block.hue(i), strong=i == block.mark),
            *(block.shown(name, block.measures[name][i] or 0.0) for name in (block.x, block.y)),
        )
        for i in block.outermost()
    )
    columns = ("farthest out", *(name.replace("_", " ") for name in (block.x, block.y)))
    return render(b.Table(columns, rows, block.title, left=columns[:1]))
