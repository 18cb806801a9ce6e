"""`mbexplore corpus`: what every head and neuron does over many texts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mbexplore.cli import options
from mbexplore.cli.command import Group, OnceCommand
from mbexplore.cli.output import notice
from mbexplore.cli.progress import progress
from mbexplore.errors import UsageError

if TYPE_CHECKING:
    from mbexplore.corpus.build import Build
    from mbexplore.corpus.cluster import Cluster
    from mbexplore.corpus.dictionary import Dictionary
    from mbexplore.corpus.sketch import Sketch
    from mbexplore.corpus.sources import Source
    from mbexplore.explorer import Explorer

app = typer.Typer(
    name="corpus",
    cls=Group,
    help="What every head and neuron does over many texts.\n\n"
    "Example: mbexplore corpus build notes.txt -o notes",
    no_args_is_help=True,
)
Texts = Annotated[
    list[Path],
    typer.Argument(
        metavar="TEXTS",
        help="Files with a text a line, or csv, tsv, jsonl or parquet; or hf:NAME[:SPLIT], a "
        "dataset of the Hugging Face Hub.",
    ),
]
Folder = Annotated[Path, typer.Option("-o", "--output", help="The folder to write.")]
Engine = Annotated[
    Literal["here", "ray", "torchrun"],
    typer.Option(
        help="Where it runs: in this process, on a Ray cluster ($RAY_ADDRESS, or this machine), or "
        "as one of the processes that torchrun or Slurm starts ($RANK of $WORLD_SIZE)."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Stop where a row is broken.")]
Control = Annotated[
    bool, typer.Option("--control", help="Run the freshly initialised model beside it.")
]
Shuffled = Annotated[
    bool, typer.Option("--shuffled", help="Run the model with its own weights shuffled beside it.")
]
Features = Annotated[
    Path | None,
    typer.Option(help="Features to look at too: a sparse autoencoder, as SAELens writes it."),
]
TapName = Annotated[
    str | None, typer.Option(help="What it was trained on, layers.5.resid_post for example.")
]
_RAY = "With --engine ray"
Workers = Annotated[
    int | None, typer.Option(min=1, help="Copies of the model; 2 by default.", rich_help_panel=_RAY)
]
Cpus = Annotated[
    float | None, typer.Option(min=0, help="Of each copy; 1 by default.", rich_help_panel=_RAY)
]
Gpus = Annotated[
    float | None, typer.Option(min=0, help="Of each copy; none by default.", rich_help_panel=_RAY)
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1, help="Blocks of 64 texts between two saves; 16 by default.", rich_help_panel=_RAY
    ),
]
Environment = Annotated[
    str | None,
    typer.Option("--runtime-env", metavar="JSON", help="Ray's runtime_env.", rich_help_panel=_RAY),
]


@app.command(cls=OnceCommand)
def build(
    texts: Texts,
    output: Folder,
    column: options.Column = None,
    id: options.Id = None,
    control: Control = False,
    shuffled: Shuffled = False,
    dictionary: Features = None,
    tap: TapName = None,
    truncate: options.Truncate = False,
    strict: Strict = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the samples and the control.")] = 0,
    engine: Engine = "here",
    workers: Workers = None,
    cpus: Cpus = None,
    gpus: Gpus = None,
    batch: Batch = None,
    environment: Environment = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Run the model over every text and write what its heads and neurons do, as Parquet.

    Attention weights and activations are summed as they pass and none is kept. A build that was
    stopped goes on when the command is given again, with any engine.

    Example: mbexplore corpus build sentences.txt -o sentences
    """
    from mbexplore.corpus.build import alone, check_free
    from mbexplore.corpus.finish import finish
    from mbexplore.corpus.sources import find_sources
    from mbexplore.corpus.tables import arrow

    if control and shuffled:
        raise UsageError("--control and --shuffled are two controls; give one of them.")
    cluster = _cluster(engine, workers=workers, cpus=cpus, gpus=gpus, batch=batch,
                       environment=environment)  # fmt: skip
    rank, world = _place(engine)
    opened = model, own_device(device, engine, os.environ), dtype
    arrow()  # before any work
    sources = find_sources(texts, column, id, strict=strict)
    for error in (error for source in sources for error in source.errors):
        notice(error)
    chance = None if not (control or shuffled) else int(shuffled)
    more = {"truncate": truncate, "seed": seed}
    planned = _planned(output, sources, opened, (dictionary, tap), chance, more)
    started = monotonic()
    with alone(output, str(rank)):
        check_free(output)
        for kind in planned.kinds:
            _run(planned, kind, cluster, opened, rank, world)
        whole = finish(planned)
    if whole is None:
        notice(f"Worker {rank} of {world} is done; the last one writes the tables.")
        return
    _report(output, whole, planned.rows, monotonic() - started)


