"""The parts of the screen that Textual has not: a field for any text, a pane, and two dialogs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Input, Static

from mbexplore.explore.keys import KEYS, SECTIONS
from mbexplore.explore.panes import Line

_UNSEEN = (*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SEEN = {
    **{code: chr(0x2400 + code) for code in range(32)},
    **dict.fromkeys(_UNSEEN, "\N{REPLACEMENT CHARACTER}"),
    0x0A: "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    0x0D: "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}",
    0x09: "\N{RIGHTWARDS ARROW TO BAR}",
    0x7F: "\N{SYMBOL FOR DELETE}",
}
_NEW_LINES = re.compile(r"\r\n?")


def as_seen(text: str) -> str:
    """The text with a sign of its own for each character that must not reach a terminal."""
    return text.translate(_SEEN)


class Field(Input):
    """A line of text. Holds any text, new lines too; shows what can't be shown as signs."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.recall(-1)", "earlier text"),
        Binding("down", "app.recall(1)", "later text"),
        Binding("enter", "submit", "run"),
        Binding("escape", "app.focus('stage')", "leave"),
    ]

    @property
    def _value(self) -> Text:
        return Text(as_seen(self.value), no_wrap=True, overflow="ignore", end="")

    def _position_to_cell(self, position: int) -> int:
        return Text(as_seen(self.value[:position])).cell_len

    def _on_paste(self, event: events.Paste) -> None:
        """Takes all that was pasted, not its first line alone."""
        event.stop()
        event.prevent_default()
        text = _NEW_LINES.sub("\n", event.text).rstrip("\n")
        self.replace(text, *sorted(self.selection))

    def put(self, text: str) -> None:
        """Another text, the cursor behind it."""
        self.value = text
        self.cursor_position = len(text)


class Stage(ScrollView, can_focus=True, inherit_bindings=False):
    """Lines of a pane that scroll; while it has the focus, keys move about."""

    BINDINGS: ClassVar[list[BindingType]] = list(KEYS)

    lines: tuple[Line, ...] = ()

    def put(self, lines: list[Line]) -> None:
        """Other lines; scrolled no further than they go."""
        self.lines = tuple(lines)
        self.virtual_size = Size(self.size.width, len(lines))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line, filled to the width."""
        y += self.scroll_offset.y
        strip = Strip(self.lines[y] if y < len(self.lines) else [])
        return strip.adjust_cell_length(self.size.width).apply_style(self.rich_style)


class Prompt(ModalScreen[str | None]):
    """A question at the foot: what is typed, or None where it is left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "leave")]

    def __init__(self, label: str, value: str = "") -> None:
        super().__init__()
        self._label, self._value = label, value

    def compose(self) -> ComposeResult:
        """A line."""
        with Horizontal():
            yield Static(self._label)
            yield Input(self._value, select_on_focus=False, compact=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Gives what was typed."""
        event.stop()
        self.dismiss(event.value.strip() or None)


class Help(ModalScreen[None]):
    """All keys in two columns, under them how the pane is read; any of the usual ones closes it.

    Args:
        guide: the lines of the pane's guide by their names.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", "close")
    ]

    def __init__(self, guide: Mapping[str, str]) -> None:
        super().__init__()
        self._guide = guide

    def compose(self) -> ComposeResult:
        """Two sections a column, and the guide."""
        with VerticalScroll():
            with Horizontal():
                yield Static(_help(self.app, "Place", "Text"))
                yield Static(_help(self.app, "Pane", "Explorer"))
            for name, line in self._guide.items():
                yield Static(Content.assemble((name, "bold $primary"), f" {line}"))


def _help(app: App[int], *names: str) -> Content:
    parts: list[str | tuple[str, str]] = []
    for name in names:
        parts += ["\n\n" if parts else "", (name, "bold $primary")]
        for key in SECTIONS[name]:
            if key.tooltip:
                parts += [(f"\n{app.get_key_display(key):>7}", "bold"), f" {key.tooltip}"]
    return Content.assemble(*parts)
