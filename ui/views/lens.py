"""Lens: what the model would answer if it stopped after each layer."""

from __future__ import annotations

from typing import Literal

from mbexplore.analysis.lens import NOT_SHOWN, Lens, LensMap, lens, lens_map
from mbexplore.views.lens import view_lens, view_lens_map

from ..parts import cell, line, lines, note, side_by_side, table
from ..protocol import PageView, Part, Shown
from ..sessions import Desk
from ..text import label
from .common import (
    asked_position,
    depth_heat,
    held_or_first,
    per_cent,
    state_names,
    token_names,
    window,
)

Scope = Literal["every token", "held token"]
Colour = Literal["rank", "entropy", "kl"]
UNITS = {"rank": "rank of the final answer", "entropy": "nats", "kl": "nats from the end"}
MOST_TOKENS = 120
"""Columns of the map that are drawn large."""
TOP = 3


def show(
    desk: Desk,
    token: int = -1,
    scope: Scope = "every token",
    colour: Colour = "rank",
    answer: str = "",
    first: int = -1,
) -> Shown:
    """The logit lens: every layer at every token, and the held token's answer on its way up.

    Args:
        desk: the text and the model.
        token: the one whose trail is shown.
        scope: the map of all tokens, or the held one's words layer by layer.
        colour: what colours the map.
        answer: the token followed in the trail; the model's own answer by default.
        first: of a long text's tokens, the first in the map; by default the held one is inside.
    """
    asked = asked_position(desk, token, masks_only=False)
    wanted = answer.strip() or None
    found = desk.once(
        ("lens", asked, wanted),
        lambda: lens(desk.explorer, desk.recording, asked, answer=wanted, top_k=TOP),
    )
    if scope == "held token" or asked is None:  # no map of tokens where none has an answer
        parts = [_words(desk, found), _trails(desk, found), note(NOT_SHOWN)]
        return Shown(parts, view_lens(desk.explorer, desk.encoding, found, wanted), _line(found))
    place = held_or_first(desk, token)
    whole = desk.once(
        "lens map", lambda: lens_map(desk.explorer, desk.recording, progress=desk.progress.move)
    )
    view = view_lens_map(desk.explorer, desk.encoding, whole, colour)
    seen = window(first, place, len(whole.tokens), MOST_TOKENS)
    parts = [_map(desk, whole, colour, place, seen), _trails(desk, found), note(NOT_SHOWN)]
    return Shown(parts, view, _line(found))


def _line(found: Lens) -> str:
    answer, place = label(found.target.token), found.target.place
    if found.settled is None:
        return f"{answer} is not first {place} in the end."
    where = "the embeddings" if found.settled == 0 else f"layer {found.settled - 1}"
    return f"{answer} is first {place} from {where} on, and stays first."


def _map(desk: Desk, whole: LensMap, colour: Colour, place: int, seen: slice) -> Part:
    """Layers by positions; the word in a cell is what would be answered there."""
    config = desk.explorer.model.config
    return depth_heat(
        config,
        getattr(whole, colour),
        columns=token_names(whole.tokens),
        title="What each layer would answer at every token",
        hue="global",
        log=colour == "rank",
        unit=UNITS[colour],
        texts=[[label(top) for top in tops] for tops in whole.top],
        hold=("layer", "token"),
        mark=(None, place),
        window=seen,
    )


def _trails(desk: Desk, found: Lens) -> Part:
    names = state_names(desk.explorer.model.config)
    answer = label(found.target.token)
    settled = {} if found.settled is None else {"first from here": float(found.settled)}
    rank = lines(
        [line(answer, [float(row.rank) for row in found.rows], dots=True)],
        title=f"Rank of {answer} {found.target.place}",
        y="rank",
        log_y=True,
        ticks=names,
        marks=settled,
    )
    nats = lines(
        [
            line("KL to the end", [row.kl for row in found.rows]),
            line("entropy", [row.entropy for row in found.rows], dashed=True),
        ],
        title="How far from the end, and how unsure",
        y="nats",
        ticks=names,
    )
    return side_by_side(rank, nats)


def _words(desk: Desk, found: Lens) -> Part:
    """The likeliest tokens after each layer."""
    names = state_names(desk.explorer.model.config)
    rows: list[list[Part | str]] = []
    for row in found.rows:
        words = [
            cell(f"{label(p.token)} {p.probability:.0%}", bar=p.probability, hue="global")
            for p in row.predictions
        ]
        rows.append([names[row.state], *words, f"{row.rank:,}", per_cent(row.probability)])
    places = [f"{n + 1}." for n in range(TOP)]
    columns = ["after", *places, f"rank of {label(found.target.token)}", "its probability"]
    return table(columns, rows, title="What each layer would answer", left=("after", *places))


LENS = PageView(
    name="lens",
    title="Lens",
    show=show,
    about="What the model would answer if it stopped after each layer.",
    of_token=("token", "scope", "colour"),
    labels={"scope": "show", "colour": "colour", "answer": "follow"},
    hints={"answer": "the model's answer"},
    only={"colour": {"scope": ("every token",)}},
    quick={"scope": "held token"},
)
