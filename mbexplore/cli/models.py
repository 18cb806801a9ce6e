"""`mbexplore models`."""

from __future__ import annotations

import dataclasses

import typer

from mbexplore.cli import options
from mbexplore.cli.output import print_blocks, print_json
from mbexplore.display.blocks import Cell, Table


def models(json: options.Json = False) -> None:
    """List the models that can be named: bundled, in the local cache, on the hub.

    A folder and any other hub id of a ModernBERT will do as well.

    Example: mbexplore models
    """
    from mbexplore.checkpoints.hub import list_models

    found = list_models()
    if json:
        print_json({"models": [dataclasses.asdict(listing) for listing in found]})
        return
    rows = tuple(
        (
            Cell(listing.name, strong=listing.size is not None),
            listing.place,
            listing.parameters and _count_name(listing.parameters),
            listing.size and size_name(listing.size),
        )
        for listing in found
    )
    print_blocks([Table(("name", "where", "params", "on disk"), rows, left=("name", "where"))])
    typer.echo("mbexplore download NAME fetches one; -m NAME opens it.", err=True)


def size_name(size: int) -> str:
    """A number of bytes as people say it."""
    if size >= 10**9:
        return f"{size / 10**9:.2f} GB"
    return f"{size / 10**6:.{0 if size >= 10**8 else 1}f} MB"


def _count_name(count: int) -> str:
    return f"{count / 10**9:.1f} B" if count >= 10**9 else f"{count / 10**6:.0f} M"
