"""The application: which key does what."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from mbexplore.errors import MbexploreError
from mbexplore.explore import state
from mbexplore.explore.keys import KEYS
from mbexplore.explore.panes import pane_names
from mbexplore.explore.screen import ScreenApp
from mbexplore.explore.widgets import Field, Help, Prompt, Stage
from mbexplore.explore.work import in_thread
from mbexplore.jobs import Job
from mbexplore.text import shown

if TYPE_CHECKING:
    from mbexplore.network.config import LayerKind

PAUSE = 0.35
"""Seconds without a key after which a text is run."""
ENDED = ("text", "pane", "hf", "save")
"""Kinds of work that a key ends; opening the model is the other one."""


class ExploreApp(ScreenApp):
    """The terminal explorer."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "to the shell", show=False, priority=True),
    ]

    def action_step(self, what: str, by: int) -> None:
        """The token, layer, head or zoom before or after."""
        self._go(**vars(state.step(self.where, self.bounds, what, by)))

    def action_go(self, token: int) -> None:
        """A token; -1 is the last."""
        self._go(token=token % max(1, self.bounds.tokens))

    def action_nearest(self, kind: LayerKind) -> None:
        """The nearest layer of a kind."""
        if kind in self.bounds.kinds:
            self._go(**vars(state.nearest(self.where, self.bounds, kind)))
        else:
            self._say(f"This model has no {kind} layer.")

    def action_show(self, pane: str) -> None:
        """Another pane."""
        self.query_one(Stage).scroll_home(animate=False, immediate=True)
        self._go(pane=pane)

    def action_next_pane(self, by: int) -> None:
        """The pane before or after, round."""
        names = pane_names()
        self.action_show(names[(names.index(self.where.pane) + by) % len(names)])

    def action_scroll(self, way: str) -> None:
        """The pane further up or down."""
        stage = self.query_one(Stage)
        (stage.scroll_page_up if way == "up" else stage.scroll_page_down)(animate=False)

    def action_turn(self, switch: str) -> None:
        """Words, special tokens or Hugging Face on or off."""
        self._go(**{switch: not getattr(self.where, switch)})
        if switch == "hf":
            self._compare()

    def action_run(self) -> None:
        """Runs the text now and keeps it among the earlier ones."""
        self.history.add(self.text)
        self.query_one(Stage).focus()
        self._run(jump=False)

    def action_stop(self) -> None:
        """Ends the work, if there is any."""
        if self._end(*ENDED):
            self._say("Stopped; enter runs the text again.")

    def action_mask(self) -> None:
        """Masks the selected token or word, or puts back what a mask hides."""
        from mbexplore.masking import toggle_masks

        reading, start = self.reading, self.where.token
        if reading is None or reading.session.encoding.text != self.text:
            return
        span = (start, start + 1)
        if self.where.words:
            span = next(one for one in self.bounds.words if one[0] <= start < one[1])
        answers = reading.session.answers if reading.is_recorded else list
        try:
            self.text, self.hidden = toggle_masks(
                reading.session.encoding, [span], self.hidden, answers
            )
        except MbexploreError as error:
            self._say(str(error))
            return
        self.where = replace(self.where, token=span[0])
        self.query_one(Field).put(self.text)
        self._run(jump=False)

    def action_find(self) -> None:
        """Asks for a token to go to."""

        def find(name: str | None) -> None:
            from mbexplore.analysis.token_spans import find_token_position

            if name and self.reading is not None:
                try:
                    self._go(token=find_token_position(self.reading.session.encoding, name))
                except MbexploreError as error:
                    self._say(str(error))

        self.push_screen(Prompt("find"), find)

    def action_save(self) -> None:
        """Asks for a file to save this view in."""
        result = self.result
        if result is None:
            self._say("There is nothing to save yet.")
            return

        def save(name: str | None) -> None:
            if name:
                self._begin("save", f"saving {shown(Path(name).name)}", partial(write, name))

        async def write(name: str, job: Job) -> None:
            path = await in_thread(job, lambda: result.save(Path(name).expanduser()))
            self._say(f"Saved {path}")

        self.push_screen(Prompt("save as", f"{result.name}.png"), save)

    def action_copy(self) -> None:
        """Puts the command that makes this view on the clipboard."""
        if self.result is None:
            self._say("There is no command to copy yet.")
            return
        self.copy_to_clipboard(self.result.command)
        self._say(f"Copied: {self.result.command}")

    def action_dark(self) -> None:
        """Dark or light."""
        if not self.look.colour:
            self._say("Without colours there is neither dark nor light.")
            return
        self.look = replace(self.look, dark=not self.look.dark)
        self.theme = self.look.theme

    def action_help(self) -> None:
        """All keys, and how the pane is read."""
        from mbexplore.views import REGISTRY
        from mbexplore.views.result import guide_lines

        self.push_screen(Help(guide_lines(REGISTRY[self.where.pane])))

    def action_interrupt(self) -> None:
        """Leaves as any program does on Ctrl-C."""
        self.exit(130)

    async def action_quit(self) -> None:
        """Leaves."""
        self.exit(0)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Every view, and everything a key does, by name."""
        from mbexplore.views import REGISTRY

        for name in pane_names():
            yield SystemCommand(
                f"View {name}", REGISTRY[name].question, partial(self.action_show, name)
            )
        for key in KEYS:
            if key.tooltip and key.key not in ("1", "ctrl+p", "ctrl+z"):
                what = f"{key.tooltip[0].upper()}{key.tooltip[1:]}"
                act = partial(self.run_action, key.action)
                yield SystemCommand(what, f"key {self.get_key_display(key)}", act)

    # The field.

    def on_input_changed(self, event: Input.Changed) -> None:
        """Runs a text as its writer pauses."""
        if event.input.id != "field" or event.value == self.text:
            return
        self.text, self.hidden = event.value, []
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(PAUSE, partial(self._run, jump=True))

    def on_input_submitted(self) -> None:
        """Runs the text."""
        self.action_run()

    def action_recall(self, by: int) -> None:
        """An earlier or later text."""
        field = self.query_one(Field)
        text = self.history.step(by, field.value)
        if text is not None:
            field.put(text)
