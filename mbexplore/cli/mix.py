"""`mbexplore mix`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.files import ARRAYS

if TYPE_CHECKING:
    from mbexplore.analysis.context_mixing import ContextMixing
    from mbexplore.explorer import Explorer


def mix(
    text: options.Text = None,
    layer: Annotated[
        int | None,
        typer.Option("--layer", "-l", help="Which layer, from 0; the last by default.",
                     show_default=False),
    ] = None,
    at: view.At = None,
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:  # fmt: skip
    """Show what a token takes from each other one, told in four ways.

    Attention weights, norm-based terms, rollout through the layers, and value zeroing.

    Example: mbexplore mix "The capital of France is [MASK]." --layer 6
    """
    path = view.target(output, plot, "mix", ARRAYS)
    source = options.read_text(text, file)
    from mbexplore.analysis import context_mixing as analysis
    from mbexplore.analysis.target import find_position
    from mbexplore.explorer import load
    from mbexplore.views.mix import view_mix

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate)
    notice_cut(encoding)
    place = 0 if at is None and not encoding.mask_positions else find_position(encoding, at)
    if layer is None:
        layer = explorer.model.config.num_hidden_layers - 1
    found = analysis.context_mixing(explorer, encoding, layer)
    seen = view_mix(explorer, encoding, layer, lambda: found)
    view.give(seen, path, json, lambda: _print(explorer, found, place), explorer.info)


def _print(explorer: Explorer, found: ContextMixing, place: int) -> None:
    """The row of one token: what it takes from each."""
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.context_mixing import LIMITS, METHODS

    console, kind = Console(highlight=False), explorer.model.config.layer_kinds[found.layer]
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, place))
    console.print(Text(f"Layer {found.layer} ({kind}): what token {place} takes from each."))
    table = view.build_table("", "token", "attention", "norms", "rollout to here",
                             "value zeroing", left=("token",))  # fmt: skip
    best = {method: int(getattr(found, method)[place].argmax()) for method in METHODS}
    for i, token in enumerate(found.tokens):
        cells = [
            Text(
                f"{getattr(found, method)[place, i]:.1%}", style="bold" if best[method] == i else ""
            )
            for method in METHODS
        ]
        table.add_row(str(i), Text(view.word(token)), *cells)
    console.print(table)
    console.print(Text(LIMITS, style="dim"))
