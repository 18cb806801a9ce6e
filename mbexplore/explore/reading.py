"""A text as the model read it: all that is slow, for threads to do."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mbexplore.errors import MbexploreError, TextError
from mbexplore.explore.panes import Line, build_view, draw
from mbexplore.explore.state import Bounds, State
from mbexplore.jobs import report

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.session import Session
    from mbexplore.views.result import Result

KEEP = ("attention", "values", "hidden_states", "neurons", "updates")
"""What every pane together reads from a recording."""


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
        result = build_view(where, reading.bounds).of(reading.session)
        return result, draw(result.blocks, width, colour)
    except MbexploreError as error:
        return None, draw([Note(str(error))], width, colour)