def _planned(
    output: Path,
    sources: tuple[Source, ...],
    opened: tuple[str | None, str, str],
    features: tuple[Path | None, str | None],
    control: int | None,
    more: dict[str, Any],
) -> Build:
    """What is built: `control` is the number of one in `CONTROLS`, `more` goes to `describe`."""
    from mbexplore.corpus.build import CONTROL, SKETCH, Build, find_thresholds, save_memory
    from mbexplore.corpus.sources import CONTROLS, describe
    from mbexplore.explorer import load

    name, device, dtype = opened
    explorer = load(name, device=device, dtype=dtype)
    save_memory(explorer)
    dictionary, named = _dictionary(*features, explorer)
    thresholds = find_thresholds(explorer, dictionary)
    about = describe(explorer, thresholds, dictionary=named, control=CONTROLS[control or 0], **more)
    kinds = (SKETCH,) if control is None else (SKETCH, CONTROL)
    return Build(output.absolute(), sources, about, explorer, kinds, dictionary)


def _dictionary(
    path: Path | None, tap: str | None, explorer: Explorer
) -> tuple[Dictionary | None, dict[str, Any] | None]:
    """The dictionary that is named, and what names it.

    Raises:
        UsageError: only one of the two is there.
        MbexploreError: it can't be read, or is of another model.
    """
    from mbexplore.corpus.dictionary import Dictionary
    from mbexplore.corpus.sources import hash_file

    if path is None and tap is None:
        return None, None
    if path is None or tap is None:
        raise UsageError("--dictionary and --tap go together; give both.")
    found = Dictionary.load(path, tap)
    found.check_model(explorer.model)
    named = {"file": path.name, "sha256": hash_file(path), "tap": tap, "features": found.features}
    return found, named


def own_device(device: str, engine: str, environ: Mapping[str, str]) -> str:
    """The GPU of this process among those of its machine, by $LOCAL_RANK of torchrun.

    A process that sees one GPU alone, as Slurm may have it, takes that one.
    """
    local = environ.get("LOCAL_RANK", environ.get("SLURM_LOCALID", ""))
    if engine != "torchrun" or device not in ("auto", "cuda") or not local.isdigit():
        return device
    from torch import cuda

    return f"cuda:{int(local) % cuda.device_count()}" if cuda.is_available() else device


def _run(
    planned: Build, kind: str, cluster: Cluster | None, opened: tuple[Any, ...], rank: int,
    world: int,
) -> None:  # fmt: skip
    """All blocks of one kind, or those of this process."""
    from mbexplore.corpus.build import CONTROL, run_share

    if there := len(planned.done(kind)):
        notice(f"Going on after {there:,} of {len(planned.keys):,} blocks.")
    with progress("Control" if kind == CONTROL else "Texts") as advance:
        if cluster is None:
            run_share(planned, kind, advance, rank, world)
            return
        from mbexplore.corpus.cluster import Opened, run_on_ray

        run_on_ray(planned, Opened(*opened), cluster, kind, advance)


