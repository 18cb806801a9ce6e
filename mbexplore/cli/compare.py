"""`mbexplore compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut, shown
from mbexplore.errors import UsageError
from mbexplore.files import ARRAYS

if TYPE_CHECKING:
    from mbexplore.analysis.compare import RunComparison


def compare(
    text: Annotated[str, typer.Argument(help="A text.")],
    other: Annotated[
        str | None, typer.Argument(metavar="[OTHER]", help="Another text.", show_default=False)
    ] = None,
    other_model: Annotated[
        str | None,
        typer.Option("--with", help="Another model, in the forms of --model.", show_default=False),
    ] = None,
    layer: Annotated[int, typer.Option("--layer", "-l", help="Whose attention, from 0.")] = 0,
    head: Annotated[
        int | None,
        typer.Option(help="Which head, from 0; the mean of all by default.", show_default=False),
    ] = None,
    at: view.At = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens named.")] = 5,
    plot: view.Plot = False,
    output: view.Output = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Set two texts, or two models on one text, side by side.

    Example: mbexplore compare "The capital of France is [MASK]." "The capital of Italy is [MASK]."
    """
    if other is None and other_model is None:
        raise UsageError("There is nothing to compare with; add another text, or --with MODEL.")
    path = view.target(output, plot, "compare", ARRAYS)
    first = options.read_text(text, None)
    second = first if other is None else options.read_text(other, None)
    from mbexplore.analysis import compare as analysis
    from mbexplore.explorer import load
    from mbexplore.views.compare import view_compare

    explorer = load(model, device=device, dtype=dtype)
    beside = load(other_model, device=device, dtype=dtype) if other_model else explorer
    sides = (explorer, first), (beside, second)
    encoded = [(who, who.encode(what, pair=context, truncate=truncate)) for who, what in sides]
    for _, encoding in encoded:
        notice_cut(encoding)
    found = analysis.compare(*encoded, layer=layer, head=head, position=at, top_k=top_k)
    seen = view_compare(*sides, found, context, truncate=truncate)
    view.give(seen, path, json, lambda: _print(found), explorer.info)


def _print(found: RunComparison) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.compare import LIMITS

    console, sides = Console(highlight=False), (found.first, found.second)
    for name, side in zip(("First", "Second"), sides, strict=True):
        console.print(Text(f"{name}: {shown(model_line(side.model))}", style="bold"))
        console.print(view.marked(side.tokens, side.position))
    table = view.build_table("", "first", "p", "second", "p", left=("first", "second"))
    pairs = zip(found.first.predictions, found.second.predictions, strict=True)
    for rank, pair in enumerate(pairs, start=1):
        cells = [(Text(view.word(p.token)), f"{p.probability:.1%}") for p in pair]
        table.add_row(str(rank), *cells[0], *cells[1])
    console.print(table)
    if found.kl is not None:
        console.print(f"KL(first || second) of the two answers: {found.kl:.3f} nats.")
    if found.residual_distance is not None:
        table = view.build_table("residuals after", "mean cosine distance", "most at", "there",
                                 left=("residuals after", "most at"))  # fmt: skip
        for state, row in enumerate(found.residual_distance):
            most = int(row.argmax())
            token = Text(f"{view.word(found.first.tokens[most])} {most}") if row[most] else ""
            table.add_row(view.state_name(state), f"{row.mean():.4f}", token, f"{row[most]:.4f}")
        console.print(table)
    console.print(Text(f"{found.unavailable_reason} {LIMITS}".strip(), style="dim"))
