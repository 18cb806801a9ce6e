"""Every view as a pane: the place in model and text gives its parameters, rich its lines."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.segment import Segment

from mbexplore.explore.lines import Line, say, wrap
from mbexplore.explore.state import Bounds, State, window_of
from mbexplore.views import REGISTRY, View

if TYPE_CHECKING:
    from mbexplore.explore.look import Look
    from mbexplore.explore.threads import Stop
    from mbexplore.session import Session
    from mbexplore.views.result import Result


def pane_names() -> tuple[str, ...]:
    """Views that need no second text, in their order; predictions stand above them already."""
    return tuple(
        name
        for name, view in REGISTRY.items()
        if name != "predict"
        and view.reads == "text"
        and view.title
        and not any(one.option.positional for one in view.parameters)
        and all(map(_has_default, view.parameters))
    )


def _has_default(parameter: Any) -> bool:
    return parameter.default is not dataclasses.MISSING


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
        if one.name in by_name:
            values[one.name] = by_name[one.name]
        elif one.kind in by_kind:
            values[one.name] = by_kind[one.kind]
    defaults = {one.name: one.default for one in view.parameters}
    used = {
        one.name: values[one.name]
        for one in view.parameters
        if one.name in values and one.has_effect({**defaults, **values})
    }
    return view(**used)


@dataclass(frozen=True, eq=False)
class Picture:
    """What a pane shows: its lines, and the headline beside the names of layer and head."""

    lines: list[Line]
    remark: str = ""


def draw(result: Result[Any], look: Look, width: int) -> Picture:
    """A result's blocks as lines of at most `width` cells."""
    from mbexplore.display.blocks import Headline
    from mbexplore.display.terminal import render

    blocks = [render(one) for one in result.blocks if not isinstance(one, Headline)]
    colours = "truecolor" if look.colour else None
    console = Console(width=width, color_system=colours, force_terminal=True, highlight=False)  # type: ignore[arg-type]
    lines = console.render_lines(Group(*blocks), console.options, pad=False)
    shown = [list(line) if look.colour else list(Segment.remove_color(line)) for line in lines]
    return Picture(shown, result.headline)


def draw_sentence(sentence: str, look: Look, width: int) -> Picture:
    """Why there is nothing to see."""
    words = [say(f"{word} ", look.faint) for word in sentence.split()]
    return Picture([[], *([say(" "), *line] for line in wrap(words, max(10, width - 2)))])


@contextmanager
def stopping(session: Session, stop: Stop) -> Iterator[None]:
    """Work on a session that ends at its next step once `stop` is set."""
    before: Callable[[int, int], None] = session.progress

    def check(done: int, total: int) -> None:
        stop.check()

    session.progress = check
    try:
        yield
    finally:
        session.progress = before
