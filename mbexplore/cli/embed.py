"""`mbexplore embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut, shown
from mbexplore.errors import UsageError
from mbexplore.files import ARRAYS

if TYPE_CHECKING:
    from mbexplore.analysis.embed import Embeddings


def embed(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TEXT]...", help="The texts; - reads standard input.", show_default=False
        ),
    ] = None,
    file: options.File = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="mean, cls, max, lasttoken, weightedmean or mean_sqrt_len_tokens; by default what "
            "the model's own sentence-transformers files say, or mean.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="A prompt of the model to put before each text, by its name.", show_default=False
        ),
    ] = None,
    plot: view.Plot = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="npz for the vectors; png, svg, pdf, html, json or csv.",
            show_default=False,
        ),
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
    path = view.target(output, plot, "embed", ARRAYS)
    wanted = _texts(texts or [], file)
    from mbexplore.analysis.embed import embed as embed_texts
    from mbexplore.explorer import load
    from mbexplore.views.embed import view_embed

    explorer = load(model, device=device, dtype=dtype)
    result = embed_texts(explorer, wanted, pooling, prompt=prompt, truncate=truncate)
    for encoding in result.encodings:
        notice_cut(encoding)
    view.give(
        view_embed(explorer, result), path, json,
        lambda: _print(result, model_line(explorer.info)), explorer.info,
    )  # fmt: skip


def _texts(texts: list[str], file: Path | None) -> list[str]:
    if len(texts) > 1 and (file is not None or "-" in texts):
        other = f"--file {file}" if file is not None else "-"
        raise UsageError(f"Both TEXTs and {other} were given; give one of them.")
    if file is None and texts and texts != ["-"]:
        return [options.read_text(text, None) for text in texts]
    return options.read_lines(texts[0] if texts else None, file)


def _print(result: Embeddings, model: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    count, hidden = result.vectors.shape
    plural = "s" if count > 1 else ""
    prompt = "" if result.prompt is None else f", prompt {shown(result.prompt)}"
    console.print(f"{count} vector{plural} of {hidden} numbers ({result.pooling}{prompt}); cosine:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    table.add_column("text", overflow="ellipsis", max_width=40, no_wrap=True)
    for i in range(count):
        table.add_column(str(i), justify="right", no_wrap=True)
    for i, (text, row) in enumerate(zip(result.texts, result.cosine.tolist(), strict=True)):
        cells = [f"{value:.3f}" for value in row]
        table.add_row(str(i), Text(shown(text)), *cells)
    console.print(table)
