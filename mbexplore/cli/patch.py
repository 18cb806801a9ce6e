"""`mbexplore patch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.files import ARRAYS

if TYPE_CHECKING:
    from mbexplore.analysis.patch import Patching
    from mbexplore.explorer import Explorer

_STRONGEST = 5


def patch(
    clean: Annotated[str, typer.Argument(help="The text whose answer is to come back.")],
    corrupted: Annotated[
        str, typer.Argument(help="A text of as many tokens that gets another answer.")
    ],
    at: view.At = None,
    answer: view.AnswerToken = None,
    other: Annotated[
        str | None,
        typer.Option(help="The corrupted text's answer; the model's by default.",
                     show_default=False),
    ] = None,
    plot: view.Plot = False,
    output: view.Output = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Show where the difference between two texts becomes the answer: activation patching.

    Example: mbexplore patch "The capital of France is [MASK]." "The capital of Italy is [MASK]."
    """
    path = view.target(output, plot, "patch", ARRAYS)
    source, changed = options.read_text(clean, None), options.read_text(corrupted, None)
    from mbexplore.analysis import patch as analysis
    from mbexplore.explorer import load
    from mbexplore.views.patch import view_patch

    explorer = load(model, device=device, dtype=dtype)
    first, second = (
        explorer.encode(text, pair=context, truncate=truncate) for text in (source, changed)
    )
    notice_cut(first)
    notice_cut(second)
    with view.progress("patching") as on_step:
        found = analysis.patch(
            explorer, first, second, at, answer=answer, other=other,
            progress=on_step,
        )  # fmt: skip
    seen = view_patch(explorer, source, changed, found, answer, other, context, truncate=truncate)
    view.give(seen, path, json, lambda: _print(explorer, found), explorer.info)


def _print(explorer: Explorer, found: Patching) -> None:
    """The places of each map that restore most."""
    import numpy as np
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.patch import LIMITS
    from mbexplore.views.patch import MAPS

    console, tokens = Console(highlight=False), found.clean_tokens
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    for each in (found.clean_tokens, found.corrupted_tokens):
        console.print(view.marked(each, found.target.position))
    answer, other = view.word(found.target.token), view.word(found.other.token)
    console.print(Text(
        f"Logit of {answer} less that of {other}: {found.clean_difference:+.2f} clean, "
        f"{found.corrupted_difference:+.2f} corrupted. Share of it restored:"
    ))  # fmt: skip
    names = ("residual stream", "attention output", "MLP output", "head")
    table = view.build_table("patched", "where", "token", "restored",
                             left=("patched", "where", "token"))  # fmt: skip
    for name, field in zip(names, MAPS, strict=True):
        values = getattr(found, field)
        # Rounded, so that what is equal but for the last bits stays in the order of the layers.
        order = np.argsort(-values.round(4), axis=None, kind="stable")[:_STRONGEST]
        for i, (row, place) in enumerate(zip(*np.unravel_index(order, values.shape), strict=True)):
            is_head = name == "head"
            where = f"{row}.{place}" if is_head else f"layer {row}"
            table.add_row(
                name if i == 0 else "",
                view.state_name(int(row)) if name == "residual stream" else where,
                "" if is_head else Text(f"{view.word(tokens[place])} {place}"),
                f"{values[row, place]:.0%}",
            )
    console.print(table)
    console.print(Text(LIMITS, style="dim"))
