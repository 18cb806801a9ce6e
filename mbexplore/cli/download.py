"""`mbexplore download`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from mbexplore.cli import options
from mbexplore.cli.models import size_name
from mbexplore.cli.output import model_line, print_json
from mbexplore.text import shown


def download(
    name: Annotated[
        str, typer.Argument(help="base, large, or a hub id; NAME@REVISION for a branch or commit.")
    ],
    json: options.Json = False,
) -> None:
    """Fetch a model into the local cache, and check that it is whole and what the hub describes.

    What was stopped, by a broken connection or in any other way, is taken up where it stopped;
    what is cached already is checked alone.

    Example: mbexplore download base
    """
    from mbexplore.checkpoints.fetch import check_blobs
    from mbexplore.explorer import load

    explorer = load(name, device="cpu")
    folder = explorer.files.folder
    check_blobs(folder)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    if json:
        print_json(
            {"model": dataclasses.asdict(explorer.info), "folder": str(folder), "bytes": size}
        )
        return
    typer.echo(shown(f"{model_line(explorer.info)}: {size_name(size)}, every tensor in its place."))
    typer.echo(shown(str(folder)))
