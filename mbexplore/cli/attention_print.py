"""What `mbexplore attention` prints: heat maps where stdout is a terminal, and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mbexplore.analysis.band import band_map
from mbexplore.analysis.maps import LayerMap
from mbexplore.analysis.words import Axis
from mbexplore.cli import heatmap, view
from mbexplore.cli.output import model_line
from mbexplore.explorer import ModelInfo
from mbexplore.recording import Recording
from mbexplore.text import bar, shown, word

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
        count = 1 if payload["mean"] else len(payload["heads"])
        pixels = heatmap.map_pixels(console, count)
        with view.progress("Maps") as progress:
            maps = pictured(pixels=pixels, progress=progress)
        heatmap.print_maps(console, maps)
    console.print(_link_table(payload, payload["links"]))


def print_part(info: ModelInfo, payload: Payload) -> None:
    """Some queries by some keys of one layer: their strongest links."""
    queries, keys = payload["queries"], payload["keys"]
    console = _open(info, payload | {"tokens": queries["tokens"]})
    console.print(f"They look at {len(keys['tokens']):,} {payload['unit']}.")
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
    console.print(f"{len(maps)} layers, {len(axis):,} {axis.unit}.")
    if console.is_terminal:
        heatmap.print_model(console, maps)
    table = view.build_table("layer", "", "theta", "head", "query", "key", "distance", "weight",
                             "", left=("", "query", "key"))  # fmt: skip
    for each in maps:
        link = min(each.strongest, key=lambda link: -link.weight)
        cells = _link_cells(axis.labels, axis.spans, vars(link))
        table.add_row(str(each.layer), each.kind, f"{each.theta:,.0f}", *cells)
    console.print(table)
    console.print("The strongest link of each layer.", style="dim")


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


def print_arcs(info: ModelInfo, payload: Payload, most: int) -> None:
    """The links that carry most of each row, the strongest of them as a table."""
    console = _open(info, payload)
    console.print(_link_table(payload, payload["links"][:most]))
    console.print(
        f"{payload['total']:,} links carry {payload['mass']:.0%} of what each of the "
        f"{payload['unit']} gives in each head; --plot draws them.",
        style="dim",
    )


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
    labels: Sequence[str], spans: Sequence[Sequence[int]], link: dict[str, Any]
) -> list[str | Text]:
    """A link in a table; a word's number is its first token's."""
    query, key, weight = link["query"], link["key"], link["weight"]
    return [
        "mean" if link["head"] < 0 else str(link["head"]),
        *(Text.assemble(word(labels[i]), (f" {spans[i][0]}", "dim")) for i in (query, key)),
        f"{key - query:+d}" if key != query else "0",
        f"{weight:.3f}",
        Text(bar(weight, 12), style="cyan"),
    ]
