"""What the commands that explain an answer share: where it goes, how it is shown and saved."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli.output import notice_bundled, print_json, shown, write_whole
from mbexplore.files import check_target
from mbexplore.text import state_name as state_name
from mbexplore.text import word as word

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Explorer, ModelInfo
    from mbexplore.network.config import ModernBertConfig
    from mbexplore.recording import Recording
    from mbexplore.views.view import View

At = Annotated[
    int | None,
    typer.Option(
        help="Which token, from 0; by default the first [MASK], or what the model's head reads.",
        show_default=False,
    ),
]
AnswerToken = Annotated[
    str | None,
    typer.Option(
        "--answer",
        help="The token or label to follow, or start or end; the model's answer by default.",
        show_default=False,
    ),
]
Plot = Annotated[bool, typer.Option("--plot", help="Save a picture.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="A file to save: png, svg, pdf, html, json, and for most csv or npz.",
        show_default=False,
    ),
]

PATIENCE = 0.5
"""Seconds that work may take before a bar shows how far it is."""


def target(output: Path | None, plot: bool, name: str, formats: Collection[str]) -> Path | None:
    """The file to write, if any: --plot alone names `NAME.png`. Checked before any work is done.

    Raises:
        OutputError: it can't be written, or can't hold what is asked for.
    """
    path = Path(f"{name}.png") if plot and output is None else output
    return path and check_target(path, formats)


def give(
    view: View, path: Path | None, json: bool, show: Callable[[], None], info: ModelInfo
) -> None:
    """What every command does with its answer: saves it where asked, prints it one way or other."""
    if path is not None:
        with progress("Saving"):
            content = view.content(path.suffix.removeprefix(".").lower())
        write_whole(path, content)
    print_json(view.payload()) if json else show()
    notice_bundled(info)


def marked(tokens: tuple[str, ...], position: int | None, around: int = 12) -> Text:
    """The text as tokens, the one asked about, if any, standing out, cut to what is near it."""
    from rich.text import Text

    middle = around if position is None else position
    low, high = max(0, middle - around), min(len(tokens), middle + around + 1)
    line = Text("\N{HORIZONTAL ELLIPSIS}" if low else "")
    for i in range(low, high):
        if i > low and tokens[i].startswith("["):
            line.append(" ")  # special tokens take the space before them into themselves
        line.append(shown(tokens[i]), style="bold reverse" if i == position else "")
    line.append("\N{HORIZONTAL ELLIPSIS}" if high < len(tokens) else "")
    line.append("" if position is None else f"  token {position}", style="dim")
    return line


def build_table(*columns: str, left: tuple[str, ...] = ()) -> Table:
    """A table in the house style: numbers to the right, the columns in `left` to the left."""
    from rich import box
    from rich.text import Text

    from mbexplore.cli.table import NarrowTable

    table = NarrowTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), justify="left" if name in left else "right", overflow="fold")
    return table


def kind_of(config: ModernBertConfig, layer: int) -> str:
    """Layer and kind, such as "3 global"."""
    return f"{layer} {config.layer_kinds[layer]}"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr for work of more than `PATIENCE`, gone when it is done.

    Gives the function that moves it; until that is called the bar only shows that it lives.
    """
    from threading import Timer

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, total: None
        return
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task(what, total=None)
    patience = Timer(PATIENCE, bar.start)
    patience.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        patience.cancel()
        patience.join()
        if bar.live.is_started:
            bar.stop()


def recorded(explorer: Explorer, encoding: Encoding, keep: Collection[str]) -> Recording:
    """One forward pass, with a bar of its layers; see `Explorer.record`."""
    from mbexplore.hooks import watched

    with progress("Layers") as tell, watched(explorer.model, tell):
        return explorer.record(encoding, keep=keep)
