"""The screen from top to bottom, and the work behind it; knows no key."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.reactive import reactive
from textual.timer import Timer
from textual.widgets import Footer, Static
from textual.worker import Worker

from mbexplore.errors import MbexploreError
from mbexplore.explore import drawing, state
from mbexplore.explore.history import History
from mbexplore.explore.look import DARK, LIGHT, Look
from mbexplore.explore.panes import KEEP, Line, Reading, make_pane, predict, read
from mbexplore.explore.state import State
from mbexplore.explore.widgets import Field, Stage
from mbexplore.explore.work import in_thread
from mbexplore.jobs import Job, report
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.views.result import Result

FIRST = "The capital of France is [MASK]."
"""What the field holds where no text was given: something to see, and to type over."""


class ScreenApp(App[int]):
    """The explorer's screen, with one worker for each kind of work.

    Attributes:
        explorer: the model; None until it is open.
        failure: why it could not be opened.
        where: the place in model and text.
        text: in the field.
        hidden: what stood at each of its masks; "" where nobody knows.
        reading: the text as the model read it last.
        error: the sentence that takes the place of the predictions.
        result: what the pane shows; None while it is made.
        history: earlier texts.
        look: light or dark, with or without colours.
    """

    TITLE = "mbexplore"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (40, "-tall")]  # noqa: RUF012 - as Textual has it
    CSS_PATH = "explore.tcss"

    activity = reactive("")

    def __init__(
        self,
        open_model: Callable[[], Explorer],
        text: str | None,
        history: History,
        look: Look,
        name: str = "tiny",
        truncate: bool = False,
    ) -> None:
        """Makes the application; nothing runs yet.

        Args:
            open_model: gives the model; runs in a thread of its own.
            text: the first text; None for one to type over.
            history: earlier texts.
            look: light or dark, with or without colours.
            name: of the model, until it is open.
            truncate: whether to cut a text that is too long.
        """
        super().__init__(ansi_color=None if look.colour else True)
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.explorer: Explorer | None = None
        self.failure: MbexploreError | None = None
        self.where = State()
        self.text, self.hidden = FIRST if text is None else text, [""][:0]
        self.reading: Reading | None = None
        self.error = ""
        self.result: Result[Any] | None = None
        self.history, self.look = history, look
        self._open_model, self._is_given, self._truncate = open_model, text is not None, truncate
        self._model_name = name
        self._jobs: dict[str, Job] = {}
        self._pause: Timer | None = None

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours that Textual's own themes don't have."""
        return {"faint": "ansi_default"}

    def compose(self) -> ComposeResult:
        """The parts from top to bottom."""
        with Horizontal(id="title"):
            yield Static(id="model")
            yield Static(id="activity")
        with Horizontal(id="write"):
            yield Static(" \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} ", id="prompt")
            yield Field(self.text, placeholder="a sentence with a [MASK]", id="field")
        for name in ("tokens", "predictions", "tabs", "place"):
            yield Static(id=name)
        yield Stage(id="stage")
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Shows the screen, then opens the model behind it."""
        self.theme = self.look.theme
        self.query_one(Stage if self._is_given else Field).focus()
        self._begin("open", "loading the model", self._open)
        self.set_interval(0.1, self._tick)
        if not self.is_headless and sys.platform != "win32":
            self._leave_on_signals()

    def _leave_on_signals(self) -> None:
        """A polite kill, or a terminal that says goodbye, finds the screen given back."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, 128 + signal.SIGTERM)

        def hang_up(number: int, frame: FrameType | None) -> None:
            try:
                os.get_terminal_size(0)
            except OSError:
                os._exit(128 + number)  # whoever writes to a closed terminal may wait for ever
            loop.call_soon_threadsafe(self.exit, 128 + number)

        signal.signal(signal.SIGHUP, hang_up)

    @property
    def bounds(self) -> state.Bounds:
        """What there is to move in."""
        return state.Bounds() if self.reading is None else self.reading.bounds

    # What is on the screen.

    def _tick(self) -> None:
        self.activity = drawing.progress(self._jobs.values())

    def watch_activity(self, activity: str) -> None:
        """What is being done, and how far it is."""
        self.query_one("#activity", Static).update(Content(activity))

    def on_resize(self) -> None:
        """The same place in another room."""
        self.call_after_refresh(self._go)

    def _redraw(self) -> None:
        """Draws all that is quick."""
        if not self.screen_stack:  # the app is ending
            return
        main, reading, where = self.screen_stack[0], self.reading, self.where
        width = self.size.width
        parts = {
            "model": drawing.title(self.explorer, self._model_name),
            "tabs": drawing.tabs(where, width),
        }
        sentence = self.error
        if reading is not None:
            room = main.query_one("#tokens").size
            parts["tokens"] = drawing.tokens(reading, where, room.width, room.height)
            parts["place"] = drawing.place(reading, where)
            if isinstance(reading.answer, str):
                sentence = sentence or reading.answer
            else:
                parts["predictions"] = drawing.predictions(reading.answer, where, width)
        if sentence:
            parts["predictions"] = Content(shown(sentence))
        main.query_one("#predictions").set_class(bool(sentence), "sentence")
        main.query_one("#predictions").set_class(bool(self.error), "error")
        for name, content in parts.items():
            main.query_one(f"#{name}", Static).update(content, layout=False)

    def _go(self, **changes: Any) -> None:
        """Another place: all that is quick is drawn now, the pane as soon as it is made."""
        reading = self.reading
        self.where = state.go(self.where, self.bounds, **changes)
        self.clear_notifications()
        self._redraw()
        width = self.query_one(Stage).scrollable_content_region.width
        if reading is not None and reading.is_recorded and width > 0:
            self.result = None
            self._begin("pane", self.where.pane, partial(self._show, reading, width))

    async def _show(self, reading: Reading, width: int, job: Job) -> None:
        def make() -> tuple[Result[Any] | None, list[Line]]:
            return make_pane(reading, where, width, self.look.colour)

        where = self.where
        self.result, lines = await in_thread(job, make)
        self.query_one(Stage).put(lines)

    def _say(self, sentence: str) -> None:
        """A sentence until the next key."""
        self.clear_notifications()
        self.notify(shown(sentence), markup=False)

    # The work behind it: one piece of a kind; a new one ends the one before.

    def _begin(self, kind: str, what: str, work: Callable[[Job], Awaitable[None]]) -> Worker[None]:
        job = Job(what)

        async def tidily() -> None:
            self._jobs[kind] = job
            try:
                await work(job)
            except MbexploreError as error:
                self._say(str(error))
            finally:
                if self._jobs.get(kind) is job:
                    del self._jobs[kind]

        return self.run_worker(tidily, name=kind, group=kind, exclusive=True)

    def _end(self, *kinds: str) -> bool:
        """Ends work of these kinds; whether there was any."""
        ended = [self.workers.cancel_group(self, kind) for kind in kinds]
        return any(ended)

    async def _open(self, job: Job) -> None:
        try:
            self.explorer = await in_thread(job, self._open_model)
        except MbexploreError as error:
            self.failure = error
            self.exit(error.exit_code)
            return
        self._redraw()
        self._run(jump=True)

    def _run(self, *, jump: bool) -> None:
        """Runs the text; `jump` goes to its first mask."""
        if self._pause is not None:
            self._pause.stop()
        if self.explorer is not None:
            self._end("hf", "pane")
            self._begin("text", "predicting", partial(self._read, self.explorer, jump))

    async def _read(self, explorer: Explorer, jump: bool, job: Job) -> None:
        """Our answer first, then the recording for the panes, then Hugging Face."""
        from mbexplore.session import Session

        session = Session(explorer, self.text, truncate=self._truncate, keep=KEEP, progress=report)
        try:
            self.reading = await in_thread(job, lambda: read(session))
            masks = session.encoding.mask_positions
            self.error = ""
            self._go(**({"token": masks[0]} if jump and masks else {}))
            job.what = "recording"
            await in_thread(job, session.recording)
        except MbexploreError as error:
            self.error = str(error)
            self._redraw()
            return
        self._go()
        self._compare()

    def _compare(self) -> None:
        """Predictions with Hugging Face's beside them, or without."""
        reading, hf = self.reading, self.where.hf
        if reading is None or isinstance(reading.answer, str):
            return

        async def compare(job: Job) -> None:
            answer = await in_thread(job, lambda: predict(reading.session, hf=hf))
            if self.reading is reading:
                self.reading = replace(reading, answer=answer)
                self._redraw()

        self._begin("hf", "Hugging Face", compare)
