"""The parts of the screen: lines that a function draws, and a field for text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from mbexplore.explore.keys import KEYS
from mbexplore.explore.lines import Line

Draw = Callable[[int, int], list[Line]]
"""Lines for so many cells across and down."""


class Canvas(Widget):
    """Lines that a function draws for the size there is; drawn once for each `redraw`."""

    DEFAULT_CSS = """
    Canvas { height: 1; }
    """

    def __init__(self, draw: Draw, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._draw = draw
        self._lines: list[Line] | None = None
        self._drawn_for = Size(0, 0)

    def redraw(self) -> None:
        """Draws anew."""
        self._lines = None
        self.refresh()

    def lines(self) -> list[Line]:
        """What is drawn now."""
        if self._lines is None or self._drawn_for != self.size:
            self._drawn_for = self.size
            self._lines = self._draw(self.size.width, self.size.height)
        return self._lines

    def render_line(self, y: int) -> Strip:
        """One line, filled to the width."""
        lines, width = self.lines(), self.size.width
        strip = Strip(lines[y] if y < len(lines) else [])
        return strip.adjust_cell_length(width).apply_style(self.rich_style)


class Stage(Canvas, can_focus=True):
    """The pane below; while it has the focus, keys move about."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key.keys, f"app.{key.action}", key.what, show=False) for key in KEYS
    ]

    class Resized(Message):
        """There is another room to draw in."""

    def on_resize(self) -> None:
        """Tells that the picture no longer fits."""
        self.post_message(self.Resized())


_SEEN = {code: chr(0x2400 + code) for code in range(32)}
_UNSEEN = (*range(0x80, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_SEEN |= dict.fromkeys(_UNSEEN, "\N{REPLACEMENT CHARACTER}")
_SEEN |= {
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

    DEFAULT_CSS = """
    Field, Field:focus, Field:ansi {
        border: none; height: 1; padding: 0; background: $background; background-tint: transparent;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", "earlier text", show=False),
        Binding("down", "step(1)", "later text", show=False),
        Binding("escape", "leave", "leave", show=False),
    ]

    class Stepped(Message):
        """An earlier (-1) or later (1) text is wanted."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    class Left(Message):
        """The field is to be left as it is."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

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

    def action_step(self, by: int) -> None:
        """Asks for an earlier or later text."""
        self.post_message(self.Stepped(by))

    def action_leave(self) -> None:
        """Asks to be left."""
        self.post_message(self.Left(self))

    def put(self, text: str) -> None:
        """Another text, the cursor behind it."""
        self.value = text
        self.cursor_position = len(text)


def shown_keys(width: int) -> Sequence[tuple[str, str]]:
    """Keys and what they do for the foot of the screen, as many as there is room for."""
    pairs = [
        ("\N{LEFTWARDS ARROW}\N{RIGHTWARDS ARROW}", "token"),
        ("\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}", "layer"),
        ("[ ]", "head"),
        ("1-9", "pane"),
    ]
    pairs += [(key.name, key.brief) for key in KEYS if key.brief]
    last = pairs[-2:]  # help and quit have a place on every screen
    room = width - sum(len(name) + len(brief) + 3 for name, brief in last)
    chosen = []
    for name, brief in pairs[:-2]:
        room -= len(name) + len(brief) + 3
        if room < 0:
            break
        chosen.append((name, brief))
    return [*chosen, *last]
