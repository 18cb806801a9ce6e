"""What commands print and save. Answers go to stdout; notices, paths and warnings to stderr."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mbexplore import files
from mbexplore.text import json_line
from mbexplore.text import shown as shown

if TYPE_CHECKING:
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.display.blocks import Block
    from mbexplore.explorer import ModelInfo


def print_json(payload: dict[str, Any]) -> None:
    """One JSON object on one line."""
    typer.echo(json_line(payload))


def print_blocks(blocks: Iterable[Block]) -> None:
    """Prints blocks for people."""
    from rich.console import Console

    from mbexplore.display.terminal import render

    console = Console(highlight=False)
    for block in blocks:
        console.print(render(block))


def notice(message: str, *, dim: bool = True) -> None:
    """A line on stderr."""
    typer.secho(message, err=True, dim=dim)


def notice_bundled(info: ModelInfo, asked: str | None = None) -> None:
    """Says, where the bundled model answered and nobody asked for it, how to get the real one."""
    if info.source == "bundled" and asked is None:
        notice(
            "Answered by the small bundled model, tiny; -m base opens answerdotai/ModernBERT-base "
            "(a download of 599 MB, once)."
        )


def notice_cut(encoding: Encoding) -> None:
    """Says that a text was truncated."""
    if encoding.is_cut:
        notice(f"The text was cut from {encoding.full_length:,} to {len(encoding):,} tokens.")


def model_line(info: ModelInfo) -> str:
    """Which model answered, in one line."""
    source = "" if info.source == info.name else f" ({info.source})"
    return f"{info.name}{source}, {info.parameters:,} parameters, {info.dtype} on {info.device}"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file whole, or not at all; tells its path."""
    files.write_whole(path, content)
    typer.echo(str(path), err=True)
