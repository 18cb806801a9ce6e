"""`mbexplore lens`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import model_line, notice_bundled, notice_cut, print_json
from mbexplore.errors import UsageError

if TYPE_CHECKING:
    from mbexplore.analysis.lens import Lens, LensMap
    from mbexplore.explorer import Explorer
    from mbexplore.tokenizer import Encoding

COLOURS = ("rank", "entropy", "kl")


def lens(
    text: options.Text = None,
    at: view.At = None,
    answer: view.AnswerToken = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="Tokens named after a layer.")] = 3,
    all_tokens: Annotated[
        bool, typer.Option("--all", help="Every token of the text: layers by positions.")
    ] = False,
    colour: Annotated[
        str, typer.Option(help="What colours the picture of --all: rank, entropy or kl.")
    ] = "rank",
    plot: view.Plot = False,
    output: view.Output = None,
    file: options.File = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Show what the model would answer if it stopped after each layer: the logit lens.

    Example: mbexplore lens "The capital of France is [MASK]."
    """
    if colour not in COLOURS:
        raise UsageError(f"There is no colour {colour!r}; choose {', '.join(COLOURS)}.")
    path = view.find_output(output, plot, "lens")
    source = options.read_text(text, file)
    from mbexplore.analysis import lens as analysis
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, truncate=truncate)
    notice_cut(encoding)
    if all_tokens:
        _show_all(explorer, encoding, path, colour, json)
    else:
        found = analysis.lens(explorer, encoding, at, answer=answer, top_k=top_k)
        payload = {"model": dataclasses.asdict(explorer.info), **dataclasses.asdict(found)}
        payload["not_shown"] = analysis.NOT_SHOWN

        def draw() -> Any:
            from mbexplore.plots.lens import plot_lens

            return plot_lens(found, explorer.model.config.layer_kinds, explorer.info.name)

        view.save(path, payload, draw)
        print_json(payload) if json else _print(explorer, found)
    notice_bundled(explorer.info)


def _show_all(
    explorer: Explorer, encoding: Encoding, path: Path | None, colour: str, json: bool
) -> None:
    from mbexplore.analysis.lens import NOT_SHOWN, lens_map

    found = lens_map(explorer, encoding)
    payload = {
        "model": dataclasses.asdict(explorer.info),
        "tokens": list(found.tokens),
        "top": found.top,
        **{name: getattr(found, name).tolist() for name in COLOURS},
        "not_shown": NOT_SHOWN,
    }

    def draw() -> Any:
        from mbexplore.plots.lens import plot_lens_map

        return plot_lens_map(found, explorer.model.config.layer_kinds, colour, explorer.info.name)

    view.save(path, payload, draw)
    print_json(payload) if json else _print_all(explorer, found)


def _print(explorer: Explorer, found: Lens) -> None:
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.lens import NOT_SHOWN

    console, kinds = Console(highlight=False), explorer.model.config.layer_kinds
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    console.print(view.marked(found.tokens, found.target.position))
    answer = view.word(found.target.token)
    table = view.build_table("after", "would answer", "", f"rank of {answer}", "p", "KL", "entropy",
                             left=("after", "would answer"))  # fmt: skip
    for row in found.rows:
        names = [f"{view.word(p.token)} {p.probability:.0%}" for p in row.predictions]
        style = (
            "" if row.state == 0 else {"global": "blue", "local": "yellow"}[kinds[row.state - 1]]
        )
        table.add_row(
            Text(view.state_name(row.state), style=style), Text("  ".join(names)), "",
            f"{row.rank:,}", f"{row.probability:.1%}", f"{row.kl:.2f}", f"{row.entropy:.2f}",
        )  # fmt: skip
    console.print(table)
    if found.settled is None:
        console.print(Text(f"{answer} is not first in the end."))
    else:
        where = view.state_name(found.settled)
        console.print(Text(f"{answer} is first from {where} on, and stays first."))
    console.print(Text(f"KL to the final distribution and entropy in nats. {NOT_SHOWN}", "dim"))


def _print_all(explorer: Explorer, found: LensMap) -> None:
    """One line a token: what it ends as, and since when."""
    from rich.console import Console
    from rich.text import Text

    from mbexplore.analysis.lens import NOT_SHOWN, settled_states

    console = Console(highlight=False)
    console.print(Text(f"Model: {model_line(explorer.info)}", style="bold"))
    table = view.build_table("", "token", "final answer", "first since", "entropy at the end",
                             left=("token", "final answer", "first since"))  # fmt: skip
    for i, since in enumerate(settled_states(found)):
        table.add_row(
            str(i), Text(view.word(found.tokens[i])), Text(view.word(found.top[-1][i])),
            view.state_name(since), f"{found.entropy[-1, i]:.2f}",
        )  # fmt: skip
    console.print(table)
    console.print(Text(f"--plot draws every layer. {NOT_SHOWN}", style="dim"))
