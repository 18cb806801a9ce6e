"""`mbexplore attention`."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options
from mbexplore.cli.output import (
    model_line,
    notice_bundled,
    notice_cut,
    print_json,
    shown,
    write_whole,
)
from mbexplore.files import check_target

if TYPE_CHECKING:
    from mbexplore.recording import Recording

_PICTURES = ("png", "svg", "pdf")


def attention(
    text: options.Text = None,
    layer: Annotated[int, typer.Option("--layer", "-l", help="Which layer, from 0.")] = 0,
    head: Annotated[
        int | None,
        typer.Option(help="Which head, from 0; all of them by default.", show_default=False),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Save a picture of every head.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="png, svg, pdf, json or npz.", show_default=False),
    ] = None,
    links: Annotated[
        int, typer.Option("--links", "--top", min=0, help="How many of the strongest links.")
    ] = 20,
    query: Annotated[
        str | None,
        typer.Option(help="Links of this token alone: a word of the text, or a position."),
    ] = None,
    file: options.File = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Show who looks at whom in a layer: its strongest links, and a picture of every head.

    Without TEXT, a bundled paragraph long enough to show the windows of local layers.

    Example: mbexplore attention --layer 3 --plot

    Example: mbexplore attention "Paris is the capital of France." --query France --top 5
    """
    if plot and output is None:
        output = Path(f"attention-layer{layer}{'' if head is None else f'-head{head}'}.png")
    if output is not None:
        check_target(output, _PICTURES if plot else (*_PICTURES, "json", "npz"))
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.analysis.links import links_of_query, strongest_links
    from mbexplore.analysis.places import find_place
    from mbexplore.explorer import load
    from mbexplore.payload import attention_payload

    explorer = load(model, device=device, dtype=dtype)
    explorer.check_layer_and_head(layer, head)
    recording = explorer.record(source, keep=("attention",), truncate=truncate)
    notice_cut(recording.encoding)
    if query is None:
        found = strongest_links(recording, layer, head, links)
    else:
        place = find_place(recording.encoding, query)
        found = links_of_query(recording, layer, place, head, links)
    heads = list(range(recording.config.num_attention_heads)) if head is None else [head]
    payload = attention_payload(explorer.info, recording, layer, heads, found)
    if output is not None:
        write_whole(output, _content(output, recording, layer, head, payload))
    if json:
        print_json(payload)
    else:
        _print_links(payload, model_line(explorer.info))
    notice_bundled(explorer.info)


def _content(
    path: Path, recording: Recording, layer: int, head: int | None, payload: dict[str, Any]
) -> bytes:
    """The file's bytes, in the format its ending names."""
    ending = path.suffix.removeprefix(".").lower()
    if ending == "json":
        import json

        return (json.dumps(payload, ensure_ascii=False) + "\n").encode()
    buffer = BytesIO()
    if ending == "npz":
        import numpy as np

        np.savez_compressed(buffer, **_arrays(recording, layer, head))
    else:
        from mbexplore.analysis.maps import layer_map, nearest_other_kind
        from mbexplore.plots.attention import plot_layer_maps

        other = nearest_other_kind(recording.config, layer)
        layers = [layer] if other is None else [layer, other]
        figure = plot_layer_maps(
            [layer_map(recording, each, head) for each in layers], payload["model"]["name"]
        )
        figure.savefig(buffer, format=ending, dpi=150)
    return buffer.getvalue()


def _arrays(recording: Recording, layer: int, head: int | None) -> dict[str, Any]:
    import numpy as np

    half_window = recording.config.half_window(layer)
    arrays: dict[str, Any] = {"tokens": np.array(recording.encoding.tokens)}
    if half_window is None:
        weights = recording.attention(layer, head)
        return arrays | {"weights": weights.cpu().numpy().astype(np.float32)}
    band = recording.attention_band(layer, head)
    return arrays | {
        "band": band.cpu().numpy().astype(np.float32),
        "offsets": np.arange(-half_window, half_window + 1),
    }


def _print_links(payload: dict[str, Any], model: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mbexplore.cli.predict import bar

    window, tokens = payload["half_window"], payload["tokens"]
    reach = "every token" if window is None else f"{window} tokens each side"
    console = Console(highlight=False)
    console.print(Text(f"Model: {shown(model)}", style="bold"))
    console.print(
        f"Layer {payload['layer']} is {payload['kind']}: it sees {reach}, theta "
        f"{payload['theta']:,.0f}. {len(tokens):,} tokens."
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("head", "query", "key", "distance", "weight"):
        table.add_column(
            name, justify="right" if name in ("head", "distance", "weight") else "left"
        )
    table.add_column("")
    for link in payload["links"]:
        query, key = link["query"], link["key"]
        table.add_row(
            str(link["head"]),
            *(Text.assemble(shown(tokens[i]).strip() or "\N{OPEN BOX}", (f" {i}", "dim"))
              for i in (query, key)),
            f"{key - query:+d}" if key != query else "0",
            f"{link['weight']:.3f}",
            Text(bar(link["weight"], 12), style="cyan"),
        )  # fmt: skip
    console.print(table)
