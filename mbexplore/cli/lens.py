"""`mbexplore lens`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.errors import UsageError
from mbexplore.files import ARRAYS, TABLES

if TYPE_CHECKING:
    from mbexplore.analysis.lens import Lens, LensMap
    from mbexplore.explorer import Explorer


def lens(
    text: options.Text = None,
    at: view.At = None,
    answer: view.AnswerToken = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens named after a layer.")] = 3,
    all_tokens: Annotated[
        bool, typer.Option("--all", help="Every token of the text: layers by positions.")
    ] = False,
    colour: Annotated[
        str, typer.Option(help="What colours the picture of --all: rank, entropy or kl.")
    ] = "rank",
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Show what the model would answer if it stopped after each layer: the logit lens.

    Example: mbexplore lens "The capital of France is [MASK]."
    """
    path = view.target(output, plot, "lens", ARRAYS if all_tokens else TABLES)
    source = options.read_text(text, file)
    from mbexplore.analysis import lens as analysis
    from mbexplore.explorer import load
    from mbexplore.views.lens import COLOURS, view_lens, view_lens_map

    if colour not in COLOURS:
        raise UsageError(f"There is no colour {colour!r}; choose {', '.join(COLOURS)}.")
    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate)
    notice_cut(encoding)
    if all_tokens:
        with view.progress("States") as advance:
            whole = analysis.lens_map(explorer, encoding, progress=advance)
        seen = view_lens_map(explorer, encoding, whole, colour)
        view.give(seen, path, json, lambda: _print_all(explorer, whole), explorer.info)
    else:
        found = analysis.lens(explorer, encoding, at, answer=answer, top_k=top_k)
        seen = view_lens(explorer, encoding, found, answer)
        view.give(seen, path, json, lambda: _print(explorer, found), explorer.info)


def _print(explorer: Explorer, found: Lens) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.lens import NOT_SHOWN
    from mbexplore.display.palette import ON_EITHER

    console, kinds = Console(highlight=False), explorer.model.config.layer_kinds
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.target.position))
    answer = view.word(found.target.token)
    table = view.build_table("after", "would answer", "", f"rank of {answer}", "p", "KL", "entropy",
                             left=("after", "would answer"))  # fmt: skip
    for row in found.rows:
        names = [f"{view.word(p.token)} {p.probability:.0%}" for p in row.predictions]
        style = "" if row.state == 0 else ON_EITHER[kinds[row.state - 1]]
        table.add_row(
            Text(view.state_name(row.state), style=style), Text("  ".join(names)), "",
            f"{row.rank:,}", f"{row.probability:.1%}", f"{row.kl:.2f}", f"{row.entropy:.2f}",
        )  # fmt: skip
    console.print(table)
    if found.settled is None:
        console.print(Text(f"{answer} is not first in the end."))
    else:
        where = view.state_name(found.settled)
        console.print(Text(f"{answer} is first from {where} on, and stays first."))
    console.print(Text(f"KL to the final distribution and entropy in nats. {NOT_SHOWN}", "dim"))


def _print_all(explorer: Explorer, found: LensMap) -> None:
    """One line a token: what it ends as, and since when."""
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.lens import NOT_SHOWN, settled_states

    console = Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    table = view.build_table("", "token", "final answer", "first since", "entropy at the end",
                             left=("token", "final answer", "first since"))  # fmt: skip
    for i, since in enumerate(settled_states(found)):
        table.add_row(
            str(i), Text(view.word(found.tokens[i])), Text(view.word(found.top[-1][i])),
            view.state_name(since), f"{found.entropy[-1, i]:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(Text(f"--plot draws every layer. {NOT_SHOWN}", style="dim"))
