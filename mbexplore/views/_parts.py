"""Parts of a model as people name them, for every view that switches some off."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Lines, Series
from mbexplore.display.numbers import percent
from mbexplore.errors import UsageError
from mbexplore.text import said
from mbexplore.views.parameters import option
from mbexplore.views.shared import answer_bars, state_names

if TYPE_CHECKING:
    from mbexplore.analysis.ablate import Part, Replacement
    from mbexplore.analysis.without import Without
    from mbexplore.session import Session


def parts_option(help: str = "") -> Any:
    """The parameter `parts`, spelled alike in every view."""
    return option(help, default=(), flag="--part", label="ablated")


def blocked_option() -> Any:
    """The parameter `blocked`, spelled alike in every view."""
    return option(default=(), flag="--block", label="blocked tokens")


def read_parts(
    session: Session,
    parts: Sequence[str],
    blocked: Sequence[str] = (),
    distance: int | None = None,
) -> list[Part]:
    """What to ablate.

    Args:
        session: the text, for tokens that are named by a word.
        parts: "3.1" for a head, "3.attention" or "3.mlp".
        blocked: tokens that no other can attend to.
        distance: the longest over which tokens attend.

    Raises:
        UsageError: a name is none of a part.
        RangeError: there is no such token.
    """
    from mbexplore.analysis.ablate import BlockedDistance, BlockedTokens

    found = [_read_part(name) for name in parts]
    places = [session.focus(name) for name in blocked]
    found += [BlockedTokens(tuple(places))] if places else []
    return found + ([] if distance is None else [BlockedDistance(distance)])


def without_of(
    session: Session,
    parts: tuple[str, ...],
    blocked: tuple[str, ...] = (),
    replacement: Replacement = "zero",
) -> Without | None:
    """The text without these parts of the model, run once for every view; None for no parts.

    Raises:
        UsageError: a name is none of a part.
        RangeError: a part lies outside the model or the text.
    """
    from mbexplore.analysis.without import run_without

    named = read_parts(session, parts, blocked)
    if not named:
        return None
    clean = session.recording("attention", "hidden_states")
    return session.once(
        ("without", parts, blocked, replacement),
        lambda: run_without(
            session.explorer, clean, named, replacement=replacement, progress=session.progress
        ),
    )


def _read_part(name: str) -> Part:
    from mbexplore.analysis import ablate

    match = re.fullmatch(r"(\d+)\.(\d+|attention|mlp)", name)
    if match is None:
        raise UsageError(f"{name!r} is no part; write 3.1 for a head, 3.attention or 3.mlp.")
    layer, what = int(match[1]), match[2]
    if what.isdecimal():
        return ablate.Head(layer, int(what))
    return ablate.Block(layer, "mlp" if what == "mlp" else "attention")


def describe_without(found: Without) -> str:
    """What the answer becomes without the parts, in a sentence."""
    parts = found.parts[0] if len(found.parts) == 1 else f"{len(found.parts)} parts"
    if found.before is None or found.after is None:
        return f"Maps without {parts}."
    first, last = found.before.rows[-1], found.after.rows[-1]
    answer, top = said(found.before.target.token), last.predictions[0]
    change = f"{percent(first.probability)} to {percent(last.probability)}"
    if top.token_id == found.before.target.token_id:
        return f"Without {parts} {answer} goes from {change} and stays at rank 1."
    return (
        f"Without {parts} {answer} goes from {change}, rank {last.rank:,}; the answer is "
        f"{said(top.token)} ({percent(top.probability)})."
    )


def without_blocks(found: Without, session: Session) -> Iterator[Block]:
    """The answers with every part and without, and the answer's rank after each layer."""
    if found.before is None or found.after is None:
        return
    target, ends = found.before.target, (found.before.rows[-1], found.after.rows[-1])
    high = max(one.probability for end in ends for one in end.predictions)
    for name, end in zip(("With every part", "Without them"), ends, strict=True):
        yield answer_bars(end.predictions, name, high, target.token_id)
    yield rank_curves(found, session)


def rank_curves(found: Without, session: Session) -> Lines:
    """The answer's rank after each layer, with every part and without."""
    assert found.before is not None and found.after is not None
    both = (("with every part", found.before), ("without them", found.after))
    curves = tuple(
        Series(name, tuple(float(row.rank) for row in one.rows), dashed=not i, dots=bool(i))
        for i, (name, one) in enumerate(both)
    )
    target = found.before.target
    title = f"Rank of {said(target.token)} {target.place}"
    return Lines(curves, title, y="rank", log_y=True, ticks=state_names(session), y_down=True)
