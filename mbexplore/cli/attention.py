"""`mbexplore attention`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mbexplore.cli import attention_options as asks
from mbexplore.cli import options, view
from mbexplore.cli.attention_wish import LINKS, SHARE, Sight, Wish
from mbexplore.cli.output import notice_cut

if TYPE_CHECKING:
    from mbexplore.analysis.axis import Axis
    from mbexplore.analysis.tile import Tile
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.explorer import Explorer
    from mbexplore.hooks import Progress
    from mbexplore.recording import Recording
    from mbexplore.views.old import View


def attention(
    text: options.Text = None,
    layer: asks.Layer = "0",
    head: asks.Head = None,
    form: asks.Form = "map",
    mean: asks.Mean = False,
    words: asks.Words = False,
    hide_special: asks.HideSpecial = False,
    tokens: asks.Tokens = None,
    queries: asks.Queries = None,
    keys: asks.Keys = None,
    query: asks.Query = None,
    links: asks.Links = LINKS,
    mass: asks.Mass = SHARE,
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

    explorer = load(model, device=device, dtype=dtype)
    explorer.check_layer_and_head(wish.number or 0, head)
    encoding = explorer.encode(source, pair=context, truncate=truncate or whole)
    notice_cut(encoding)
    _answer(explorer, encoding, wish, path, json)


def _answer(
    explorer: Explorer, encoding: Encoding, wish: Wish, path: Path | None, json: bool
) -> None:
    """Refuses what can't be shown of this text, runs the model, and gives what it did."""
    from mbexplore.views.attention_checks import taps

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
