"""`mbexplore record`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mbexplore.cli import options
from mbexplore.cli.output import notice, notice_bundled, notice_cut
from mbexplore.cli.progress import progress


def record(
    text: options.Text = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The file to write, safetensors inside.")
    ] = Path("recording.safetensors"),
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="What to keep: attention, values, hidden_states, neurons, z, updates, or a tap "
            "such as pattern; the first four by default. Repeat it for more."
        ),
    ] = None,
    file: options.File = None,
    context: options.Context = None,
    truncate: options.Truncate = False,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
) -> None:
    """Run the model once over a text and save what it computed, for any view to look at.

    Example: mbexplore record "The capital of France is [MASK]." -o france.safetensors
    """
    source = options.read_text(text, file)
    from mbexplore.explorer import load
    from mbexplore.hooks import watched
    from mbexplore.recorder import DEFAULT_KEEP

    explorer = load(model, device=device, dtype=dtype)
    encoding = explorer.encode(source, pair=context, truncate=truncate)
    notice_cut(encoding)
    with progress("Layers") as advance, watched(explorer.model, advance):
        recording = explorer.record(encoding, keep=tuple(keep or DEFAULT_KEEP))
    recording.save(output)
    notice(str(output), dim=False)
    notice_bundled(explorer.info, model)
