"""`mbexplore attention`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mbexplore.cli import options, view
from mbexplore.cli.output import notice_cut
from mbexplore.errors import UsageError
from mbexplore.files import DRAWN, PICTURES
from mbexplore.views.names import attention_name

if TYPE_CHECKING:
    from mbexplore.analysis.words import Axis
    from mbexplore.explorer import Explorer
    from mbexplore.recording import Recording
    from mbexplore.views.view import View

FORMS = ("map", "band", "arcs")


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
    which = _check(layer, head, form, mean=mean, words=words, query=query)
    is_part = queries is not None or keys is not None
    _check_part(which, form, tokens, is_part=is_part)
    formats = (*PICTURES, "html") if plot else (*DRAWN, "npz", "csv")
    path = view.target(
        output, plot, attention_name("part" if is_part else form, which, head), formats
    )
    whole = text is None and file is None
    source = options.sample_text() if whole else options.read_text(text, file)
    from mbexplore.analysis.places import find_place, find_range
    from mbexplore.analysis.words import build_axis
    from mbexplore.explorer import load
    from mbexplore.views.attention import check_dense, check_form, taps
    from mbexplore.views.attention_part import check_size

    explorer = load(model, device=device, dtype=dtype)
    explorer.check_layer_and_head(which or 0, head)
    encoding = explorer.encode(source, truncate=truncate)
    notice_cut(encoding)
    axis, columns = (
        build_axis(
            encoding,
            None if bounds is None else find_range(encoding, bounds),
            words=words,
            hide_special=hide_special,
        )
        for bounds in (tokens or queries, tokens or keys)
    )
    at = None if query is None else find_place(encoding, query)
    if which is not None:
        config, is_npz = explorer.model.config, path is not None and path.suffix.lower() == ".npz"
        check_form(config, form, which, axis, at, mass)
        if is_npz and is_part:
            maps = 1 if mean or head is not None else config.num_attention_heads
            check_size(maps, axis, columns)
        elif form == "map" and is_npz:
            check_dense(config, which, head, axis, mean)
    recording = view.recorded(
        explorer, encoding, taps(explorer.model.config, "part" if is_part else form, which)
    )
    part = _Part(recording, which, head, axis, columns if is_part else None, mean)
    seen, show = _see(explorer, part, form, query=at, links=links, mass=mass)
    view.give(seen, path, json, show, explorer.info)


class _Part(NamedTuple):
    """What of a recording's attention is looked at; no layer is all of them."""

    recording: Recording
    layer: int | None
    head: int | None
    axis: Axis
    keys: Axis | None  # where they are not all of the axis
    mean: bool


def _see(
    explorer: Explorer, wished: _Part, form: str, *, query: int | None, links: int, mass: float
) -> tuple[View, Callable[[], None]]:
    """The view asked for, and what prints it."""
    from mbexplore.analysis.maps import layer_map, model_maps
    from mbexplore.cli.attention_print import (
        print_arcs,
        print_band,
        print_map,
        print_model,
        print_part,
    )
    from mbexplore.views import attention as views
    from mbexplore.views.attention_part import view_part

    recording, layer, head, axis, keys, mean = wished
    info = explorer.info
    with view.progress("Maps") as progress:
        if layer is None:
            maps = model_maps(recording, head, axis=axis, mean=mean, progress=progress)
            return views.view_model(explorer, recording, maps), partial(print_model, info, maps)
        part = explorer, recording, layer, head
        if keys is not None:
            seen = view_part(*part, queries=axis, keys=keys, mean=mean, links=links, query=query)
            return seen, partial(print_part, info, seen.payload())
        if form == "band":
            seen = views.view_band(*part, axis=axis, mean=mean)
            return seen, partial(print_band, info, recording, layer, head, axis, mean)
        if form == "arcs":
            seen = views.view_arcs(
                *part, query=query, axis=axis, mean=mean, mass=mass, progress=progress
            )
            return seen, partial(print_arcs, info, seen.payload(), links)
        seen = views.view_map(
            *part, axis=axis, mean=mean, links=links, query=query, progress=progress
        )
        pictured = partial(layer_map, recording, layer, head, axis=axis, mean=mean)
        return seen, partial(print_map, info, seen.payload(), pictured)


def _check_part(layer: int | None, form: str, tokens: str | None, *, is_part: bool) -> None:
    """Refuses --queries and --keys where they mean nothing.

    Raises:
        UsageError: says what to leave out.
    """
    if is_part and (layer is None or form != "map"):
        raise UsageError("--queries and --keys cut a map of one layer; name one, without --view.")
    if is_part and tokens is not None:
        raise UsageError("--tokens cuts both sides of a map; give it, or --queries and --keys.")


def _check(
    layer: str, head: int | None, form: str, *, mean: bool, words: bool, query: str | None
) -> int | None:
    """The layer meant, None for all, if the wishes agree with one another.

    Raises:
        UsageError: they don't, or one is unknown.
    """
    if layer != "all" and not layer.lstrip("-").isdecimal():
        raise UsageError(f"--layer {layer!r} is no layer; give a number from 0, or all.")
    if form not in FORMS:
        raise UsageError(f"There is no view {form!r}; choose {', '.join(FORMS)}.")
    contradictions = {
        "--layer all is a map of every layer; leave out --view, or name one layer.":
            layer == "all" and form != "map",
        "--layer all has no single query; leave out --query, or name one layer.":
            layer == "all" and query is not None,
        f"--mean is over all heads and --head {head} is one of them; give one of the two.":
            mean and head is not None,
        "--view band counts in tokens and --words merges them; give one of the two.":
            form == "band" and words,
        "--view band shows all queries; leave out --query, or ask for --view arcs.":
            form == "band" and query is not None,
    }  # fmt: skip
    for sentence, holds in contradictions.items():
        if holds:
            raise UsageError(sentence)
    return None if layer == "all" else int(layer)
