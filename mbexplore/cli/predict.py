"""`mbexplore predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import (
    model_line,
    notice_bundled,
    notice_cut,
    print_json,
    shown,
    write_whole,
)
from mbexplore.errors import UsageError
from mbexplore.files import TABLES

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from mbexplore.explorer import Answer, Comparison, Explorer, MaskPredictions

_BAR = 12


def predict(
    text: options.Text = None,
    file: options.File = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens named at each mask.")] = 5,
    no_hf: Annotated[bool, typer.Option("--no-hf", help="Leave Hugging Face out.")] = False,
    plot: view.Plot = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="png, svg, pdf, html, json or csv.", show_default=False
        ),
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Name the likeliest tokens at every [MASK], side by side with Hugging Face.

    A file and standard input hold one text a line.

    Example: mbexplore predict "The capital of France is [MASK]."
    """
    path = view.target(output, plot, "predict", TABLES)
    texts = (
        options.read_lines(text, file) if text in (None, "-") else [options.read_text(text, file)]
    )
    if path is not None and len(texts) > 1:
        raise UsageError(f"{path} holds the answer to one text, and {len(texts)} were given.")
    from mbexplore.explorer import load
    from mbexplore.views.predict import view_predict

    explorer = load(model, device=device, dtype=dtype)
    encodings = [explorer.encode_masked(one, truncate=truncate) for one in texts]
    for encoding in encodings:
        notice_cut(encoding)
        answer = explorer.predict(encoding, top_k=top_k)
        if not json:
            comparison = _print_answer(explorer, answer, with_hf=not no_hf)
        else:
            comparison = None if no_hf else explorer.compare(answer)
        seen = view_predict(explorer, answer, comparison)
        if json:
            print_json(seen.payload())
        if path is not None:
            write_whole(path, seen.content(path.suffix.removeprefix(".").lower()))
    notice_bundled(explorer.info)


def _print_answer(explorer: Explorer, answer: Answer, *, with_hf: bool) -> Comparison | None:
    """Prints ours at once; on a terminal the column of Hugging Face fills in when it is ready."""
    from rich.console import Console, Group
    from rich.live import Live

    console = Console(highlight=False)
    if not with_hf:
        console.print(*_render(answer, None, with_hf=False), sep="\n")
        return None
    if not console.is_terminal:
        comparison = explorer.compare(answer)
        console.print(*_render(answer, comparison, with_hf=True), sep="\n")
        return comparison
    with Live(Group(*_render(answer, None, with_hf=True)), console=console) as live:
        comparison = explorer.compare(answer)
        live.update(Group(*_render(answer, comparison, with_hf=True)), refresh=True)
    return comparison


def _render(answer: Answer, comparison: Comparison | None, *, with_hf: bool) -> list[Table | Text]:
    from rich.text import Text

    from mbexplore.views.predict import difference_line

    parts: list[Table | Text] = [Text(f"Model: {shown(model_line(answer.model))}", style="bold")]
    for i, mask in enumerate(answer.masks):
        theirs = comparison.masks[i] if comparison else None
        parts += [_sentence(answer, mask.position), _table(mask, theirs, with_hf=with_hf)]
    if comparison:
        parts.append(Text(difference_line(comparison)))
    elif with_hf:
        parts.append(Text("Hugging Face is loading\N{HORIZONTAL ELLIPSIS}", style="dim"))
    return parts


def _sentence(answer: Answer, position: int) -> Text:
    """The text around one mask, the mask itself standing out."""
    from rich.text import Text

    text = answer.encoding.text
    start, end = answer.encoding.offsets[position]
    left, right = max(0, start - 60), min(len(text), end + 60)
    before = ("\N{HORIZONTAL ELLIPSIS}" if left else "") + text[left:start]
    after = text[end:right] + ("\N{HORIZONTAL ELLIPSIS}" if right < len(text) else "")
    return Text.assemble(
        "\n", shown(before), (shown(text[start:end]), "bold reverse"), shown(after),
        (f"  token {position}", "dim"),
    )  # fmt: skip


def _table(ours: MaskPredictions, theirs: MaskPredictions | None, *, with_hf: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", justify="right", style="dim")
    for side in ("mbexplore", "Hugging Face") if with_hf else ("mbexplore",):
        table.add_column(side, overflow="fold")
        table.add_column("p", justify="right")
        table.add_column("", width=_BAR)
    for rank, mine in enumerate(ours.predictions):
        cells: list[Text | str] = [str(rank + 1)]
        pair = [mine, theirs.predictions[rank] if theirs else None] if with_hf else [mine]
        for prediction in pair:
            if prediction is None:
                cells += ["\N{HORIZONTAL ELLIPSIS}", "", ""]
                continue
            cells += [
                Text(shown(prediction.token.removeprefix(" ")) or "\N{OPEN BOX}"),
                f"{prediction.probability:.1%}",
                Text(bar(prediction.probability, _BAR), style="cyan"),
            ]
        table.add_row(*cells)
    return table


def bar(share: float, width: int) -> str:
    """A bar of `width` cells for a share from 0 to 1, to an eighth of a cell."""
    whole, eighths = divmod(round(share * width * 8), 8)
    return "\N{FULL BLOCK}" * int(whole) + " ▏▎▍▌▋▊▉"[int(eighths)].strip()
