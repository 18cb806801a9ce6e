"""A story in a terminal: each sentence with its number, its commands quiet below."""

from __future__ import annotations

from rich.console import ConsoleRenderable, Group
from rich.table import Table
from rich.text import Text

from mbexplore.display.story_blocks import Story
from mbexplore.display.terminal import render
from mbexplore.text import shortened, shown

LETTERS = 240
"""Most letters of a command: that of a long text loses its middle; JSON has all of it."""


@render.register
def _(block: Story) -> ConsoleRenderable:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(overflow="fold")
    for number, one in enumerate(block.sentences, start=1):
        lines = [Text(shown(one.text))]
        lines += [
            Text(shortened(shown(command), LETTERS), style="dim") for command in one.elsewhere
        ]
        grid.add_row(Text(f"{number}."), Group(*lines))
    return Group(Text(), grid, Text())
