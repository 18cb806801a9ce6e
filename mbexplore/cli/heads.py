"""`mbexplore heads`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from mbexplore.errors import RangeError
from mbexplore.files import PICTURES, check_target

if TYPE_CHECKING:
    from mbexplore.analysis.heads import HeadRow, Likeness
    from mbexplore.explorer import Explorer
    from mbexplore.recording import Recording
    from mbexplore.tokenizer import Encoding

_COLUMNS = ("self", "previous", "next", "cls", "sep", "punctuation", "mask", "edge")


def heads(
    text: options.Text = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="LAYER.HEAD", help="Heads most like this one, in the first text."),
    ] = None,
    plot: view.Plot = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="png, svg, pdf, json or csv.", show_default=False),
    ] = None,
    file: options.File = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Show what every head does: where its weight goes, how widely, and a class for it.

    A file and standard input hold one text a line, and the atlas is averaged over all of them;
    without TEXT, a bundled paragraph.

    Example: mbexplore heads --file notes.txt -o heads.csv
    """
    if plot and output is None:
        output = Path("heads.png")
    if output is not None:
        check_target(output, PICTURES if plot else (*PICTURES, "json", "csv"))
    texts = _read_texts(text, file)
    from mbexplore.analysis.heads import head_atlas, similar_heads
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    wanted = None if like is None else _find_head(explorer, like)
    encodings = [explorer.encode(one, truncate=truncate) for one in texts]
    for encoding in encodings:
        notice_cut(encoding)
    likes: tuple[Likeness, ...] = ()
    if wanted is not None:
        likes = similar_heads(explorer.record(encodings[0], keep=("attention",)), *wanted)
    with view.progress("Heads") as advance:
        rows = head_atlas(_record_all(explorer, encodings), advance, len(encodings))
    payload: dict[str, Any] = {
        "model": dataclasses.asdict(explorer.info),
        "texts": len(encodings),
        "tokens": sum(map(len, encodings)),
        "heads": [dataclasses.asdict(row) for row in rows],
    }
    if wanted is not None:
        payload["like"] = {"layer": wanted[0], "head": wanted[1]}
        payload["similar"] = [dataclasses.asdict(each) for each in likes]
    _save(output, payload, rows)
    if json:
        print_json(payload)
    elif likes:
        _print_likes(model_line(explorer.info), payload, likes, rows)
    else:
        _print(model_line(explorer.info), payload, rows)
    notice_bundled(explorer.info)


def _read_texts(text: str | None, file: Path | None) -> list[str]:
    if text is None and file is None:
        return [options.sample_text()]
    if text in (None, "-"):
        return options.read_lines(text, file)
    return [options.read_text(text, file)]


def _find_head(explorer: Explorer, name: str) -> tuple[int, int]:
    layer, dot, head = name.partition(".")
    if not (dot and layer.isdecimal() and head.isdecimal()):
        raise RangeError(f"{name!r} is no head; write LAYER.HEAD, such as 3.1.")
    explorer.check_layer_and_head(int(layer), int(head))
    return int(layer), int(head)


def _record_all(explorer: Explorer, encodings: list[Encoding]) -> Iterator[Recording]:
    for encoding in encodings:
        yield explorer.record(encoding, keep=("attention", "values"))


def _save(path: Path | None, payload: dict[str, Any], rows: tuple[HeadRow, ...]) -> None:
    if path is not None and path.suffix.lower() == ".csv":
        write_whole(path, _csv(rows).encode())
        return

    def draw() -> Any:
        from mbexplore.plots.heads import plot_heads

        return plot_heads(rows, payload["model"]["name"], payload["tokens"])

    view.save(path, payload, draw)


def _csv(rows: tuple[HeadRow, ...]) -> str:
    import csv
    from io import StringIO

    lines = StringIO()
    writer = csv.writer(lines)
    plain = ("layer", "head", "kind", "label", "score", "entropy", "distance")
    sink = [field.name for field in dataclasses.fields(rows[0].sink)]
    writer.writerow([*plain, *_COLUMNS, *(f"sink_{name}" for name in sink)])
    for row in rows:
        own = [getattr(row, name) for name in plain]
        masses = [row.masses[name] for name in _COLUMNS]
        writer.writerow([*own, *masses, *(getattr(row.sink, name) for name in sink)])
    return lines.getvalue()


def _print(model: str, payload: dict[str, Any], rows: tuple[HeadRow, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    one = payload["texts"] == 1
    console.print(f"{payload['texts']:,} text{'' if one else 's'}, {payload['tokens']:,} tokens.")
    table = view.build_table("head", "class", "", "entropy", "dist", "self", "prev", "next", "CLS",
                             "SEP", "punct", "mask", "edge", "sink", "", "|v|",
                             left=("head", "class", "sink"))  # fmt: skip
    for row in rows:
        style = {"global": "blue", "local": "yellow"}[row.kind]
        sink = row.sink
        table.add_row(
            Text(f"{row.layer}.{row.head}", style=style), row.label, f"{row.score:.2f}",
            f"{row.entropy:.2f}", f"{row.distance:.1f}",
            *(f"{row.masses[name]:.2f}"[1 if row.masses[name] < 0.995 else 0 :]
              for name in _COLUMNS[:-1]),
            f"{row.masses['edge']:.2f}"[1:] if row.kind == "local" else "",
            Text(view.word(sink.token)), f"{sink.weight:.2f}",
            f"{sink.value_norm / max(sink.mean_value_norm, 1e-30):.1f}x",
        )  # fmt: skip
    console.print(table)
    console.print(
        Text(
            "Shares of the weight, over all queries. sink: the token that gets the most, its mean "
            "weight, and the length of its value against the mean.",
            style="dim",
        )
    )


def _print_likes(
    model: str,
    payload: dict[str, Any],
    likes: tuple[Likeness, ...],
    rows: tuple[HeadRow, ...],
) -> None:
    from rich.console import Console
    from rich.text import Text

    named = {(row.layer, row.head): row for row in rows}
    own = named[payload["like"]["layer"], payload["like"]["head"]]
    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    console.print(
        f"Head {own.layer}.{own.head} ({own.kind}, {own.label}), and the heads most like it by "
        "Jensen-Shannon distance of their rows (0 the same, 1 nothing shared):"
    )
    table = view.build_table("head", "kind", "class", "distance", left=("head", "kind", "class"))
    for each in likes[:10]:
        row = named[each.layer, each.head]
        table.add_row(f"{row.layer}.{row.head}", row.kind, row.label, f"{each.distance:.3f}")
    console.print(table)
