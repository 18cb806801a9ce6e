"""`mbexplore info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import print_json, shown, write_whole
from mbexplore.files import TABLES

if TYPE_CHECKING:
    from rich.table import Table

    from mbexplore.analysis.card import ModelCard


def info(
    model: options.Model = None,
    length: Annotated[
        int | None,
        typer.Option(help="Tokens to count memory for; the model's limit by default."),
    ] = None,
    plot: view.Plot = False,
    output: view.Output = None,
    json: options.Json = False,
) -> None:
    """Show what a model is: its parts, its layers, and what its attention maps would take.

    No weights are read, only the header of their file.

    Example: mbexplore info --length 2048
    """
    import os

    path = view.target(output, plot, "info", TABLES)
    from mbexplore.analysis.card import read_card
    from mbexplore.checkpoints import hub
    from mbexplore.views.info import view_info

    name = model or os.environ.get("MBEXPLORE_MODEL") or hub.BUNDLED
    card = read_card(hub.locate(name), length)
    seen = view_info(card)
    if path is not None:
        write_whole(path, seen.content(path.suffix.removeprefix(".").lower()))
    if json:
        print_json(seen.payload())
    else:
        _print_card(card)


def _print_card(card: ModelCard) -> None:
    from rich.console import Console
    from rich.text import Text

    config, console = card.config, Console(highlight=False)
    stored = ", ".join(f"{name} ({size:,})" for name, size in card.dtypes.items())
    console.print(Text(f"Model: {shown(card.name)} ({shown(card.source)})", style="bold"))
    console.print(
        f"{card.parameters:,} parameters, stored as {stored}, {card.file_bytes / 1e6:,.1f} MB; "
        f"{'with' if card.has_head else 'without'} an MLM head."
    )
    console.print(
        f"{config.num_hidden_layers} layers x {config.hidden_size}, {config.num_attention_heads} "
        f"heads x {config.head_dim}, MLP {config.intermediate_size}, vocabulary "
        f"{config.vocab_size:,}, up to {config.max_position_embeddings:,} tokens."
    )
    console.print(_parts(card), _layers(card), _memory(card), sep="\n")


def _table(*columns: str) -> Table:
    return view.build_table(*columns, left=(columns[0], "kind"))


def _parts(card: ModelCard) -> Table:
    table = _table("part", "parameters", "share")
    for name, size in card.parts.items():
        table.add_row(name, f"{size:,}", share(size / card.parameters))
    return table


def _layers(card: ModelCard) -> Table:
    table = _table("layer", "kind", "sees", "theta", "parameters")
    for layer in card.layers:
        reach = "all" if layer.half_window is None else f"{layer.half_window} each side"
        table.add_row(
            str(layer.layer), layer.kind, reach, f"{layer.theta:,.0f}", f"{layer.parameters:,}"
        )
    return table


def _memory(card: ModelCard) -> Table:
    memory = card.memory
    table = _table(f"attention at {memory.length:,} tokens, float32", "memory")
    for name, size in (
        ("one head of one layer, dense", memory.one_map),
        ("every head of one layer, dense", memory.one_layer),
        ("every head of one local layer, as a band", memory.one_band),
        ("every map of the model, dense", memory.all_maps),
        ("what mbexplore records instead (q and k)", memory.recorded),
    ):
        table.add_row(name, amount(size))
    return table


def share(part: float) -> str:
    """A share in per cent; one too small for a tenth is not called nothing."""
    return f"{part:.1%}" if part >= 0.0005 else "< 0.1%"


def amount(size: float) -> str:
    """Bytes as people read them, in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
