"""What is on the screen, from top to bottom, and the little that one sees change by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.app import App, ComposeResult
from textual.containers import Horizontal

from mbexplore.explore import above
from mbexplore.explore.above import Activity
from mbexplore.explore.lines import Line, clip, say
from mbexplore.explore.look import DARK, LIGHT, PLAIN, Look
from mbexplore.explore.masks import Draft
from mbexplore.explore.state import Bounds, State
from mbexplore.explore.widgets import Canvas, Field, Stage, shown_keys
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.explore.panes import Picture
    from mbexplore.explore.runner import Run
    from mbexplore.explorer import Explorer

FIRST = "The capital of France is [MASK]."
"""What the field holds where no text was given: something to see, and to type over."""


@dataclass(frozen=True)
class Question:
    """What the line at the foot asks: its label, what stands in it, and who gets the answer."""

    label: str
    value: str
    answer: Callable[[str], None]


class ScreenApp(App[int]):
    """The parts of the screen, drawn from what is known; knows no work and no key.

    Attributes:
        look: light or dark, with or without colours.
        where: the place in model and text.
        bounds: what there is to move in.
        draft: the text in the field.
        explorer: the model; None until it is open.
        run_shown: the text as the model read it last.
        error: the sentence that takes the place of the predictions.
        picture: of the pane.
        note: the sentence at the foot, until the next key.
    """

    TITLE = "mbexplore"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (40, "-tall")]  # noqa: RUF012 - as Textual has it
    CSS = """
    Screen { background: $background; color: $foreground; }
    #title { background: $panel; }
    #write { height: 1; }
    #prompt { width: 3; }
    #field { width: 1fr; }
    #tokens { height: 2; }
    .-tall #tokens { height: 5; }
    #predictions { height: 6; }
    #tabs { background: $panel; }
    #stage { height: 1fr; padding: 0 1; }
    #foot { background: $panel; }
    #ask { display: none; height: 1; }
    #ask.shown { display: block; }
    #ask.shown Field { width: 1fr; }
    #label { width: auto; }
    """

    def __init__(self, text: str | None, look: Look, name: str) -> None:
        """Makes the screen; nothing runs.

        Args:
            text: the first text; None for one to type over.
            look: light or dark, with or without colours.
            name: of the model, until it is open.
        """
        super().__init__(ansi_color=None if look.colour else True)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.look = look
        self.where = State()
        self.bounds = Bounds()
        self.draft = Draft(FIRST if text is None else text)
        self.explorer: Explorer | None = None
        self.run_shown: Run | None = None
        self.error = ""
        self.picture: Picture | None = None
        self.note = ""
        self._model_name = name
        self._activity: dict[str, Activity] = {}
        self._title_busy = False
        self._question: Question | None = None

    def compose(self) -> ComposeResult:
        """The parts from top to bottom."""
        yield Canvas(self._draw_title, id="title")
        with Horizontal(id="write"):
            yield Canvas(self._draw_prompt, id="prompt")
            yield Field(self.draft.text, placeholder="a sentence with a [MASK]", id="field")
        yield Canvas(self._draw_tokens, id="tokens")
        yield Canvas(self._draw_predictions, id="predictions")
        yield Canvas(self._draw_tabs, id="tabs")
        yield Canvas(self._draw_place, id="place")
        yield Stage(self._draw_stage, id="stage")
        yield Canvas(self._draw_foot, id="foot")
        with Horizontal(id="ask"):
            yield Canvas(self._draw_label, id="label")
            yield Field(id="answer", select_on_focus=False)

    def _apply_look(self) -> None:
        self.theme = (DARK if self.look.dark else LIGHT).name if self.look.colour else PLAIN

    def _redraw(self) -> None:
        for screen in self.screen_stack[:1]:  # none is left where the app is ending
            for canvas in screen.query(Canvas):
                canvas.redraw()

    def _redraw_title(self) -> None:
        if self._activity or self._title_busy:
            self._title_busy = bool(self._activity)
            self.query_one("#title", Canvas).redraw()

    def _draw_prompt(self, width: int, height: int) -> list[Line]:
        return [[say(" \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ", self.look.strong)]]

    def _draw_title(self, width: int, height: int) -> list[Line]:
        info = self.explorer.info if self.explorer else None
        activity = next(iter(self._activity.values()), None)
        return [above.title_line(info, self._model_name, activity, self.look, width)]

    def _draw_tokens(self, width: int, height: int) -> list[Line]:
        if self.run_shown is None:
            return []
        return above.token_lines(self.run_shown, self.where, self.look, width, height)

    def _draw_predictions(self, width: int, height: int) -> list[Line]:
        return above.prediction_lines(
            self.run_shown, self.error, self.where, self.look, width, "hf" in self._activity
        )

    def _draw_tabs(self, width: int, height: int) -> list[Line]:
        return [above.tab_line(self.where, self.look, width)]

    def _draw_place(self, width: int, height: int) -> list[Line]:
        remark = self.picture.remark if self.picture else ""
        return [above.place_line(self.run_shown, self.where, self.bounds, self.look, width, remark)]

    def _draw_stage(self, width: int, height: int) -> list[Line]:
        return self.picture.lines[self.where.scroll :] if self.picture else []

    def _draw_foot(self, width: int, height: int) -> list[Line]:
        if self.note:
            return [[say(f" {clip(self.note, width - 2)}", self.look.strong)]]
        line: Line = []
        for name, brief in shown_keys(width):
            line += [say(f" {name}", self.look.strong), say(f" {brief} ", self.look.faint)]
        return [line]

    def _draw_label(self, width: int, height: int) -> list[Line]:
        label = self._question.label if self._question else ""
        return [[say(f" {label} ", self.look.strong)]]

    def _ask(self, label: str, value: str, answer: Callable[[str], None]) -> None:
        self._question, self.note = Question(label, value, answer), ""
        self.query_one("#label").styles.width = len(label) + 3
        self.query_one("#foot").display = False
        self.query_one("#ask").add_class("shown")
        field = self.query_one("#answer", Field)
        field.put(value)
        field.focus()
        self._redraw()

    def _unask(self) -> None:
        self._question = None
        self.query_one("#ask").remove_class("shown")
        self.query_one("#foot").display = True
        self.query_one(Stage).focus()
        self._redraw()

    def _say(self, note: str) -> None:
        """A sentence at the foot, until the next key."""
        self.note = shown(note)
        self.query_one("#foot", Canvas).redraw()
