"""`python -m mbexplore.training.export RUN FOLDER`: a trained model in float16, to be handed on.

Half the size of a run's own files, which keep float32 so that training can go on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mbexplore.errors import MbexploreError


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run or a snapshot.")],
    folder: Annotated[Path, typer.Argument(help="Where the model goes.")],
) -> None:
    """Copies a trained model with its weights in float16."""
    import torch

    from mbexplore.checkpoints.model import load_model
    from mbexplore.network.model import ModernBertForMaskedLM
    from mbexplore.training.checkpoint import save_model_folder
    from mbexplore.training.session import read_tokenizer

    try:
        model = load_model(run, ModernBertForMaskedLM)
        save_model_folder(folder, model, read_tokenizer(run), torch.float16)
    except MbexploreError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None


if __name__ == "__main__":
    typer.run(export)
