"""`mbexplore embed`."""

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
    notice_cut,
    print_json,
    shown,
    write_whole,
)
from mbexplore.errors import UsageError
from mbexplore.files import check_target

if TYPE_CHECKING:
    from mbexplore.analysis.embed import Embeddings
    from mbexplore.explorer import ModelInfo


def embed(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...", help="The texts; - reads standard input.", show_default=False
        ),
    ] = None,
    file: options.File = None,
    pooling: Annotated[
        str, typer.Option(help="mean of all tokens, or cls, the first token's vector.")
    ] = "mean",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Save the vectors as npz.", show_default=False),
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Give each text its sentence vector, and the cosine between every two texts.

    Needs no head, so a bare encoder will do. A file and standard input hold one text a line.

    Example: mbexplore embed "The tide rises." "The sea comes in." "He paid the bill."
    """
    if output is not None:
        check_target(output, ("npz",))
    wanted = _texts(texts or [], file)
    from mbexplore.analysis.embed import embed as embed_texts
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    result = embed_texts(explorer, wanted, pooling, truncate=truncate)
    for encoding in result.encodings:
        notice_cut(encoding)
    if output is not None:
        write_whole(output, _arrays(result))
    if json:
        print_json(_payload(result, explorer.info))
    else:
        _print(result, model_line(explorer.info))
    notice_bundled(explorer.info)


def _texts(texts: list[str], file: Path | None) -> list[str]:
    if len(texts) > 1 and (file is not None or "-" in texts):
        other = f"--file {file}" if file is not None else "-"
        raise UsageError(f"Both TEXTs and {other} were given; give one of them.")
    if file is None and texts and texts != ["-"]:
        return [options.read_text(text, None) for text in texts]
    return options.read_lines(texts[0] if texts else None, file)


def _payload(result: Embeddings, info: ModelInfo) -> dict[str, Any]:
    return {
        "model": dataclasses.asdict(info),
        "pooling": result.pooling,
        "texts": [encoding.text for encoding in result.encodings],
        "vectors": result.vectors.tolist(),
        "cosine": result.cosine.tolist(),
    }


def _arrays(result: Embeddings) -> bytes:
    import numpy as np

    buffer = BytesIO()
    np.savez(
        buffer,
        vectors=result.vectors.cpu().numpy(),
        cosine=result.cosine.cpu().numpy(),
        texts=np.array([encoding.text for encoding in result.encodings]),
    )
    return buffer.getvalue()


def _print(result: Embeddings, model: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    count, hidden = result.vectors.shape
    plural = "s" if count > 1 else ""
    console.print(f"{count} vector{plural} of {hidden} numbers ({result.pooling}); cosine:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("text", overflow="ellipsis", max_width=40, no_wrap=True)
    for i in range(count):
        table.add_column(str(i), justify="right", no_wrap=True)
    for i, (encoding, row) in enumerate(zip(result.encodings, result.cosine.tolist(), strict=True)):
        cells = [f"{value:.3f}" for value in row]
        table.add_row(str(i), Text(shown(encoding.text)), *cells)
    console.print(table)
