"""What stands above the panes: the title, the tokens and the predictions. Pure drawing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len

from mbexplore.explore.lines import NONE, Line, clip, fill, pad, say, width_of, wrap
from mbexplore.explore.look import Look
from mbexplore.explore.panes import pane_names
from mbexplore.explore.state import Bounds, State
from mbexplore.text import bar, shown, word

if TYPE_CHECKING:
    from mbexplore.explore.runner import Run
    from mbexplore.explorer import MaskPredictions, ModelInfo

TOKEN_LINES = 2
RANKS = 5
SPACE = "\N{MIDDLE DOT}"


@dataclass(frozen=True)
class Activity:
    """What is being done now: how far it is, of how much."""

    what: str
    done: int = 0
    of: int = 0


def title_line(
    info: ModelInfo | None, name: str, activity: Activity | None, look: Look, width: int
) -> Line:
    """The model to the left, what is being done to the right."""
    left: Line = [say(" mbexplore ", look.strong)]
    if info is None:
        left.append(say(f" {shown(name)}", look.faint))
    else:
        about = f"{info.parameters / 1e6:,.1f} M parameters, {info.dtype} on {info.device}"
        left += [say(f" {shown(info.name)} "), say(f" {about}", look.faint)]
    right = activity_bar(activity, look)
    room = width - width_of(right) - 1
    return [*fill(left, max(0, room)), *right, say(" ")]


def activity_bar(activity: Activity | None, look: Look, cells: int = 12) -> Line:
    """A progress bar with its name."""
    if activity is None:
        return []
    share = activity.done / activity.of if activity.of else 0.0
    full = round(share * cells)
    return [
        say(f"{activity.what} ", look.faint),
        say("\N{BOX DRAWINGS HEAVY HORIZONTAL}" * full, look.bar),
        say("\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (cells - full), look.rule),
    ]


@dataclass(frozen=True)
class Cell:
    """One token or word in the line of tokens: its first token, and what is written for it."""

    start: int
    lead: str
    text: str


def token_lines(run: Run, state: State, look: Look, width: int, height: int) -> list[Line]:
    """The text as tokens, the lines around the chosen one."""
    layout = laid_out(run, state, width)
    top = top_of(layout, state.token, height)
    masks, specials = set(run.encoding.mask_positions), run.bounds.specials
    lines = []
    rows = layout[top : top + height]
    chosen = max((c.start for row in rows for c in row if c.start <= state.token), default=-1)
    for row in rows:
        line: Line = [say(" ")]
        for cell in row:
            style = look.faint if cell.start in specials else NONE
            style = look.mask if cell.start in masks else style
            style = look.chosen if cell.start == chosen else style
            line += [say(cell.lead), say(cell.text, style)]
        lines.append(line)
    return lines


def top_of(layout: list[list[Cell]], token: int, height: int) -> int:
    """The first of `height` lines to show, with the token's line in the middle of them."""
    held = max((n for n, row in enumerate(layout) if row[0].start <= token), default=0)
    return min(max(0, held - height // 2), max(0, len(layout) - height))


def laid_out(run: Run, state: State, width: int) -> list[list[Cell]]:
    """The text's tokens in lines of at most `width` cells; kept, since a long text has many."""
    key = ("tokens", state.words, state.specials, width)
    return run.session.once(key, lambda: _lay_out(run, state, max(4, width - 2)))


def _lay_out(run: Run, state: State, width: int) -> list[list[Cell]]:
    tokens, masks, bounds = run.encoding.tokens, set(run.encoding.mask_positions), run.bounds
    spans = bounds.words if state.words else tuple((i, i + 1) for i in range(bounds.tokens))
    rows: list[list[Cell]] = [[]]
    room, after_special = width, False
    for start, stop in spans:
        special = start in bounds.specials
        if special and not state.specials:
            continue
        text = "".join(tokens[start:stop])
        # A special token has taken the space before it into itself.
        apart = text.startswith(" ") or special or start in masks or after_special
        lead, after_special = " " if rows[-1] and apart else "", special
        text = clip(shown(text.removeprefix(" ")) or SPACE, width)
        cells = cell_len(lead) + cell_len(text)
        if cells > room and rows[-1]:
            rows.append([])
            room, lead, cells = width, "", cell_len(text)
        rows[-1].append(Cell(start, lead, text))
        room -= cells
    return rows


def prediction_lines(
    run: Run | None, why: str, state: State, look: Look, width: int, waits: bool
) -> list[Line]:
    """A table of the likeliest tokens, ours beside Hugging Face's, or why there is none.

    Args:
        run: the text; None before the first.
        why: a sentence that takes the table's place.
        state: where one is: of several masks the nearest is shown.
        look: colours.
        width: cells.
        waits: whether Hugging Face's column is still to come.
    """
    why = why or (run.why if run is not None else "")
    if why or run is None or run.answer is None:
        style = look.error if run is None or not run.why else look.faint
        words = [say(f"{each} ", style) for each in shown(why).split()]
        return [[], *([say(" "), *line] for line in wrap(words, max(10, width - 2)))]
    masks = run.answer.masks
    n = min(range(len(masks)), key=lambda i: (abs(masks[i].position - state.token), i))
    theirs = run.comparison.masks[n] if run.comparison is not None else None
    column = min(56, (width - 4) // 2 if state.hf else width - 4)
    where = f"mask {n + 1} of {len(masks)}, " if len(masks) > 1 else ""
    ours_title = f"mbexplore  {where}token {masks[n].position}"
    lines: list[Line] = [[say("    "), say(pad(ours_title, column), look.faint)]]
    if state.hf:
        lines[0].append(say(clip(_hf_title(run, waits), column), look.faint))
    for rank in range(min(RANKS, len(masks[n].predictions))):
        line: Line = [say(f" {rank + 1}  ", look.faint), *_row(masks[n], rank, look, column)]
        if state.hf and theirs is not None:
            line += _row(theirs, rank, look, column)
        elif state.hf and waits:
            line.append(say("\N{HORIZONTAL ELLIPSIS}", look.rule))
        lines.append(line)
    return lines


def _hf_title(run: Run, waits: bool) -> str:
    found = run.comparison
    if found is None:
        return "Hugging Face is loading" if waits else "Hugging Face: enter runs it"
    order = "same order" if found.same_top_k else "another order"
    return f"Hugging Face  {order}, within {found.max_abs_logit_difference:.0e}"


def _row(mask: MaskPredictions, rank: int, look: Look, width: int) -> Line:
    """A token, its probability and a bar."""
    found = mask.predictions[rank]
    name = max(6, min(18, width - 10))
    bars = max(0, min(24, width - name - 9))
    return [
        say(pad(word(found.token), name), look.strong if rank == 0 else NONE),
        say(f"{found.probability:6.1%} "),
        say(pad(bar(found.probability, bars), bars), look.bar),
        say(" " * (width - name - 7 - bars)),
    ]


def tab_line(state: State, look: Look, width: int) -> Line:
    """The panes, the first nine by number; the one shown stands out."""
    names = pane_names()
    room = sum(len(name) + 4 for name in names) + 1
    line: Line = [say(" ")]
    for n, name in enumerate(names, start=1):
        here = name == state.pane
        text = name if room <= width or here else name[:4]
        number = f" {n} " if n <= 9 else " "
        line += [
            say(number, look.chosen if here else look.faint),
            say(f"{text} ", look.chosen if here else NONE),
        ]
    return fill(line, width)


def place_line(
    run: Run | None, state: State, bounds: Bounds, look: Look, width: int, remark: str
) -> Line:
    """Layer, kind, head and token; to the right what the pane has to remark."""
    if run is None:
        return []
    config = run.explorer.model.config
    kind, reach = bounds.kinds[state.layer], config.half_window(state.layer)
    sees = "sees every token" if reach is None else f"sees {reach} each side"
    about = f" {sees}, \N{GREEK SMALL LETTER THETA} {config.theta(state.layer):,.0f} "
    line: Line = [say(f" layer {state.layer} {kind} ", look.hue(kind) + look.strong)]
    line += [say(f" head {state.head} ", look.strong)]
    if bounds.tokens:
        name = clip(word(run.encoding.tokens[state.token]), 14)
        line += [say(f" token {state.token} ", look.strong), say(f"{name} ", look.faint)]
    if state.zoom:
        line.append(say(f" zoom {state.zoom}/{bounds.zooms} ", look.faint))
    switched = [*["words"] * state.words, *["no special tokens"] * (not state.specials)]
    line += [say(f" {each} ", look.faint) for each in switched]
    room = width - width_of(line) - 2
    if cell_len(about) + cell_len(remark) <= room:  # the pane's remark goes first
        line.insert(1, say(about, look.faint))
        room -= cell_len(about)
    if room >= 8 and remark:
        line.append(say(pad(clip(remark, room), room, right=True), look.faint))
    return line
