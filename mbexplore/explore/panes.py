"""A text as the model read it, and every view of it as a pane: all that is slow, for threads."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console, Group
from rich.segment import Segment

from mbexplore.errors import MbexploreError, TextError
from mbexplore.explore.state import Bounds, State, window_of
from mbexplore.jobs import report
from mbexplore.views import REGISTRY, View

if TYPE_CHECKING:
    from mbexplore.display.blocks import Block
    from mbexplore.explorer import Explorer
    from mbexplore.session import Session
    from mbexplore.views.result import Result

Line = list[Segment]
KEEP = ("attention", "values", "hidden_states", "neurons", "updates")
"""What every pane together reads from a recording."""
CORPUS = "corpus"
"""The view that shows the selected head over many texts."""


def pane_names() -> tuple[str, ...]:
    """Views that need no second text, in their order; predictions stand above them already."""
    return (
        *(
            name
            for name, view in REGISTRY.items()
            if name != "predict"
            and view.reads == "text"
            and view.title
            and not view.needs_more
            and not any(one.option.positional or one.is_required for one in view.parameters)
        ),
        CORPUS,
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
    return view.with_effect(values)


def view_of_answer(where: State, session: Session, bounds: Bounds) -> View[Any]:
    """`build_view`; a view of the model's answer is at its mask, whichever token is selected."""
    view = build_view(where, bounds)
    if not view.explains_answer:
        return view
    return REGISTRY[where.pane](**(view.values | {"token": session.answer_position(where.token)}))


def draw(blocks: Iterable[Block], width: int, colour: bool) -> list[Line]:
    """Blocks as lines of at most `width` cells."""
    from mbexplore.display.terminal import render

    system: Literal["truecolor"] | None = "truecolor" if colour else None
    console = Console(width=width, color_system=system, force_terminal=True, highlight=False)
    lines = console.render_lines(Group(*map(render, blocks)), console.options, pad=False)
    return [list(line) if colour else list(Segment.remove_color(line)) for line in lines]


@dataclass(frozen=True, eq=False)
class Reading:
    """A text as the model read it.

    Attributes:
        session: the text under the model, with what panes computed of it.
        bounds: what there is to move in.
        answer: what the model predicts, or the sentence that says why it doesn't.
    """

    session: Session
    bounds: Bounds
    answer: Result[Any] | str

    @property
    def is_recorded(self) -> bool:
        """Whether panes can be drawn."""
        return self.session.kept() is not None


def open_model(name: str | None, device: str = "auto", dtype: str = "float32") -> Explorer:
    """Loads the model, and what the first pane needs.

    Raises:
        MbexploreError: see `explorer.load`.
    """
    report(0, 3)
    from mbexplore.explorer import load

    report(1, 3)
    explorer = load(name, device=device, dtype=dtype)
    report(2, 3)
    import_module("mbexplore.display.terminal")
    return explorer


def read(session: Session) -> Reading:
    """The text's tokens and our answer, without anything kept: the first thing to be seen.

    Raises:
        TextError: the text is empty or too long.
    """
    bounds = Bounds.of(session)
    try:
        return Reading(session, bounds, predict(session, hf=False))
    except TextError as error:
        return Reading(session, bounds, f"{error} m masks the selected token.")
    except MbexploreError as error:
        return Reading(session, bounds, str(error))


def predict(session: Session, *, hf: bool) -> Result[Any]:
    """What the model predicts; with `hf` beside Hugging Face, which is loaded when first asked.

    Raises:
        MbexploreError: the text has no mask, or the model no head.
    """
    from mbexplore.views.predict import PredictView

    result = PredictView(hf=hf).of(session)
    _ = result.blocks
    return result


def make_pane(
    reading: Reading, where: State, width: int, colour: bool
) -> tuple[Result[Any] | None, list[Line]]:
    """What a view gives, as lines; or only the sentence that says why it gives nothing."""
    from mbexplore.display.blocks import Note

    try:
        result = view_of_answer(where, reading.session, reading.bounds).of(reading.session)
        return result, draw(result.blocks, width, colour)
    except MbexploreError as error:
        return None, draw([Note(str(error))], width, colour)
