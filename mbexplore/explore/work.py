"""The work behind the screen: opening the model, running texts, making panes and views."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.timer import Timer
from textual.worker import Worker

from mbexplore.errors import MbexploreError
from mbexplore.explore import state
from mbexplore.explore.above import Activity
from mbexplore.explore.look import Look
from mbexplore.explore.panes import Picture, build_view, draw, draw_sentence, stopping
from mbexplore.explore.runner import Run, Runner
from mbexplore.explore.screen import ScreenApp
from mbexplore.explore.threads import Stop, in_thread
from mbexplore.explore.widgets import Stage
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.views.result import Result

Work = Callable[[], Coroutine[Any, Any, None]]
"""Begins when it is called: what is ended before that leaves no coroutine that nobody awaits."""

ENDED = ("run", "pane", "hf", "save")
"""Kinds of work that can be ended; opening the model is the other one."""


class WorkingApp(ScreenApp):
    """A screen with work behind it, one worker a kind; a new one of a kind ends the one before.

    Attributes:
        runner: opens the model and runs texts.
        failure: why the model could not be opened.
    """

    def __init__(self, runner: Runner, text: str | None, look: Look, name: str) -> None:
        super().__init__(text, look, name)
        self.runner = runner
        self.failure: MbexploreError | None = None
        self._work: dict[str, Worker[None]] = {}
        self._pause: Timer | None = None

    def _begin(self, kind: str, work: Work) -> None:
        async def tidily() -> None:
            try:
                await work()
            finally:
                if self._work.get(kind) is worker:
                    del self._work[kind]
                    self._activity.pop(kind, None)
                    self._redraw()

        self._cancel(kind)
        worker: Worker[None] = self.run_worker(tidily, name=kind)
        self._work[kind] = worker

    def _cancel(self, *kinds: str) -> bool:
        """Ends work of these kinds; whether there was any."""
        ended = [self._work.pop(kind) for kind in kinds if kind in self._work]
        for kind in kinds:
            self._activity.pop(kind, None)
        for worker in ended:
            worker.cancel()
        return bool(ended)

    def _teller(self, kind: str) -> Callable[[str, int, int], None]:
        """Notes from a thread how far it is; the title is redrawn from it every tenth second."""

        def tell(what: str, done: int, of: int) -> None:
            self._activity[kind] = Activity(what, done, of)

        return tell

    async def _open(self) -> None:
        tell = self._teller("open")
        tell("loading PyTorch", 0, 3)
        try:
            self.explorer = await in_thread(lambda stop: self.runner.open(stop, tell))
        except MbexploreError as error:
            self.failure = error
            self.exit(error.exit_code)
            return
        self._run(jump=True)

    def _run(self, *, jump: bool) -> None:
        """Runs the text; `jump` goes to its first mask."""
        if self._pause is not None:
            self._pause.stop()
        if self.explorer is not None:
            self._cancel("hf", "pane")
            work = partial(self._run_text, self.explorer, self.draft.text, jump)
            self._begin("run", work)

    async def _run_text(self, explorer: Explorer, text: str, jump: bool) -> None:
        """Our answer first, then the recording for the panes, then Hugging Face."""
        tell = self._teller("run")
        try:
            run = await in_thread(lambda stop: self.runner.predict(explorer, text, stop, tell))
            masks = run.encoding.mask_positions
            if jump and masks:
                self.where = replace(self.where, token=masks[0])
            self._show(run)
            recorded = await in_thread(lambda stop: self.runner.record(run, stop, tell))
        except MbexploreError as error:
            self.error = str(error)
            return
        self._show(recorded)
        self._redraw_pane()
        self._ask_hf()

    def _show(self, run: Run) -> None:
        self.run_shown, self.error, self.bounds = run, "", run.bounds
        self.where = state.clamped(self.where, self.bounds)
        self._redraw()

    def _ask_hf(self) -> None:
        run = self.run_shown
        if self.where.hf and run is not None and run.answer and run.comparison is None:
            self._begin("hf", partial(self._compare, run))

    async def _compare(self, run: Run) -> None:
        self._teller("hf")("Hugging Face", 0, 0)
        try:
            compared = await in_thread(lambda stop: self.runner.compare(run, stop))
        except MbexploreError as error:
            self.note = str(error)
            return
        if self.run_shown is not None and self.run_shown.answer is run.answer:
            self.run_shown = replace(self.run_shown, comparison=compared.comparison)

    def _redraw_pane(self) -> None:
        """Draws the pane anew, from the recording."""
        run, size = self.run_shown, self.query_one(Stage).size
        if run is not None and run.is_recorded and size.width and size.height:
            self._begin("pane", partial(self._draw_pane, run, size.width))

    async def _draw_pane(self, run: Run, width: int) -> None:
        def make(stop: Stop) -> Picture:
            return draw(self._result(run, stop), self.look, width)

        try:
            self.picture = await in_thread(make)
        except MbexploreError as error:
            self.picture = draw_sentence(str(error), self.look, width)

    def _result(self, run: Run, stop: Stop) -> Result[Any]:
        view = build_view(self.where, run.bounds)
        with stopping(run.session, stop):
            result = view.of(run.session)
            _ = result.blocks
        return result

    def _with_result(self, use: Callable[[Result[Any]], None]) -> None:
        run = self.run_shown
        if run is None or not run.is_recorded:
            self._say("There is nothing to save yet.")
            return

        async def find() -> None:
            try:
                result = await in_thread(lambda stop: self._result(run, stop))
            except MbexploreError as error:
                self._say(str(error))
            else:
                use(result)

        self._begin("save", find)

    def _saver(self, result: Result[Any]) -> Callable[[str], None]:
        async def save(name: str) -> None:
            from mbexplore.files import check_target, write_whole

            path = Path(name).expanduser()
            self._teller("save")(f"saving {shown(path.name)}", 0, 0)

            def write(stop: Stop) -> None:
                check_target(path, result.formats)
                content = result.content(path.suffix.removeprefix(".").lower())
                stop.check()
                write_whole(path, content)

            try:
                await in_thread(write)
            except MbexploreError as error:
                self._say(str(error))
            else:
                self._say(f"Saved {path}")

        return lambda name: self._begin("save", partial(save, name))
