"""The application: what is on the screen, which key does what, and which work runs behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input
from textual.worker import Worker

from mbexplore.errors import MbexploreError
from mbexplore.explore import above, state
from mbexplore.explore.above import Activity
from mbexplore.explore.desk import Desk, Run
from mbexplore.explore.help import Help
from mbexplore.explore.history import History
from mbexplore.explore.keys import KEYS
from mbexplore.explore.lines import Line, clip, say
from mbexplore.explore.look import DARK, LIGHT, PLAIN, Look
from mbexplore.explore.masks import Draft, toggle_mask
from mbexplore.explore.state import Bounds, State
from mbexplore.explore.threads import Stop, in_thread
from mbexplore.explore.widgets import Canvas, Field, Stage, shown_keys
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.config import LayerKind
    from mbexplore.explore.panes import Picture, Scene
    from mbexplore.explorer import Explorer
    from mbexplore.views.view import View

FIRST = "The capital of France is [MASK]."
"""What the field holds where no text was given: something to see, and to type over."""

PAUSE = 0.35
"""Seconds without a key after which a text is run."""


@dataclass(frozen=True)
class Question:
    """What the line at the foot asks: its label, what stands in it, and who gets the answer."""

    label: str
    value: str
    answer: Callable[[str], None]


class ExploreApp(App[int]):
    """The terminal explorer."""

    TITLE = "mbexplore"
    ENABLE_COMMAND_PALETTE = True
    CSS = """
    Screen { background: $background; color: $foreground; }
    #title { background: $panel; }
    #write { height: 1; }
    #prompt { width: 3; }
    #field { width: 1fr; }
    #tokens { height: 2; }
    #predictions { height: 6; }
    #tabs { background: $panel; }
    #stage { height: 1fr; padding: 0 1; }
    #foot { background: $panel; }
    #ask { display: none; height: 1; }
    #ask.shown { display: block; }
    #ask.shown Field { width: 1fr; }
    #label { width: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "to the shell", show=False, priority=True),
    ]

    def __init__(
        self, desk: Desk, text: str | None, history: History, look: Look, name: str = "tiny"
    ) -> None:
        """Makes the application; nothing runs yet.

        Args:
            desk: opens the model and runs texts.
            text: the first text; None for one to type over.
            history: earlier texts.
            look: light or dark, with or without colours.
            name: of the model, until it is open.
        """
        super().__init__()
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.desk, self.history, self.look = desk, history, look
        self.where = State()
        self.bounds = Bounds()
        self.explorer: Explorer | None = None
        self.run_shown: Run | None = None
        self.error = ""
        self.picture: Picture | None = None
        self.note = ""
        self.draft = Draft(FIRST if text is None else text)
        self._model_name, self._given = name, text is not None
        self._activity: dict[str, Activity] = {}
        self._title_busy = False
        self.failure: MbexploreError | None = None
        self._work: dict[str, Worker[None]] = {}
        self._pause: Timer | None = None
        self._question: Question | None = None

    # What is on the screen.

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
            yield Field(id="answer")

    def on_mount(self) -> None:
        """Shows the screen, then opens the model behind it."""
        self._apply_look()
        self.query_one(Stage if self._given else "#field").focus()
        self._begin("open", self._open())
        self.set_interval(0.1, self._redraw_title)
        if not self.is_headless:
            self._leave_on_signals()

    def _leave_on_signals(self) -> None:
        """A terminal that is closed, or a polite kill, finds the screen given back."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.exit, 128 + number)

    def _apply_look(self) -> None:
        self.theme = (DARK if self.look.dark else LIGHT).name if self.look.colour else PLAIN

    def _redraw(self) -> None:
        for canvas in self.screen_stack[0].query(Canvas):
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
            self.run_shown, self.error, self.where, self.look, width, "hf" in self._work
        )

    def _draw_tabs(self, width: int, height: int) -> list[Line]:
        return [above.tab_line(self.where, self.look, width)]

    def _draw_place(self, width: int, height: int) -> list[Line]:
        remark = self.picture.remark if self.picture else ""
        return [above.place_line(self.run_shown, self.where, self.bounds, self.look, width, remark)]

    def _draw_stage(self, width: int, height: int) -> list[Line]:
        return self.picture.lines if self.picture else []

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

    # Work behind the screen. One worker a kind; a new one of a kind ends the one before.

    def _begin(self, kind: str, work: Coroutine[Any, Any, None]) -> None:
        async def tidily() -> None:
            try:
                await work
            finally:
                if self._work.get(kind) is worker:
                    del self._work[kind]
                    self._activity.pop(kind, None)
                    self._redraw()

        self._cancel(kind)
        worker = self.run_worker(tidily(), name=kind)
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
            self._begin("run", self._run_text(self.explorer, self.draft.text, jump))

    async def _run_text(self, explorer: Explorer, text: str, jump: bool) -> None:
        """Our answer first, then the recording for the panes, then Hugging Face."""
        tell = self._teller("run")
        try:
            run = await in_thread(lambda stop: self.desk.predict(explorer, text, stop, tell))
        except MbexploreError as error:
            self.error = str(error)
            return
        masks = run.encoding.mask_positions
        if jump and masks:
            self.where = replace(self.where, token=masks[0])
        self._show(run)
        recorded = await in_thread(lambda stop: self.desk.record(run, stop, tell))
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
            self._begin("hf", self._compare(run))

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
            self._begin("pane", self._draw_pane(scene))

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

    # Keys.

    def _go(self, where: State) -> None:
        """Another place: all that is quick is drawn now, the pane as soon as it is made."""
        self.where, self.note = where, ""
        self._redraw()
        self._redraw_pane()

    def action_move_token(self, by: int) -> None:
        """The token before or after."""
        self._go(state.move_token(self.where, self.bounds, by))

    def action_move_layer(self, by: int) -> None:
        """The layer before or after."""
        self._go(state.move_layer(self.where, self.bounds, by))

    def action_move_head(self, by: int) -> None:
        """The head before or after."""
        self._go(state.move_head(self.where, self.bounds, by))

    def action_go_to(self, token: int) -> None:
        """A token; -1 is the last."""
        place = self.bounds.tokens - 1 if token < 0 else token
        self._go(state.go_to(self.where, self.bounds, place))

    def action_nearest(self, kind: LayerKind) -> None:
        """The nearest layer of a kind."""
        if kind not in self.bounds.kinds:
            self._say(f"This model has no {kind} layer.")
            return
        self._go(state.nearest(self.where, self.bounds, kind))

    def action_show(self, pane: str) -> None:
        """Another pane."""
        self._go(replace(self.where, pane=pane))

    def action_zoom(self, by: int) -> None:
        """Nearer or farther."""
        self._go(state.zoom(self.where, self.bounds, by))

    def action_turn(self, switch: str) -> None:
        """Words, special tokens or Hugging Face on or off."""
        self._go(state.turn(self.where, self.bounds, switch))
        if switch == "hf":
            self._ask_hf()

    def action_write(self) -> None:
        """To the text."""
        self.query_one("#field").focus()

    def action_run(self) -> None:
        """Runs the text now and keeps it among the earlier ones."""
        self.history.add(self.draft.text)
        self.query_one(Stage).focus()
        self._run(jump=False)

    def action_stop(self) -> None:
        """Ends the work, if there is any."""
        if self._cancel("run", "pane", "hf", "save"):
            self._say("Stopped; enter runs the text again.")

    def action_mask(self) -> None:
        """Masks the chosen token or word, or puts back what a mask hides."""
        run = self.run_shown
        if run is None or run.encoding.text != self.draft.text:
            return
        start, stop = self.where.token, self.where.token + 1
        if self.where.words:
            start, stop = next(span for span in self.bounds.words if span[0] <= start < span[1])
        try:
            self.draft = toggle_mask(self.draft, run.encoding, start, stop, _answer(run, start))
        except MbexploreError as error:
            self._say(str(error))
            return
        self.where = replace(self.where, token=start)
        self._field().put(self.draft.text)
        self._run(jump=False)

    def action_find(self) -> None:
        """Asks for a token to go to."""
        self._ask("find", "", self._find)

    def _find(self, name: str) -> None:
        from mbexplore.analysis.places import find_place

        if self.run_shown is None:
            return
        try:
            place = find_place(self.run_shown.encoding, name)
        except MbexploreError as error:
            self._say(str(error))
            return
        self._go(state.go_to(self.where, self.bounds, place))

    def action_save(self) -> None:
        """Asks for a file to save this view in."""
        self._with_view(lambda view: self._ask("save as", f"{view.name}.png", self._saver(view)))

    def action_copy(self) -> None:
        """Puts the command that makes this view on the clipboard."""

        def copy(view: View) -> None:
            self.copy_to_clipboard(view.command_line)
            self._say(f"Copied: {view.command_line}")

        self._with_view(copy)

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

        self._begin("save", find())

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

        return lambda name: self._begin("save", save(name))

    def action_dark(self) -> None:
        """Dark or light."""
        if not self.look.colour:
            self._say("Without colours there is neither dark nor light.")
            return
        self.look = replace(self.look, dark=not self.look.dark)
        self._apply_look()
        self._go(self.where)

    def action_help(self) -> None:
        """All keys."""
        self.push_screen(Help(self.look))

    def action_interrupt(self) -> None:
        """Leaves as any program does on Ctrl-C."""
        self.exit(130)

    async def action_quit(self) -> None:
        """Leaves."""
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Everything a key does, by name."""
        for key in KEYS:
            if key.what and key.action not in ("command_palette", "suspend_process"):
                name = f"{key.what[0].upper()}{key.what[1:]}"
                yield SystemCommand(name, f"key {key.name}", partial(self.run_action, key.action))

    # The two fields.

    def _field(self) -> Field:
        return self.query_one("#field", Field)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Runs a text as its writer pauses."""
        if event.input.id != "field" or event.value == self.draft.text:
            return
        self.draft = Draft(event.value)
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE, partial(self._run, jump=True))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Runs the text, or answers the question at the foot."""
        if event.input.id == "field":
            self.action_run()
            return
        question, value = self._question, event.value.strip()
        self._unask()
        if question is not None and value:
            question.answer(value)

    def on_field_stepped(self, event: Field.Stepped) -> None:
        """An earlier or later text."""
        text = self.history.step(event.by, self._field().value)
        if self._question is None and text is not None:
            self._field().put(text)

    def on_field_left(self, event: Field.Left) -> None:
        """Out of the field; the work goes on."""
        if self._question is not None:
            self._unask()
        else:
            self.query_one(Stage).focus()

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

    def on_resize(self) -> None:
        """The same place in another room."""
        self.call_after_refresh(self._redraw_pane)


def _answer(run: Run, position: int) -> str | None:
    """The model's first answer at a mask, as it stands in a text."""
    for mask in run.answer.masks if run.answer else ():
        if mask.position == position:
            return mask.predictions[0].token.strip()
    return None
