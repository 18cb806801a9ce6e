"""The application: which key does what."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from mbexplore.errors import MbexploreError
from mbexplore.explore import state
from mbexplore.explore.help import Help
from mbexplore.explore.history import History
from mbexplore.explore.keys import KEYS
from mbexplore.explore.look import Look
from mbexplore.explore.masks import Draft, toggle_mask
from mbexplore.explore.panes import pane_names
from mbexplore.explore.runner import Run, Runner
from mbexplore.explore.state import State
from mbexplore.explore.widgets import Field, Stage
from mbexplore.explore.work import ENDED, WorkingApp

if TYPE_CHECKING:
    from mbexplore.network.config import LayerKind
    from mbexplore.views.result import Result

PAUSE = 0.35
"""Seconds without a key after which a text is run."""


class ExploreApp(WorkingApp):
    """The terminal explorer.

    Attributes:
        history: earlier texts.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "to the shell", show=False, priority=True),
    ]

    def __init__(
        self, runner: Runner, text: str | None, history: History, look: Look, name: str = "tiny"
    ) -> None:
        """Makes the application; nothing runs yet.

        Args:
            runner: opens the model and runs texts.
            text: the first text; None for one to type over.
            history: earlier texts.
            look: light or dark, with or without colours.
            name: of the model, until it is open.
        """
        super().__init__(runner, text, look, name)
        self.history = history
        self._given = text is not None

    def on_mount(self) -> None:
        """Shows the screen, then opens the model behind it."""
        self._apply_look()
        self.query_one(Stage if self._given else "#field").focus()
        self._begin("open", self._open)
        self.set_interval(0.1, self._redraw_title)
        if not self.is_headless and sys.platform != "win32":
            self._leave_on_signals()

    def _leave_on_signals(self) -> None:
        """A polite kill, or a terminal that says goodbye, finds the screen given back."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.exit, 128 + signal.SIGTERM)

        def hang_up(number: int, frame: FrameType | None) -> None:
            if not _has_terminal():
                os._exit(128 + number)  # whoever writes to a closed terminal may wait for ever
            loop.call_soon_threadsafe(self.exit, 128 + number)

        signal.signal(signal.SIGHUP, hang_up)

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
        self._go(replace(self.where, pane=pane, scroll=0))

    def action_next_pane(self, by: int) -> None:
        """The pane before or after, round."""
        names = pane_names()
        self.action_show(names[(names.index(self.where.pane) + by) % len(names)])

    def action_scroll_pane(self, by: int) -> None:
        """Lines of the pane further up or down."""
        lines = len(self.picture.lines) if self.picture else 0
        height = self.query_one(Stage).size.height
        scroll = min(max(0, self.where.scroll + by * max(1, height // 2)), max(0, lines - height))
        self.where = replace(self.where, scroll=scroll)
        self._redraw()

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
        if self._cancel(*ENDED):
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
        from mbexplore.analysis.token_spans import find_token_position

        if self.run_shown is None:
            return
        try:
            place = find_token_position(self.run_shown.encoding, name)
        except MbexploreError as error:
            self._say(str(error))
            return
        self._go(state.go_to(self.where, self.bounds, place))

    def action_save(self) -> None:
        """Asks for a file to save this view in."""
        self._with_result(
            lambda result: self._ask("save as", f"{result.name}.png", self._saver(result))
        )

    def action_copy(self) -> None:
        """Puts the command that makes this view on the clipboard."""

        def copy(result: Result[Any]) -> None:
            self.copy_to_clipboard(result.command)
            self._say(f"Copied: {result.command}")

        self._with_result(copy)

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

    def on_stage_resized(self) -> None:
        """The same place in another room."""
        self._redraw_pane()


def _answer(run: Run, position: int) -> str | None:
    """The model's first answer at a mask, as it stands in a text."""
    for mask in run.answer.masks if run.answer else ():
        if mask.position == position:
            return mask.predictions[0].token.strip()
    return None


def _has_terminal() -> bool:
    """Whether there is still a terminal to give back."""
    try:
        os.get_terminal_size(0)
    except OSError:
        return False
    return True
