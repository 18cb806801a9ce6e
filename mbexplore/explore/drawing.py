"""What stands above the panes: title, tokens, predictions, place. Pure drawing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from textual.content import Content

from mbexplore.explore.look import HUES
from mbexplore.explore.panes import pane_names
from mbexplore.explore.state import State
from mbexplore.jobs import Job
from mbexplore.text import bar, shown, word

if TYPE_CHECKING:
    from mbexplore.explore.panes import Reading
    from mbexplore.explorer import Explorer
    from mbexplore.views.result import Result

FAINT = "$faint"
CHOSEN = "bold reverse"
MASK = "bold $warning"
SPACE = "\N{MIDDLE DOT}"
BAR = 12
"""Cells of the progress bar."""
MOST = 24
"""Cells of the bar of a certain prediction."""


def title(explorer: Explorer | None, name: str) -> Content:
    """The model."""
    if explorer is None:
        return Content.assemble((" mbexplore ", "bold"), (f" {shown(name)}", FAINT))
    info = explorer.info
    about = f"{info.parameters / 1e6:,.1f} M parameters, {info.dtype} on {info.device}"
    return Content.assemble((" mbexplore ", "bold"), f" {shown(info.name)}  ", (about, FAINT))


def progress(jobs: Iterable[Job]) -> str:
    """The first job and how far it is; nothing where there is none."""
    job = next(iter(jobs), None)
    if job is None:
        return ""
    full = round(BAR * job.done / job.total) if job.total else 0
    light, heavy = "\N{BOX DRAWINGS LIGHT HORIZONTAL}", "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
    return f"{job.what} {heavy * full}{light * (BAR - full)} "


def tokens(reading: Reading, where: State, width: int, height: int) -> Content:
    """The text as tokens, the lines around the selected one."""
    # A long text has many: they are laid out once for each width.
    key = ("token lines", where.words, where.specials, width)
    rows = reading.session.once(key, lambda: _lay_out(reading, where, max(4, width)))
    held = max((n for n, row in enumerate(rows) if row and row[0][0] <= where.token), default=0)
    top = min(max(0, held - height // 2), max(0, len(rows) - height))
    rows = rows[top : top + height]
    chosen = max((start for row in rows for start, *_ in row if start <= where.token), default=-1)
    masks = set(reading.session.encoding.mask_positions)
    parts: list[str | tuple[str, str]] = []
    for row in rows:
        parts += ["\n"] if parts else []
        for start, space, text in row:
            style = FAINT if start in reading.bounds.specials else MASK if start in masks else ""
            parts += [space, (text, CHOSEN if start == chosen else style)]
    return Content.assemble(*parts)


def _lay_out(reading: Reading, where: State, width: int) -> list[list[tuple[int, str, str]]]:
    """Lines of at most `width` cells: of each token or word its first token, space and text."""
    encoding, bounds = reading.session.encoding, reading.bounds
    masks = set(encoding.mask_positions)
    spans = bounds.words if where.words else tuple((i, i + 1) for i in range(bounds.tokens))
    rows: list[list[tuple[int, str, str]]] = [[]]
    room, after_special = width, False
    for start, stop in spans:
        special = start in bounds.specials
        if special and not where.specials:
            continue
        text = "".join(encoding.tokens[start:stop])
        # A special token has taken the space before it into itself.
        apart = text.startswith(" ") or special or start in masks or after_special
        space, after_special = " " if rows[-1] and apart else "", special
        text = clip(shown(text.removeprefix(" ")) or SPACE, width)
        cells = len(space) + cell_len(text)
        if cells > room and rows[-1]:
            rows.append([])
            room, space, cells = width, "", cell_len(text)
        rows[-1].append((start, space, text))
        room -= cells
    return rows


def clip(text: str, width: int, *, pad: bool = False) -> str:
    """The text in at most `width` cells, with an ellipsis where it was cut; or in just so many."""
    return Content(text).truncate(max(0, width), ellipsis=True, pad=pad).plain


def predictions(result: Result[Any], where: State, width: int) -> Content:
    """The most likely answers, ours beside Hugging Face's: of several masks at the nearest."""
    from mbexplore.display.blocks import Badge, Bars, walk
    from mbexplore.display.numbers import percent, significant

    blocks = list(walk(result.blocks))
    panels = [one for one in blocks if isinstance(one, Bars)]
    badge = next((one.text for one in blocks if isinstance(one, Badge)), "")
    if not panels:
        return Content.assemble((f"{shown(result.headline)} ", "bold"), (badge, FAINT))
    places = [int(one.select[0].get("token") or 0) if one.select else 0 for one in panels]
    masks = sorted(set(places))
    place = min(masks, key=lambda position: abs(position - where.token))
    found = panels[places.index(place)]
    number = percent if found.unit == "%" else significant
    which = f"mask {masks.index(place) + 1} of {len(masks)}, " if len(masks) > 1 else ""
    parts: list[str | tuple[str, str]] = [(f"    {which}token {place}  {badge}", FAINT)]
    name = max(6, min(18, width - 22))
    bars = max(0, min(MOST, width - name - 28))
    for rank, (label, value) in enumerate(zip(found.labels, found.values, strict=True)):
        other = found.theirs[rank] if found.theirs else None
        parts += [
            (f"\n {rank + 1}  ", FAINT),
            (clip(label, name, pad=True), "bold" if rank in found.strong else ""),
            f" {number(value):>7} ",
            (
                clip(bar(min(1.0, abs(value) / (found.high or 1.0)), bars), bars, pad=True),
                "$success",
            ),
            "" if other is None else f"{number(other):>7}",
            (f"  {found.theirs_name}" if found.theirs and rank == 0 else "", FAINT),
        ]
    return Content.assemble(*parts)


def tabs(where: State, width: int) -> Content:
    """The panes, the first nine by number; the one shown stands out. Others go where room ends."""
    names = pane_names()
    is_wide = sum(len(name) + 4 for name in names) < width
    items = [
        (f" {n} " if n <= 9 else " ", name if is_wide or name == where.pane else name[:4], name)
        for n, name in enumerate(names, start=1)
    ]
    while len(items) > 1 and sum(len(number + text) + 1 for number, text, _ in items) >= width:
        items.pop(0 if items[-1][2] == where.pane else -1)
    parts: list[tuple[str, str]] = [(" ", "")]
    for number, text, name in items:
        here = CHOSEN if name == where.pane else ""
        parts += [(number, here or FAINT), (f"{text} ", here)]
    return Content.assemble(*parts)


def place(reading: Reading, where: State) -> Content:
    """Layer, head and token, what the layer sees, and what is switched."""
    session, bounds = reading.session, reading.bounds
    config = session.explorer.model.config
    kind, reach = bounds.kinds[where.layer], config.half_window(where.layer)
    sees = "sees every token" if reach is None else f"sees {reach} each side"
    theta = f"\N{GREEK SMALL LETTER THETA} {config.theta(where.layer):,.0f}"
    name = clip(word(session.encoding.tokens[where.token]), 14)
    switched = [
        *([f"zoom {where.zoom}/{bounds.zooms}"] if where.zoom else []),
        *["words"] * where.words,
        *["no special tokens"] * (not where.specials),
    ]
    return Content.assemble(
        (f" layer {where.layer} {kind} ", f"bold {HUES[kind]}"),
        (f" head {where.head}  token {where.token} ", "bold"),
        (f"{name}  {'  '.join(switched)}  {sees}, {theta}", FAINT),
    )
