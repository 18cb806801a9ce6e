"""What the commands that explain an answer share: where it goes, how it is shown and saved."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli.marked import marked as marked
from mbexplore.cli.output import notice_bundled, print_json, write_whole
from mbexplore.cli.progress import progress as progress
from mbexplore.files import check_target
from mbexplore.text import state_name as state_name
from mbexplore.text import word as word

if TYPE_CHECKING:
    from rich.table import Table

    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Explorer, ModelInfo
    from mbexplore.recording import Recording
    from mbexplore.views.old import View

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


def build_table(*columns: str, left: tuple[str, ...] = ()) -> Table:
    """See `display.terminal`."""
    from mbexplore.display.terminal import build_table

    return build_table(*columns, left=left)


def recorded(explorer: Explorer, encoding: Encoding, keep: Collection[str]) -> Recording:
    """One forward pass, with a bar of its layers; see `Explorer.record`."""
    from mbexplore.hooks import watched

    with progress("Layers") as tell, watched(explorer.model, tell):
        return explorer.record(encoding, keep=keep)
