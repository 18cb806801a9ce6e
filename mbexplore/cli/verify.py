"""`mbexplore verify`."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options
from mbexplore.cli.output import (
    model_line,
    notice_bundled,
    print_json,
    shown,
    write_whole,
)
from mbexplore.files import check_target

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.verify import Batch, Check, Verification


def verify(
    text: options.Text = None,
    long: Annotated[bool, typer.Option("--long", help="A text of several windows.")] = False,
    padded: Annotated[bool, typer.Option("--padded", help="A batch with a padded row.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Save the error curve by layer.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="png, svg or pdf for --plot.", show_default=False),
    ] = None,
    file: options.File = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Check every layer against transformers on the same weights; exit 1 if they part.

    Without TEXT, a bundled paragraph. With -m base, also against the values that others published.

    Example: mbexplore verify --long
    """
    if plot:
        output = check_target(output or Path("verify.png"), ("png", "svg", "pdf"))
    source = (
        options.sample_text() if text is None and file is None else options.read_text(text, file)
    )
    from mbexplore.explorer import load
    from mbexplore.hub import SHORT_NAMES
    from mbexplore.verify import verify as compare

    explorer = load(model, device=device, dtype=dtype)
    result = compare(explorer, _batch(explorer, source, long, padded, truncate))
    if explorer.files.source == SHORT_NAMES["base"]:
        from mbexplore.published import check_published

        known = check_published(explorer.model, explorer.tokenizer.token)
        result = dataclasses.replace(result, checks=result.checks + known)
    if output is not None:
        write_whole(output, _picture(result, explorer, output.suffix[1:].lower()))
    if json:
        print_json(_payload(result, explorer))
    else:
        _print(result, model_line(explorer.info))
    notice_bundled(explorer.info)
    if not result.passed:
        raise typer.Exit(1)


def _batch(explorer: Explorer, source: str, long: bool, padded: bool, truncate: bool) -> Batch:
    from mbexplore.verify import long_batch, padded_batch

    ids = explorer.encode(source, truncate=truncate).ids
    if long:
        [ids] = long_batch(ids, explorer.model.config)
    return padded_batch(ids) if padded else [ids]


def _payload(result: Verification, explorer: Explorer) -> dict[str, Any]:
    parting = result.parting
    return {
        "model": dataclasses.asdict(explorer.info),
        "transformers": result.version,
        "tokens": list(result.tokens),
        "passed": result.passed,
        "parting": None if parting is None else {"what": parting.what, "layer": parting.layer},
        "checks": [dataclasses.asdict(check) | {"passed": check.passed} for check in result.checks],
    }


def _picture(result: Verification, explorer: Explorer, ending: str) -> bytes:
    from mbexplore.plots.verify import plot_verification

    name = Path(explorer.info.name).name
    figure = plot_verification(result, f"{name} against transformers {result.version}")
    buffer = BytesIO()
    figure.savefig(buffer, format=ending, dpi=150)
    return buffer.getvalue()


def _print(result: Verification, model: str) -> None:
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
    parting = result.parting
    if parting is None:
        console.print(Text("PASS: every value is within its tolerance.", style="bold green"))
    else:
        place = "outside the layers" if parting.layer is None else f"in layer {parting.layer}"
        console.print(Text(f"FAIL: the two part {place}, at its {parting.what}.", style="bold red"))


def _layer(check: Check) -> str:
    if check.layer is None:
        return ""
    window = "" if check.half_window is None else f" \N{PLUS-MINUS SIGN}{check.half_window}"
    return f"{check.layer} {check.kind}{window}, theta {check.theta:,.0f}"
