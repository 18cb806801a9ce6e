"""What `ablate` shows of every head ablated alone: a map, and the most influential heads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Selection, Table
from mbexplore.display.numbers import decimals, fixed, percent, significant
from mbexplore.text import word
from mbexplore.views.shared import head_names, layer_hues, layer_names, logit_name

if TYPE_CHECKING:
    from mbexplore.analysis.ablate import HeadAblation
    from mbexplore.session import Session

STRONGEST = 10
"""Heads in the table of the most influential ones."""


def head_blocks(found: HeadAblation, session: Session, *, has_headline: bool) -> Iterator[Block]:
    """The map and the table, under a headline where nothing else has one."""
    answer, clean = word(found.target.token), found.clean
    logit = logit_name(found.target, found.contrast)
    strongest = found.strongest(STRONGEST)
    first = strongest[0]
    if has_headline:
        left = clean.probability + float(found.probability[first])
        yield Headline(
            f"{answer} rests most on head {first[0]}.{first[1]}: without it the {logit} "
            f"changes by {significant(float(found.logit[first]), signed=True)}, its probability "
            f"from {percent(clean.probability)} to {percent(left)}."
        )
    most = float(abs(found.logit).max()) or 1.0
    yield _head_map(found, session, most)
    kinds = session.explorer.model.config.layer_kinds
    places = decimals(most, 3)
    rows = tuple(
        (
            Cell(f"{layer}.{head}", select=_selection(layer, head)),
            Cell(kinds[layer], hue=kinds[layer]),
            Cell(
                change := float(found.logit[layer, head]), fixed(change, places, signed=True),
                bar=change / most, hue="signed",
            ),
            Cell(p := float(found.probability[layer, head]), _gain(p)),
            Cell(rank := int(found.rank[layer, head]), f"{rank:,}"),
        )
        for layer, head in strongest
    )  # fmt: skip
    columns = ("head", "kind", "change of logit", "of p", "rank")
    yield Table(columns, rows, title="Most influential heads", left=("head", "kind"))


def _gain(change: float) -> str:
    return "+" * (change > 0) + percent(change)


def _selection(layer: int | str, head: int | str) -> Selection:
    return {"layer": layer, "head": head, "parts": f"{layer}.{head}", "all_heads": True}


def _head_map(found: HeadAblation, session: Session, most: float) -> Heat:
    places = decimals(most)

    def text(layer: int, head: int) -> str:
        change = float(found.logit[layer, head])
        moves = bool(found.rank[layer, head] != found.clean.rank)
        shows = moves or abs(change) > most / 4
        return (fixed(change, places, signed=True) + "\N{BULLET}" * moves) if shows else ""

    layers, heads = found.logit.shape
    more = _selection("{row}", "{column}")
    return Heat(
        found.logit,
        layer_names(session),
        head_names(session),
        title=f"Change of the {logit_name(found.target, found.contrast)} without each head",
        column_axis="head",
        hue="signed",
        unit="logits",
        texts=tuple(tuple(text(i, j) for j in range(heads)) for i in range(layers)),
        select=("layer", "head"),
        select_more={name: more[name] for name in ("parts", "all_heads")},
        row_hues=layer_hues(session),
        upward=True,
    )
