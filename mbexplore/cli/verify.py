"""`mbexplore verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut, shown
from mbexplore.files import TABLES

if TYPE_CHECKING:
    from mbexplore.reference.precision import PrecisionLoss
    from mbexplore.reference.verify import Check, Verification


def verify(
    text: options.Text = None,
    long: Annotated[bool, typer.Option("--long", help="A text of several windows.")] = False,
    padded: Annotated[bool, typer.Option("--padded", help="A batch with a padded row.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Save the error curve by layer.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="png, svg, pdf, html, json or csv.", show_default=False
        ),
    ] = None,
    file: options.File = None,
    context: options.Context = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Check every layer against transformers on the same weights; exit 1 if they part.

    In half precision, also how far the answers are from those in float32.
    Without TEXT, a bundled paragraph. With -m base, also against the values that others published.

    Example: mbexplore verify --long
    """
    path = view.target(output, plot, "verify", TABLES)
    is_given = any(source is not None for source in (text, file, context))
    source = options.read_text(text, file) if is_given else options.sample_text()
    from mbexplore.explorer import load
    from mbexplore.reference.precision import measure_loss
    from mbexplore.reference.published import add_published
    from mbexplore.reference.verify import build_batch
    from mbexplore.reference.verify import verify as compare
    from mbexplore.views.verify import view_verify

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate or not is_given)
    if is_given:
        notice_cut(encoding)
    batch = build_batch(encoding.ids, explorer.model.config, long=long, padded=padded)
    result = add_published(explorer, compare(explorer, batch))
    loss = measure_loss(explorer, batch)
    seen = view_verify(
        explorer, result, encoding if is_given else None, long=long, padded=padded, loss=loss
    )
    view.give(
        seen, path, json, lambda: _print(result, loss, model_line(explorer.info)), explorer.info
    )
    if not result.passed:
        raise typer.Exit(1)


def _print(result: Verification, loss: PrecisionLoss | None, model: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    lengths = " and ".join(f"{length:,}" for length in result.tokens)
    console.print(f"Against transformers {result.version} (eager) on {lengths} tokens.")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("value", "layer", "largest", "mean", "allowed", ""):
        is_number = name in ("largest", "mean", "allowed")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=True)
    for check in result.checks:
        table.add_row(
            check.what,
            _layer(check),
            f"{check.max_abs:.1e}",
            f"{check.mean_abs:.1e}",
            f"{check.tolerance:.1e}",
            Text("PASS", style="green") if check.passed else Text("FAIL", style="bold red"),
        )
    console.print(table)
    parting = result.first_mismatch
    if parting is None:
        console.print(Text("PASS: every value is within its tolerance.", style="bold green"))
    else:
        place = "outside the layers" if parting.layer is None else f"in layer {parting.layer}"
        console.print(Text(f"FAIL: the two part {place}, at its {parting.what}.", style="bold red"))
    if loss is not None:
        console.print(
            f"Beside float32, the likeliest token is float32's at {loss.same_answer:.1%} of "
            f"{loss.tokens:,} tokens, mean KL {loss.mean_kl:.1e} nats, largest change of a "
            f"probability {loss.largest_change:.1e}.",
            soft_wrap=True,
        )


def _layer(check: Check) -> str:
    if check.layer is None:
        return ""
    window = "" if check.half_window is None else f" \N{PLUS-MINUS SIGN}{check.half_window}"
    return f"{check.layer} {check.kind}{window}, theta {check.theta:,.0f}"