def _cluster(engine: str, **asked: Any) -> Cluster | None:
    """What is asked of Ray, where it is the engine.

    Raises:
        UsageError: it isn't and an option of it was given; or its environment is no JSON object.
    """
    import json

    from mbexplore.corpus.cluster import Cluster

    given = {name: value for name, value in asked.items() if value is not None}
    if engine != "ray":
        for name in given:
            name = "runtime-env" if name == "environment" else name
            raise UsageError(f"--{name} has no effect without --engine ray; leave it out.")
        return None
    if "environment" in given:
        try:
            given["environment"] = dict(json.loads(given["environment"]))
        except (ValueError, TypeError):
            raise UsageError(
                f"--runtime-env {given['environment']!r} is no JSON object; write "
                """'{"pip": ["mbexplore"]}', say."""
            ) from None
    return Cluster(**given)


def _place(engine: str) -> tuple[int, int]:
    """The rank of this process, and how many there are.

    Raises:
        UsageError: nothing says so.
    """
    if engine != "torchrun":
        return 0, 1
    try:
        rank, world = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE"))
    except (KeyError, ValueError):
        raise UsageError(
            "--engine torchrun reads $RANK and $WORLD_SIZE; start it with torchrun "
            "--nproc-per-node 2 -m mbexplore corpus build, or set both."
        ) from None
    if not 0 <= rank < world:
        raise UsageError(f"$RANK is {rank} and $WORLD_SIZE {world}; set ranks that count from 0.")
    return rank, world


def _report(folder: Path, whole: Sketch, rows: int, seconds: float | None = None) -> None:
    from mbexplore.corpus.store import MANIFEST

    ran, tokens, *others = whole.arrays["counts"].tolist()
    named = zip(others, ("empty", "too long", "broken"), strict=True)
    left_out = "".join(f", {count:,} {what}" for count, what in named if count)
    took = "" if seconds is None else f"; {seconds:.0f} s, {ran / seconds:,.0f} texts/s"
    notice(
        f"{folder / MANIFEST}: {ran:,} of {rows:,} texts, {tokens:,} tokens{left_out}{took}",
        dim=False,
    )


@app.command()
def merge(
    stores: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Finished stores of one model.")
    ],
    output: Folder,
    model: options.Model = None,
) -> None:
    """Join finished stores into one, as one build over all their texts writes it.

    Example: mbexplore corpus merge notes letters -o both
    """
    from mbexplore.corpus.build import alone, check_free
    from mbexplore.corpus.finish import merge_stores
    from mbexplore.corpus.reader import Store
    from mbexplore.explorer import load

    opened = [Store(folder) for folder in stores]
    if len(opened) < 2:
        raise UsageError(f"{stores[0]} is one store; name at least two.")
    dtypes = {store.manifest["model"]["dtype"] for store in opened}
    explorer = load(model, device="cpu", dtype=dtypes.pop())
    with alone(output):
        check_free(output)
        whole = merge_stores(explorer, opened, output)
    _report(output, whole, sum(one["rows"] for one in whole.sources.values()))


@app.command(cls=OnceCommand)
def export(
    headvis: Annotated[
        Path, typer.Option("--headvis", metavar="DIR", help="Write the tree that HeadVis reads.")
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[CORPUS]", help="The corpus, by default the bundled.")
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Write a corpus in another tool's form.

    HeadVis's front end reads config.json, scatter_data.json and a file a head from data/.

    Example: mbexplore corpus export --headvis headvis/data
    """
    from mbexplore.corpus.headvis import write_headvis
    from mbexplore.corpus.profile import find_store
    from mbexplore.explorer import load

    explorer = load(model, device=device, dtype=dtype)
    store = find_store(explorer, None if folder is None else str(folder))
    with progress("Layers") as advance:
        files = write_headvis(explorer, store, headvis, advance)
    notice(f"{headvis}: {files:,} files", dim=False)
