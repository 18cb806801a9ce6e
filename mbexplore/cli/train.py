"""`mbexplore train`: a ModernBERT of your own, from your own text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.errors import MbexploreError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mbexplore.training.trainer import Report


def train(
    corpus: Annotated[
        list[str],
        typer.Option(
            metavar="FILE[:WEIGHT][:lines]",
            help="Text (.txt or .xz, UTF-8): a paragraph a line, a blank line between documents. "
            "The weight is how often it is seen in an epoch; `lines` says that each line is a text "
            "of its own. Several may follow, as a shell makes of *.txt.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the model, its log and its checkpoint.")],
    more: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="More of the corpus.", show_default=False),
    ] = None,
    preset: Annotated[str, typer.Option(help="Size of the model: tiny or micro.")] = "tiny",
    steps: Annotated[int | None, typer.Option(min=1, help="Train so many steps.")] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="Train so long, over all resumed parts.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in --out.")] = False,
    save_every: Annotated[
        int | None, typer.Option(min=1, help="Keep a snapshot OUT/step-N every N steps.")
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Begin with the weights and tokenizer of a model: tiny, or a folder."
        ),
    ] = None,
    words: Annotated[
        Path | None, typer.Option(help="Names that must be one token each, one a line.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Use this tokenizer.json instead of training one.")
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(min=300, max=32_000, help="Tokens of a new tokenizer.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0, help="Learning rate.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and masks.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bfloat16 or float32.")] = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile the layers first (a minute, a C++ compiler); about twice as fast.",
        ),
    ] = False,
) -> None:
    """Trains a small ModernBERT on your own text, so that you can watch its heads form.

    Example: mbexplore train --corpus notes.txt --out runs/notes --minutes 30 --save-every 200

    Several processes: torchrun --nproc-per-node 2 -m mbexplore train --corpus ...
    """
    from rich.console import Console

    from mbexplore.training.session import TrainOptions
    from mbexplore.training.session import train as run

    options = TrainOptions(
        corpus=[*corpus, *(more or [])],
        out=out,
        preset=preset,
        steps=steps,
        minutes=minutes,
        resume=resume,
        save_every=save_every,
        checkpoint_minutes=checkpoint_minutes,
        start=start,
        words=words,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
        rate=rate,
        seed=seed,
        device=device,
        precision=precision,
        compiled=compiled,
    )
    console = Console(stderr=True, quiet=os.environ.get("RANK", "0") != "0")  # torchrun's first
    try:
        with _progress(console) as progress:
            task = progress.add_task("reading the corpus", total=1.0, loss="", speed="", left="")
            try:
                run(
                    options,
                    on_step=lambda report: _show(progress, task, report),
                    on_notice=lambda sentence: progress.console.print(sentence, highlight=False),
                )
            except MbexploreError:
                progress.live.transient = True  # one sentence is all that stays
                progress.live.stop()
                progress.disable = True
                raise
    except KeyboardInterrupt:
        console.print(f"Stopped and saved in {out}; add --resume to go on.")
        raise typer.Exit(130) from None
    console.print(f"Saved in {out}: try mbexplore predict -m {out}", soft_wrap=True)


def _progress(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[loss]} {task.fields[speed]} {task.fields[left]}"),
        console=console,
    )


def _show(progress: Progress, task: TaskID, report: Report) -> None:
    done = min(report.done, 1.0)
    left = report.seconds * (1 - done) / done if done > 0 else 0.0
    progress.update(
        task,
        completed=done,
        description=f"step {report.step:,}",
        loss=f"loss {report.loss:.3f}",
        speed=f"{report.tokens_per_second:,.0f} tokens/s",
        left=f"{left / 60:.0f} min left" if left >= 60 else f"{left:.0f} s left",
    )
