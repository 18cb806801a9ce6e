"""`mbexplore train`: a ModernBERT of your own, from your own text."""

from __future__ import annotations

import inspect
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options
from mbexplore.errors import MbexploreError
from mbexplore.training.options import TrainOptions

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from mbexplore.training.trainer import Report


def train(**given: Any) -> None:
    """Trains a small ModernBERT on your own text, so that you can watch its heads form.

    Example: mbexplore train --corpus notes.txt --out runs/notes --minutes 30 --save-every 200

    Several processes: torchrun --nproc-per-node 2 -m mbexplore train --corpus ...
    """
    from rich.console import Console

    from mbexplore.training.session import train as run

    more = given.pop("more") or []
    asked = TrainOptions(**{**given, "corpus": [*given["corpus"], *more]})
    is_first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes
    console = Console(stderr=True, quiet=not is_first, markup=False)
    try:
        with _progress(console) as progress:
            task = progress.add_task("reading the corpus", total=1.0, loss="", speed="", left="")
            try:
                run(
                    asked,
                    on_step=lambda report: _show(progress, task, report),
                    on_notice=lambda sentence: progress.console.print(sentence, highlight=False),
                )
            except MbexploreError:
                progress.live.transient = True  # one sentence is all that stays
                progress.live.stop()
                progress.disable = True
                raise
    except KeyboardInterrupt:
        console.print(f"Stopped and saved in {asked.out}; add --resume to go on.")
        raise typer.Exit(130) from None
    console.print(f"Saved in {asked.out}: try mbexplore predict -m {asked.out}", soft_wrap=True)


More = Annotated[
    list[str] | None,
    typer.Argument(metavar="[FILE]...", help="More of the corpus."),
]
train.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [*options.of_fields(TrainOptions), options.parameter("more", More, None)]
)


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
