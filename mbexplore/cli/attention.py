"""`mbexplore attention`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from mbexplore.cli import options, view
from mbexplore.cli.attention_wish import Sight, Wish
from mbexplore.cli.output import notice_cut

if TYPE_CHECKING:
    from mbexplore.analysis.tile import Tile
    from mbexplore.analysis.words import Axis
    from mbexplore.explorer import Explorer
    from mbexplore.recording import Progress, Recording
    from mbexplore.views.view import View


def attention(
    text: options.Text = None,
    layer: Annotated[
        str, typer.Option("--layer", "-l", help="Which layer, from 0; all is the model view.")
    ] = "0",
    head: Annotated[
        int | None,
        typer.Option(help="Which head, from 0; all of them by default.", show_default=False),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--view",
            help="map; band, a local layer by offset; or arcs, the links that carry most.",
        ),
    ] = "map",
    mean: Annotated[bool, typer.Option("--mean", help="The mean over the heads.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Words instead of their pieces.")] = False,
    hide_special: Annotated[
        bool, typer.Option("--hide-special", help="Without [CLS] and [SEP].")
    ] = False,
    tokens: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only these tokens, A to B - 1.", show_default=False),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only these tokens as rows.", show_default=False),
    ] = None,
    keys: Annotated[
        str | None,
        typer.Option(metavar="A:B", help="Only these tokens as columns.", show_default=False),
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            help="Links of this token alone: a word of the text, or a position.",
            show_default=False,
        ),
    ] = None,
    links: Annotated[
        int, typer.Option("--links", "--top", min=0, help="How many of the strongest links.")
    ] = 20,
    mass: Annotated[
        float, typer.Option(help="The share of each row that its arcs carry together.")
    ] = 0.7,
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
    """Show who looks at whom: the maps of a layer or of all, their links, and pictures of them.

    Without TEXT, a bundled paragraph long enough to show the windows of local layers.

    Example: mbexplore attention --layer 3 --plot

    Example: mbexplore attention --layer all -o model.html

    Example: mbexplore attention --layer 4 --view band --plot

    Example: mbexplore attention --layer 3 --head 1 --queries 60:80 --keys 0:40 --plot

    Example: mbexplore attention "Paris is the capital of France." --query France --top 5 --words
    """
    wish = Wish(
        layer, head, form, mean, words, hide_special, tokens, queries, keys, query, links, mass
    )
    wish.check()
    path = view.target(output, plot, wish.name, wish.formats(plot))
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.explorer import load
    from mbexplore.views.attention_checks import taps

    explorer = load(model, device=device, dtype=dtype)
    explorer.check_layer_and_head(wish.number or 0, head)
    encoding = explorer.encode(source, pair=context, truncate=truncate or whole)
    notice_cut(encoding)
    config, sight = explorer.model.config, wish.find(encoding)
    sight.check(config, path)
    recording = view.recorded(explorer, encoding, taps(config, wish.form, wish.number))
    with view.progress("Maps") as progress:
        seen, show = _see(explorer, recording, sight, progress)
    view.give(seen, path, json, show, explorer.info)


def _see(
    explorer: Explorer, recording: Recording, sight: Sight, progress: Progress
) -> tuple[View, Callable[[], None]]:
    """The view asked for, and what prints it."""
    from mbexplore.analysis.maps import layer_map, model_maps
    from mbexplore.cli import attention_print as prints
    from mbexplore.views.attention import view_map, view_model
    from mbexplore.views.attention_arcs import view_arcs
    from mbexplore.views.attention_band import view_band
    from mbexplore.views.attention_part import view_part

    wish, axis, query, info = sight.wish, sight.axis, sight.query, explorer.info
    layer, head, mean, links = wish.number, wish.head, wish.mean, wish.links
    if layer is None:
        maps = model_maps(recording, head, axis=axis, mean=mean, progress=progress)
        return view_model(explorer, recording, maps), partial(prints.print_model, info, maps)
    part = explorer, recording, layer, head
    if wish.form == "part":
        seen = view_part(*part, queries=axis, keys=sight.keys, mean=mean, links=links, query=query)
        heads = [None] if mean else seen.payload()["heads"]
        tiles = partial(_tiles, recording, layer, heads, axis, sight.keys)
        return seen, partial(prints.print_part, info, seen.payload(), tiles)
    if wish.form == "band":
        seen = view_band(*part, axis=axis, mean=mean)
        return seen, partial(prints.print_band, info, recording, layer, head, axis, mean)
    pictured = partial(layer_map, recording, layer, head, axis=axis, mean=mean)
    if wish.form == "arcs":
        seen = view_arcs(
            *part, query=query, axis=axis, mean=mean, mass=wish.mass, progress=progress
        )
        return seen, partial(prints.print_arcs, info, seen, links, pictured)
    seen = view_map(*part, axis=axis, mean=mean, links=links, query=query, progress=progress)
    return seen, partial(prints.print_map, info, seen.payload(), pictured)


def _tiles(
    recording: Recording,
    layer: int,
    heads: list[int | None],
    queries: Axis,
    keys: Axis,
    pixels: int,
) -> list[Tile]:
    from mbexplore.analysis.tile import tile

    return [tile(recording, layer, head, queries, keys, pixels) for head in heads]
