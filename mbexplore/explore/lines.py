"""Lines of a terminal: segments of known width, cut to cells and never through a wide character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

Line = list[Segment]
NONE = Style()
MORE = "\N{HORIZONTAL ELLIPSIS}"


def say(text: str, style: Style = NONE) -> Segment:
    """A piece of a line; `text` must be safe for a terminal already (`mbexplore.text.shown`)."""
    return Segment(text, style)


def width_of(line: Iterable[Segment]) -> int:
    """Cells a line takes."""
    return sum(cell_len(segment.text) for segment in line)


def clip(text: str, width: int) -> str:
    """The text in at most `width` cells, with an ellipsis where it was cut."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + MORE if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly `width` cells, cut or filled; `right` puts it to the right."""
    text = clip(text, width)
    space = " " * (width - cell_len(text))
    return space + text if right else text + space


def fill(line: Line, width: int) -> Line:
    """The line in exactly `width` cells, cut or filled."""
    return Segment.adjust_line_length(line, width, NONE)


def wrap(pieces: Sequence[Segment], width: int) -> list[Line]:
    """Pieces one after another in lines of at most `width` cells; a piece is never broken."""
    lines: list[Line] = [[]]
    room = width
    for piece in pieces:
        cells = cell_len(piece.text)
        if cells > room and lines[-1]:
            lines.append([])
            room = width
        if cells > width:
            piece, cells = say(clip(piece.text, width), piece.style or NONE), width
        lines[-1].append(piece)
        room -= cells
    return lines


def beside(left: list[Line], right: list[Line], width: int, gap: int = 2) -> list[Line]:
    """Two blocks side by side, the left one filled to `width` cells."""
    lines = []
    for n in range(max(len(left), len(right))):
        first = fill(left[n] if n < len(left) else [], width)
        lines.append([*first, say(" " * gap), *(right[n] if n < len(right) else [])])
    return lines
