"""`mbexplore heads`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_cut
from mbexplore.errors import RangeError
from mbexplore.files import ARRAYS, TABLES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.heads import HeadRow, HeadSimilarity
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Explorer
    from mbexplore.hooks import Progress
    from mbexplore.recording import Recording

_SHORT = {"previous": "prev", "punctuation": "punct", "cls": "CLS", "sep": "SEP"}
_LEAST = 0.1
"""The least share of the weight that the printed table names."""
_LEAST_SCORE = 0.005
"""The least score of a strongest head, 1% as printed: a text without a mask has no head for it."""


def heads(
    text: options.Text = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="LAYER.HEAD", help="Heads most like this one, in the first text."),
    ] = None,
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
    context: options.Context = None,
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

    Example: mbexplore heads "The river runs to the sea." --like 4.0
    """
    name = "heads" if like is None else "heads-like"
    path = view.target(output, plot, name, ARRAYS if like is None else TABLES)
    texts = _read_texts(text, file)
    from mbexplore.analysis.heads import head_atlas, similar_heads
    from mbexplore.explorer import load
    from mbexplore.views.heads import view_heads, view_similar_heads

    explorer = load(model, device=device, dtype=dtype)
    wanted = None if like is None else _find_head(explorer, like)
    truncate = truncate or (text is None and file is None)
    encodings = [explorer.encode(one, pair=context, truncate=truncate) for one in texts]
    for encoding in encodings:
        notice_cut(encoding)
    with view.progress("Layers") as advance:
        step = _stepper(explorer, len(encodings), advance)
        atlas = head_atlas(_record_all(explorer, encodings, step), step)
    if wanted is None:
        seen = view_heads(explorer, encodings, atlas, file)
        view.give(seen, path, json, lambda: _print(explorer, encodings, atlas), explorer.info)
    else:
        recording = view.recorded(explorer, encodings[0], ("attention",))
        with view.progress("Heads") as advance:
            likes = similar_heads(recording, *wanted, progress=advance)
        seen = view_similar_heads(explorer, encodings, atlas, likes, wanted, file)
        view.give(seen, path, json, lambda: _print_likes(explorer, wanted, likes, atlas),
                  explorer.info)  # fmt: skip


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


def _stepper(explorer: Explorer, texts: int, advance: Progress) -> Progress:
    """Counts every layer of every text twice: when it is run, and when its maps are read."""
    layers = 2 * texts * explorer.model.config.num_hidden_layers
    numbers = itertools.count(1)
    return lambda done, total: advance(next(numbers), layers)


def _record_all(
    explorer: Explorer, encodings: list[Encoding], step: Progress
) -> Iterator[Recording]:
    from mbexplore.hooks import watched

    for encoding in encodings:
        with watched(explorer.model, step):
            recording = explorer.record(encoding, keep=("attention", "values"))
        yield recording


def _print(explorer: Explorer, encodings: list[Encoding], atlas: tuple[HeadRow, ...]) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.heads import strongest_heads
    from mbexplore.display.palette import ON_EITHER

    console, one = Console(highlight=False), len(encodings) == 1
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    tokens = sum(map(len, encodings))
    console.print(f"{len(encodings):,} text{'' if one else 's'}, {tokens:,} tokens.")
    if console.is_terminal:
        _print_maps(console, atlas)
    table = view.build_table("head", "class", "entropy", "dist", "weight on", "sinks",
                             left=("head", "class", "weight on", "sinks"))  # fmt: skip
    for column in table.columns[:-1]:
        column.no_wrap = True  # a narrow terminal cuts the sinks alone
    for row in atlas:
        style = ON_EITHER[row.kind]
        masses = sorted(row.masses.items(), key=lambda item: -item[1])[:2]
        on = " ".join(f"{_SHORT.get(name, name)} {_share(mass)}" for name, mass in masses
                      if mass >= _LEAST)  # fmt: skip
        table.add_row(
            Text(f"{row.layer}.{row.head}", style=style),
            Text(f"{row.label} {_share(row.score)}", style="dim" * (row.label == "unclassified")),
            f"{row.entropy:.2f}", f"{row.distance:.1f}", on, _in_a_line(_sinks(row)),
        )  # fmt: skip
    console.print(table)
    best = ", ".join(
        f"{name} {row.layer}.{row.head} ({_share(row.scores[name])})"
        for name, row in strongest_heads(atlas).items()
        if row.scores[name] >= _LEAST_SCORE
    )
    if best:
        console.print(Text(f"The strongest of each: {best}."))
    console.print(
        Text(
            f"Shares of the weight over all queries, from {_share(_LEAST)} on; far is beyond the "
            "half window of a local layer. Sinks: token, mean weight, and the length of its value "
            "against the mean.",
            style="dim",
        )
    )


def _print_maps(console: Console, atlas: tuple[HeadRow, ...]) -> None:
    """The atlas in colours: layers by heads, a map for everything that some head looks at."""
    import numpy as np

    from mbexplore.analysis.heads import MASSES
    from mbexplore.cli.heatmap import print_atlas

    shape = atlas[-1].layer + 1, atlas[-1].head + 1
    panels = {"entropy": np.reshape([row.entropy for row in atlas], shape)}
    for name in MASSES:
        masses = np.reshape([row.masses[name] for row in atlas], shape)
        if masses.any():
            panels[_SHORT.get(name, name)] = np.sqrt(masses)
    print_atlas(console, panels)
    console.print(
        "Layers down, heads across, brighter for more: entropy, and shares of the weight on a "
        "square-root scale.",
        style="dim",
    )


def _sinks(row: HeadRow) -> str:
    """The sinks of a head, with their weights and the lengths of their values."""
    return "  ".join(
        f"{view.word(sink.token)} {_share(sink.weight)} "
        f"{sink.value_norm / max(sink.mean_value_norm, 1e-30):.1f}x"
        for sink in row.sinks
    )


def _in_a_line(text: str) -> Text:
    """A cell that is cut rather than folded."""
    from rich.text import Text

    return Text(text, no_wrap=True, overflow="ellipsis")


def _share(value: float) -> str:
    """A share as in ".40"; 1.0 for all of it."""
    return f"{value:.2f}"[1:] if value < 0.995 else "1.0"


def _print_likes(
    explorer: Explorer,
    like: tuple[int, int],
    likes: tuple[HeadSimilarity, ...],
    atlas: tuple[HeadRow, ...],
) -> None:
    from rich.console import Console
    from rich.text import Text

    named = {(row.layer, row.head): row for row in atlas}
    own, console = named[like], Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(
        f"Head {own.layer}.{own.head} ({own.kind}, {own.label}), and the heads most like it by "
        "Jensen-Shannon distance of their rows (0 the same, 1 nothing shared):"
    )
    table = view.build_table("head", "kind", "class", "distance", left=("head", "kind", "class"))
    for each in likes[:10]:
        row = named[each.layer, each.head]
        table.add_row(f"{row.layer}.{row.head}", row.kind, row.label, f"{each.distance:.3f}")
    console.print(table)
