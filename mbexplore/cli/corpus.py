"""`mbexplore corpus`: what every head and neuron does over many texts."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options
from mbexplore.cli.output import notice, print_blocks, print_json
from mbexplore.cli.progress import progress
from mbexplore.prompts import Prompts

if TYPE_CHECKING:
    from mbexplore.corpus.sketch import Sketch
    from mbexplore.explorer import Explorer

app = typer.Typer(
    name="corpus",
    help="What every head and neuron does over many texts.\n\n"
    "Example: mbexplore corpus build notes.txt -o notes",
    no_args_is_help=True,
)
Texts = Annotated[
    Path,
    typer.Argument(metavar="TEXTS", help="One text a line, or csv, tsv, jsonl or parquet."),
]
Folder = Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]


@app.command()
def build(
    texts: Texts,
    output: Folder,
    column: options.Column = None,
    id: options.Id = None,
    control: Annotated[
        bool, typer.Option("--control", help="Run the freshly initialised model beside it.")
    ] = False,
    truncate: options.Truncate = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples and the control.")] = 0,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Run the model over every text and write what its heads and neurons do, as Parquet.

    Attention weights and activations are summed as they pass and none is kept. A build that was
    stopped goes on when the command is given again.

    Example: mbexplore corpus build sentences.txt -o sentences
    """
    from mbexplore.corpus import build as work
    from mbexplore.corpus.store import MANIFEST, arrow, write_store
    from mbexplore.explorer import load

    arrow()  # before any work
    prompts = Prompts(texts, column, id)
    total = prompts.count()
    explorer = load(model, device=device, dtype=dtype)
    about = work.describe(explorer, prompts, truncate=truncate, seed=seed)
    with work.alone(output):
        work.check_free(output)
        started = monotonic()
        sketch = _run(explorer, prompts, output / work.STATE, about, "Texts")
        chance = None
        if control:
            chance = _run(
                work.build_control(explorer, seed), prompts, output / work.CONTROL, about, "Control"
            )
        write_store(output, explorer, prompts, sketch, work.find_thresholds(explorer), chance)
        for name in (work.STATE, work.CONTROL):
            (output / name).unlink(missing_ok=True)
        seconds = monotonic() - started
    ran, tokens, empty, unusable = sketch.arrays["counts"].tolist()
    left_out = f", {empty:,} empty" * (empty > 0) + f", {unusable:,} too long" * (unusable > 0)
    notice(f"{output / MANIFEST}: {ran:,} of {total:,} texts, {tokens:,} tokens{left_out}; "
           f"{seconds:.0f} s", dim=False)  # fmt: skip


def _run(
    explorer: Explorer, prompts: Prompts, path: Path, about: dict[str, Any], what: str
) -> Sketch:
    from mbexplore.corpus.build import run_blocks

    if path.exists():
        notice(f"Going on with what {path} has.")
    with progress(what) as advance:
        return run_blocks(explorer, prompts, path, about, advance)


@app.command()
def search(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The corpus; the bundled one by default.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Uses with this query or key, or where neurons fire.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Heads for which it holds: 'previous>0.5'; repeat it for more."),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(metavar="global|local", help="Heads of such layers.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows at most.")] = 20,
    json: options.Json = False,
) -> None:
    """Find heads by their metrics, or heads and neurons by a token of their examples.

    Example: mbexplore corpus search --metric 'previous>0.5' --kind local
    """
    from mbexplore.corpus.profile import bundled_folder
    from mbexplore.corpus.search import find
    from mbexplore.corpus.store import Store
    from mbexplore.views.corpus import search_blocks

    store = Store(folder or bundled_folder())
    found = find(store, token=token, metrics=metric or (), kind=kind, limit=limit)
    if json:
        print_json({"heads": found.heads, "neurons": found.neurons})
        return
    print_blocks(search_blocks(found))
