"""`mbexplore explore`."""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import Annotated

import typer

from mbexplore.cli import options
from mbexplore.errors import UsageError

LOOKS = ("auto", "dark", "light")


def explore(
    text: options.Text = None,
    file: options.File = None,
    corpus: options.Corpus = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    no_history: Annotated[
        bool, typer.Option("--no-history", help="Neither read nor keep the texts of other runs.")
    ] = False,
    look: Annotated[str, typer.Option(help="auto, dark or light.")] = "auto",
) -> None:
    """Explore in the terminal: type, and see predictions, heads, maps, RoPE, lens and neurons.

    Press ? for the keys. Without colours (NO_COLOR) there are shades and figures.

    Example: mbexplore explore "The capital of France is [MASK]."
    """
    if look not in LOOKS:
        raise UsageError(f"There is no look {look!r}; choose {', '.join(LOOKS)}.")
    _check_terminal()
    given = None if text is None and file is None else options.read_text(text, file)
    # A bar of the hub would be drawn over the screen, and an exported size would be believed for
    # ever, whatever becomes of the window.
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)
    from mbexplore.explore.app import ExploreApp
    from mbexplore.explore.history import History, history_path
    from mbexplore.explore.look import Look, terminal_is_dark
    from mbexplore.explore.panes import open_model

    colour = not os.environ.get("NO_COLOR")
    dark = terminal_is_dark() if look == "auto" and colour else look != "light"
    app = ExploreApp(
        partial(open_model, model, device, dtype),
        given,
        History(None if no_history else history_path()),
        Look(dark, colour),
        model or os.environ.get("MBEXPLORE_MODEL") or "tiny",
        truncate,
    )
    code = app.run()
    if app.failure is not None:
        raise app.failure
    raise typer.Exit(code or app.return_code or 0)


def _check_terminal() -> None:
    """Refuses to start where there is nothing to draw on.

    Raises:
        UsageError: says what to use there.
    """
    is_terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    if not is_terminal or os.environ.get("TERM") == "dumb":
        raise UsageError(
            "explore needs a terminal to draw on and there is none here; use `mbexplore predict` "
            "or `mbexplore attention`."
        )
