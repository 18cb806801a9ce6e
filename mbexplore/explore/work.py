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
from mbexplore.explore.desk import Desk, Run
from mbexplore.explore.look import Look
from mbexplore.explore.screen import ScreenApp
from mbexplore.explore.threads import Stop, in_thread
from mbexplore.explore.widgets import Stage
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.explore.panes import Picture, Scene
    from mbexplore.explorer import Explorer
    from mbexplore.views.old import View

Work = Callable[[], Coroutine[Any, Any, None]]
"""Begins when it is called: what is ended before that leaves no coroutine that nobody awaits."""

ENDED = ("run", "pane", "hf", "save")
"""Kinds of work that can be ended; opening the model is the other one."""


class WorkingApp(ScreenApp):
    """A screen with work behind it, one worker a kind; a new one of a kind ends the one before.

    Attributes:
        desk: opens the model and runs texts.
        failure: why the model could not be opened.
    """

    def __init__(self, desk: Desk, text: str | None, look: Look, name: str) -> None:
        super().__init__(text, look, name)
        self.desk = desk
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
            self.explorer = await in_thread(lambda stop: self.desk.open(stop, tell))
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
            run = await in_thread(lambda stop: self.desk.predict(explorer, text, stop, tell))
            masks = run.encoding.mask_positions
            if jump and masks:
                self.where = replace(self.where, token=masks[0])
            self._show(run)
            recorded = await in_thread(lambda stop: self.desk.record(run, stop, tell))
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
            compared = await in_thread(lambda stop: self.desk.compare(run, stop))
        except MbexploreError as error:
            self.note = str(error)
            return
        if self.run_shown is not None and self.run_shown.answer is run.answer:
            self.run_shown = replace(self.run_shown, comparison=compared.comparison)

    def _scene(self) -> Scene | None:
        """What the pane is drawn from; None before the first recording."""
        if self.run_shown is None or self.run_shown.recording is None:
            return None
        from mbexplore.explore.panes import Scene

        size = self.query_one(Stage).size
        return Scene(self.run_shown, self.where, self.look, size.width, size.height)

    def _redraw_pane(self) -> None:
        """Draws the pane anew, from the recording."""
        scene = self._scene()
        if scene is not None and scene.width and scene.height:
            self._begin("pane", partial(self._draw_pane, scene))

    async def _draw_pane(self, scene: Scene) -> None:
        from mbexplore.explore.panes import PANES_BY_NAME, say_all

        pane = PANES_BY_NAME[scene.state.pane]

        def make(stop: Stop) -> Picture:
            data = pane.load(scene, stop)
            picture: Picture = pane.draw(data, scene)
            return picture

        try:
            self.picture = await in_thread(make)
        except MbexploreError as error:
            self.picture = say_all(str(error), scene)

    def _with_view(self, use: Callable[[View], None]) -> None:
        scene = self._scene()
        if scene is None:
            self._say("There is nothing to take away yet.")
            return

        async def find() -> None:
            from mbexplore.explore.panes import PANES_BY_NAME

            try:
                pane = PANES_BY_NAME[scene.state.pane]
                view = await in_thread(lambda stop: pane.view(scene, stop))
            except MbexploreError as error:
                self._say(str(error))
            else:
                use(view)

        self._begin("save", find)

    def _saver(self, view: View) -> Callable[[str], None]:
        async def save(name: str) -> None:
            from mbexplore.files import check_target, write_whole

            path = Path(name).expanduser()
            self._teller("save")(f"saving {shown(path.name)}", 0, 0)

            def write(stop: Stop) -> None:
                check_target(path, view.formats)
                content = view.content(path.suffix.removeprefix(".").lower())
                stop.check()
                write_whole(path, content)

            try:
                await in_thread(write)
            except MbexploreError as error:
                self._say(str(error))
            else:
                self._say(f"Saved {path}")

        return lambda name: self._begin("save", partial(save, name))
