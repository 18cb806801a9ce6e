"""Every view as a pane: the place in model and text gives its parameters, rich its lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.segment import Segment

from mbexplore.explore.state import Bounds, State, window_of
from mbexplore.views import REGISTRY, View

if TYPE_CHECKING:
    from mbexplore.display.blocks import Block

Line = list[Segment]


def pane_names() -> tuple[str, ...]:
    """Views that need no second text, in their order; predictions stand above them already."""
    return tuple(
        name
        for name, view in REGISTRY.items()
        if name != "predict"
        and view.reads == "text"
        and view.title
        and not any(one.option.positional or one.is_required for one in view.parameters)
    )


def build_view(where: State, bounds: Bounds) -> View[Any]:
    """The view of a pane with the parameters that the place sets.

    Raises:
        MbexploreError: the view refuses them.
    """
    view = REGISTRY[where.pane]
    window = window_of(where, bounds)
    by_name: dict[str, Any] = {"words": where.words, "special": where.specials}
    if window is not None:
        by_name["tokens"] = f"{window[0]}:{window[1]}"
    by_kind = {"layer": where.layer, "head": where.head, "token": where.token}
    values: dict[str, Any] = dict(view.early)  # what is slow is for commands
    for one in view.parameters:
        if one.name in by_name or one.kind in by_kind:
            values[one.name] = by_name.get(one.name, by_kind.get(one.kind))
    defaults = {one.name: one.default for one in view.parameters}
    used = {
        one.name: values[one.name]
        for one in view.parameters
        if one.name in values and one.has_effect({**defaults, **values})
    }
    return view(**used)


def draw(blocks: Iterable[Block], width: int, colour: bool) -> list[Line]:
    """Blocks as lines of at most `width` cells."""
    from mbexplore.display.terminal import render

    console = Console(
        width=width,
        color_system="truecolor" if colour else None,
        force_terminal=True,
        highlight=False,
    )
    lines = console.render_lines(Group(*map(render, blocks)), console.options, pad=False)
    return [list(line) if colour else list(Segment.remove_color(line)) for line in lines]
