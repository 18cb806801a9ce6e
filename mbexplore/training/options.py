"""What the user asks of a training run. The command is made of these fields; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mbexplore.training.recipe import Recipe


def option(default: Any, help: str, flag: str = "", **more: Any) -> Any:
    """A field that the command has as an option.

    Args:
        default: its value; ... where it must be given.
        help: what it says.
        flag: where the option isn't called as the field.
        more: of a Typer option: its least and greatest value.
    """
    return field(
        **({} if default is ... else {"default": default}),
        metadata={"flags": (flag,) if flag else (), "help": help, **more},
    )


@dataclass(frozen=True)
class TrainOptions:
    """What to train on what; each field says what it does."""

    corpus: list[str] = option(
        ...,
        "Text (.txt or .xz, UTF-8): a paragraph a line, a blank line between documents. The weight "
        "is how often it is seen in an epoch; `lines` says that each line is a text of its own. "
        "Several may follow, as a shell makes of *.txt.",
        metavar="FILE[:WEIGHT][:lines]",
    )
    out: Path = option(..., "Folder of the model, its log and its checkpoint.")
    preset: str = option("tiny", "Size of the model: tiny or micro.")
    steps: int | None = option(None, "Train so many steps.", min=1)
    minutes: float | None = option(None, "Train so long, over all resumed parts.", min=0.01)
    resume: bool = option(False, "Go on from the checkpoint in --out.")
    save_every: int | None = option(None, "Keep a snapshot OUT/step-N every N steps.", min=1)
    checkpoint_minutes: float = option(3.0, "Minutes between checkpoints.", min=0)
    start: Path | None = option(
        None, "Begin with the weights and tokenizer of a model: tiny, or a folder.", "--from"
    )
    words: Path | None = option(None, "Names that must be one token each, one a line.")
    tokenizer: Path | None = option(None, "Use this tokenizer.json instead of training one.")
    vocab_size: int | None = option(None, "Tokens of a new tokenizer.", min=300, max=32_000)
    rate: float | None = option(None, "Learning rate.", min=0)
    seed: int = option(0, "Of weights, order and masks.", min=0)
    device: str = option("auto", "auto, cpu, cuda or mps.")
    precision: str = option("auto", "auto, bfloat16 or float32.")
    compiled: bool = option(
        False, "Compile the layers first (a minute, a C++ compiler); about twice as fast.",
        "--compile",
    )  # fmt: skip
    recipe: Recipe = field(default_factory=Recipe)
