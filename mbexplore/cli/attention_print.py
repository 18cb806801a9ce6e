"""What `mbexplore attention` prints: heat maps where stdout is a terminal, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.maps import LayerMap, head_names
from mbexplore.analysis.tile import Tile
from mbexplore.cli import heatmap, view
from mbexplore.cli.output import model_line
from mbexplore.cli.strips import print_strips
from mbexplore.display.palette import ON_EITHER, showing_root
from mbexplore.explorer import ModelInfo
from mbexplore.recording import Recording
from mbexplore.text import bar, shown, word
from mbexplore.views.old import View

Payload = dict[str, Any]


def print_map(info: ModelInfo, payload: Payload, pictured: Callable[..., LayerMap]) -> None:
    """One layer: its maps in a terminal, and its strongest links.

    Args:
        info: the model that answered.
        payload: of the view.
        pictured: makes the maps with at most `pixels` rows.
    """
    console = _open(info, payload)
    if console.is_terminal:
        _draw_maps(console, payload, pictured)
    console.print(_link_table(payload, payload["links"]))


def _draw_maps(console: Console, payload: Payload, pictured: Callable[..., LayerMap]) -> None:
    count = 1 if payload["mean"] else len(payload["heads"])
    pixels = heatmap.map_pixels(console, count)
    with view.progress("Maps") as progress:
        maps = pictured(pixels=pixels, progress=progress)
    heatmap.print_maps(console, maps)


def print_part(
    info: ModelInfo, payload: Payload, pictured: Callable[[int], Sequence[Tile]]
) -> None:
    """Some queries by some keys of one layer: a picture in a terminal, and the strongest links.

    Args:
        info: the model that answered.
        payload: of the view.
        pictured: makes the part of each map with at most so many rows and columns.
    """
    queries, keys = payload["queries"], payload["keys"]
    console = _open(info, payload | {"tokens": queries["tokens"]})
    console.print(f"They look at {len(keys['tokens']):,} {payload['unit']}.")
    if console.is_terminal:
        heads, mean = payload["heads"], payload["mean"]
        with view.progress("Maps"):
            tiles = pictured(heatmap.map_pixels(console, 1 if mean else len(heads)))
        heatmap.print_tiles(console, tiles, heads, mean, payload["kind"])
    table = view.build_table("head", "query", "key", "weight", "", left=("query", "key", ""))
    for link in payload["links"]:
        table.add_row(
            "mean" if link["head"] < 0 else str(link["head"]),
            *(
                Text.assemble(word(side["tokens"][i]), (f" {side['spans'][i][0]}", "dim"))
                for side, i in ((queries, link["query"]), (keys, link["key"]))
            ),
            f"{link['weight']:.3f}",
            Text(bar(link["weight"], 12), style="cyan"),
        )
    console.print(table)


def print_model(info: ModelInfo, maps: Sequence[LayerMap]) -> None:
    """Every layer: thumbnails in a terminal, and the strongest link of each."""
    console, axis = Console(highlight=False), maps[0].axis
    console.print(Text(f"Model: {shown(model_line(info))}", style="bold"))
    console.print(f"{len(maps)} layers, {len(axis):,} {axis.unit}. {_kinds(maps)}")
    if console.is_terminal:
        heatmap.print_model(console, maps)
    table = view.build_table("layer", "head", "query", "key", "distance", "weight", "",
                             left=("layer", "query", "key", ""))  # fmt: skip
    for each in maps:
        link = min(each.strongest, key=lambda link: -link.weight)
        cells = _link_cells(axis.labels, axis.spans, vars(link), bar_width=6)
        name = Text(f"{each.layer} {each.kind}", style=ON_EITHER[each.kind])
        table.add_row(name, *cells)
    console.print(table)
    console.print("The strongest link of each layer.", style="dim")


def _kinds(maps: Sequence[LayerMap]) -> str:
    """What the layers of each kind see, and their theta."""
    one_of = {each.kind: each for each in maps}
    return " ".join(
        f"{kind.capitalize()} ones see "
        f"{'every token' if each.half_window is None else f'{each.half_window} tokens each side'}, "
        f"theta {each.theta:,.0f}."
        for kind, each in one_of.items()
    )


def print_band(
    info: ModelInfo, recording: Recording, layer: int, head: int | None, axis: Axis, mean: bool
) -> None:
    """A local layer: its bands in a terminal, and what each head does with distance."""
    console = Console(highlight=False)
    count = recording.config.num_attention_heads if head is None and not mean else 1
    pixels = heatmap.band_pixels(console, count)
    found = band_map(recording, layer, head, pixels, axis, mean=mean)
    console.print(Text(f"Model: {shown(model_line(info))}", style="bold"))
    console.print(
        f"Layer {layer} is local: it sees {found.half_window} tokens each side, theta "
        f"{found.theta:,.0f}. {len(axis):,} queries."
    )
    if console.is_terminal:
        heatmap.print_band(console, found)
    table = view.build_table("head", "most at offset", "there", "window's edge")
    for name, profile, edge in zip(found.names, found.profile, found.edge, strict=True):
        best = int(profile.argmax())
        table.add_row(
            name.removeprefix("head "), f"{found.offsets[best]:+d}" if found.offsets[best] else "0",
            f"{profile[best]:.1%}", f"{edge:.1%}",
        )  # fmt: skip
    console.print(table)


def print_arcs(info: ModelInfo, seen: View, most: int, pictured: Callable[..., LayerMap]) -> None:
    """The links that carry most of each row, the strongest as a table; in a terminal a picture.

    That is the maps, or of one query its row in each head.

    Args:
        info: the model that answered.
        seen: the view.
        most: how many links are listed.
        pictured: see `print_map`.
    """
    payload = seen.payload()
    query, console = payload["query"], _open(info, payload)
    if console.is_terminal:
        if query is None:
            _draw_maps(console, payload, pictured)
        else:
            assert seen.arrays is not None
            _draw_row(console, payload, seen.arrays()["rows"])
    console.print(_link_table(payload, payload["links"][:most]))
    who = f"each of the {payload['unit']}" if query is None else _named(payload, query)
    console.print(
        Text(
            f"{payload['total']:,} links carry {payload['mass']:.0%} of what {who} gives in each "
            "head; --plot draws them.",
            style="dim",
        )
    )


def _draw_row(console: Console, payload: Payload, rows: NDArray[np.float32]) -> None:
    """A query's weights, a line a head, as far as it sees."""
    seen = np.flatnonzero(rows.any(axis=0))
    low, high = int(seen[0]), int(seen[-1])
    shades = (rows[:, low : high + 1] / rows.max()) ** (1 / showing_root(rows[:, None]))
    names = head_names(tuple(payload["heads"]), payload["mean"])
    pool = print_strips(console, shades, names, [payload["kind"]] * len(names), most=6)
    pooled = f", {pool} to a cell, the largest weight shows" if pool > 1 else ""
    ends = f"{_named(payload, low)} to {_named(payload, high)}"
    console.print(
        Text(f"Across: what {_named(payload, payload['query'])} looks at, {ends}{pooled}.", "dim")
    )


