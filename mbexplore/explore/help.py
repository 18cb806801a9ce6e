"""The keys, over everything else."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Center
from textual.screen import ModalScreen

from mbexplore.explore.keys import KEYS, Key
from mbexplore.explore.lines import Line, beside, clip, pad, say
from mbexplore.explore.look import Look
from mbexplore.explore.widgets import Canvas

COLUMN = 38


def help_lines(look: Look) -> list[Line]:
    """Every key by group, in two columns."""
    groups: dict[str, list[Key]] = {}
    for key in KEYS:
        if key.what:
            groups.setdefault(key.group, []).append(key)
    blocks = {name: _block(name, keys, look) for name, keys in groups.items()}
    left = [*blocks["Place"], [], *blocks["Text"]]
    right = [*blocks["Pane"], [], *blocks["Explorer"]]
    return beside(left, right, COLUMN, gap=1)


def _block(name: str, keys: list[Key], look: Look) -> list[Line]:
    lines: list[Line] = [[say(name, look.hue("global") + look.strong)]]
    for key in keys:
        what = clip(key.what, COLUMN - 8)
        lines.append([say(pad(key.name, 7, right=True), look.strong), say(f" {what}")])
    return lines


class Help(ModalScreen[None]):
    """All keys; any of the usual ones closes it."""

    DEFAULT_CSS = """
    Help { align: center middle; background: $background 60%; }
    Help Center { width: 80; height: auto; max-height: 100%; background: $panel; padding: 0 1; }
    Help Canvas { width: 77; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,enter,space", "dismiss", "close", show=False)
    ]

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look

    def compose(self) -> ComposeResult:
        """One block of lines."""
        lines = help_lines(self._look)
        with Center():
            canvas = Canvas(lambda width, height: lines)
            canvas.styles.height = len(lines)
            yield canvas
