"""What every pane is, and what panes share. A pane draws what an analysis gives, no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from rich.style import Style

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.display.half_blocks import Blocks, Ramp
from mbexplore.explore.lines import Line, pad, say
from mbexplore.explore.state import EXACT, Bounds, State
from mbexplore.text import word

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.links import Link
    from mbexplore.explore.desk import Run
    from mbexplore.explore.look import Look
    from mbexplore.explore.threads import Stop
    from mbexplore.recording import Recording
    from mbexplore.views.old import View

Data = TypeVar("Data")


@dataclass(frozen=True, eq=False)
class Scene:
    """What a pane draws from, beside its own data.

    Attributes:
        run: the text, recorded.
        state: where one is.
        look: colours.
        width: cells across.
        height: lines.
    """

    run: Run
    state: State
    look: Look
    width: int
    height: int

    @property
    def recording(self) -> Recording:
        """What the text's forward pass computed."""
        assert self.run.recording is not None
        return self.run.recording

    @property
    def bounds(self) -> Bounds:
        """What there is to move in."""
        return self.run.bounds

    @property
    def kind(self) -> Any:
        """Of the held layer."""
        return self.bounds.kinds[self.state.layer]


@dataclass(frozen=True, eq=False)
class Picture:
    """What a pane shows: its lines, and a remark beside the names of layer and head."""

    lines: list[Line]
    remark: str = ""


@dataclass(frozen=True, eq=False)
class Pane(Generic[Data]):
    """One of the panes.

    Attributes:
        name: one of `state.PANES`.
        load: gets its data from the recording, in a thread; keeps it in the run's pieces.
        draw: the picture, at once.
        view: the same in every form, for saving and for the command line.
    """

    name: str
    load: Callable[[Scene, Stop], Data]
    draw: Callable[[Data, Scene], Picture]
    view: Callable[[Scene, Stop], View]


def is_exact(scene: Scene) -> bool:
    """Whether maps are read as figures."""
    return scene.state.zoom == scene.bounds.zooms


def window_of(state: State, bounds: Bounds, span: int | None = None) -> tuple[int, int] | None:
    """Tokens `[start, stop)` that a zoomed map shows; None for all.

    Without a span, it is what the zoom leaves, and it moves on in steps of its half, so that a
    map stays where it is while the chosen token goes about in it.
    """
    if span is not None:
        span = min(span, bounds.tokens)
        start = min(max(0, state.token - span // 2), bounds.tokens - span)
        return start, start + span
    if state.zoom == 0:
        return None
    span = min(bounds.tokens, max(EXACT, -(-bounds.tokens // 2**state.zoom)))
    half = max(1, span // 2)
    start = min(max(0, state.token - span // 4) // half * half, bounds.tokens - span)
    return start, start + span


def axis_of(scene: Scene, span: int | None = None, *, whole: bool = False) -> Axis:
    """The places of a map as the state wants them; kept.

    Args:
        scene: where one is.
        span: tokens around the chosen one; None for what the zoom leaves.
        whole: the whole text, whatever the zoom.
    """
    state = scene.state
    bounds = None if whole else window_of(state, scene.bounds, span)
    words, hide = state.words, not state.specials
    return scene.run.pieces.get(
        ("axis", bounds, words, hide),
        lambda: build_axis(scene.run.encoding, bounds, words=words, hide_special=hide),
    )


def axis_key(axis: Axis) -> tuple[object, ...]:
    """What tells axes of one text apart."""
    return axis.bounds, axis.words, axis.hide_special


def links_at(scene: Scene, head: int | None, count: int) -> tuple[Axis, tuple[Link, ...]]:
    """The strongest links of the chosen token over the whole text, and the axis of their keys."""
    from mbexplore.analysis.links import links_of_query

    axis = axis_of(scene, whole=True)
    layer, place = scene.state.layer, axis.index_of(scene.state.token)
    key = ("links", layer, head, place, count, axis_key(axis))
    return axis, scene.run.pieces.get(
        key, lambda: links_of_query(scene.recording, layer, place, head, count, axis)
    )


def attention_of(scene: Scene, *, every_head: bool = False, **parameters: Any) -> Any:
    """The view of the attention of the held head, or of all of the layer, over the run's text."""
    from mbexplore.session import Session
    from mbexplore.views.attention import AttentionView

    state, run = scene.state, scene.run
    session = Session(run.explorer, run.encoding, recording=scene.recording)
    head = None if every_head else state.head
    view = AttentionView(layer=state.layer, head=head, special=state.specials, **parameters)
    return view.of(session)


def shown_tokens(scene: Scene) -> str | None:
    """What the zoom leaves of the text, as "A:B"."""
    bounds = window_of(scene.state, scene.bounds)
    return None if bounds is None else f"{bounds[0]}:{bounds[1]}"


def place_name(axis: Axis, place: int, width: int) -> str:
    """A place's label and token position in so many cells."""
    number = str(int(axis.starts[place]))
    return f"{pad(word(axis.labels[place]), width - len(number) - 1)} {number}"


def heat(levels: NDArray[np.intp], colours: Ramp, look: Look, marks: str = "") -> list[Line]:
    """A heat map of levels; those from `len(colours) - len(marks)` on are marks.

    Args:
        levels: (rows, columns) from 0; each line holds two rows.
        colours: of every level.
        look: without colours the levels are shades and a mark is its character.
        marks: characters of the last levels.
    """
    if look.colour:
        return Blocks(levels / (len(colours) - 1), colours).lines()
    plain = len(colours) - len(marks)
    values = np.where(levels < plain, levels, 0)
    lines = []
    for row, line in enumerate(Blocks(values / (plain - 1), colours).lines(colour=False)):
        upper = levels[2 * row]
        text = [
            marks[level - plain] if level >= plain and shade == " " else shade
            for level, shade in zip(upper.tolist(), line[0].text, strict=True)
        ]
        lines.append([say("".join(text))])
    return lines


def levels_of(weights: NDArray[np.float32], scale: float, count: int) -> NDArray[np.intp]:
    """Weights as levels of a ramp, on a square-root scale."""
    shares = np.sqrt(np.clip(weights / scale, 0.0, 1.0))
    levels: NDArray[np.intp] = np.rint(shares * (count - 1)).astype(np.intp)
    return levels


def figure(weight: float) -> str:
    """A weight in four cells: .000 to .999, 1.00."""
    return f"{weight:.3f}"[1:] if weight < 0.9995 else "1.00"


def say_all(text: str, scene: Scene) -> Picture:
    """A sentence in place of a picture."""
    from mbexplore.explore.lines import wrap

    words = [say(f"{each} ", scene.look.faint) for each in text.split()]
    return Picture([[], *([say("  "), *line] for line in wrap(words, max(10, scene.width - 4)))])


def on(colours: Ramp, level: int, look: Look) -> Style:
    """Text on a colour of a ramp, in ink that can be read on it; bold where there are no colours.

    Args:
        colours: of every level.
        level: which one.
        look: whether there are colours.
    """
    share = level / (len(colours) - 1)
    if not look.colour:
        return Style(bold=share > 0.5, underline=share > 0.75)
    red, green, blue = colours[level]
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    ink = "#0d1218" if bright > 110 else "#e8eef4"
    return Style(color=ink, bgcolor=f"rgb({red},{green},{blue})")