def _named(payload: Payload, place: int) -> str:
    """A place and the position of its first token."""
    return f"{word(payload['tokens'][place])} {payload['spans'][place][0]}"


def _open(info: ModelInfo, payload: Payload) -> Console:
    """A console on which stands which model and layer this is."""
    window, console = payload["half_window"], Console(highlight=False)
    reach = "every token" if window is None else f"{window} tokens each side"
    console.print(Text(f"Model: {shown(model_line(info))}", style="bold"))
    console.print(
        f"Layer {payload['layer']} is {payload['kind']}: it sees {reach}, theta "
        f"{payload['theta']:,.0f}. {len(payload['tokens']):,} {payload['unit']}."
    )
    return console


def _link_table(payload: Payload, links: Sequence[dict[str, Any]]) -> Table:
    table = view.build_table("head", "query", "key", "distance", "weight", "",
                             left=("query", "key", ""))  # fmt: skip
    for link in links:
        table.add_row(*_link_cells(payload["tokens"], payload["spans"], link))
    return table


def _link_cells(
    labels: Sequence[str],
    spans: Sequence[Sequence[int]],
    link: dict[str, Any],
    bar_width: int = 12,
) -> list[str | Text]:
    """A link in a table; a word's number is its first token's."""
    query, key, weight = link["query"], link["key"], link["weight"]
    return [
        "mean" if link["head"] < 0 else str(link["head"]),
        *(Text.assemble(word(labels[i]), (f" {spans[i][0]}", "dim")) for i in (query, key)),
        f"{key - query:+d}" if key != query else "0",
        f"{weight:.3f}",
        Text(bar(weight, bar_width), style="cyan", no_wrap=True),
    ]
