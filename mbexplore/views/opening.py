"""Where a front end opens: at the head that an answer needs most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mbexplore.display.numbers import significant
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.text import said, word

if TYPE_CHECKING:
    from mbexplore.session import Session


def opening(session: Session) -> dict[str, Any]:
    """Layer and head, and how they were chosen; {} where the text has no answer, or is too long.

    Raises:
        Stopped: the work isn't wanted any more.
    """
    from mbexplore.analysis.focus import LONGEST, find_head

    encoding = session.encoding
    if len(encoding) > LONGEST:
        return {}
    try:
        found = session.once(
            "head focus",
            lambda: find_head(session.explorer, encoding, progress=session.progress),
        )
    except (ModelError, RangeError, TextError):  # the view itself says why
        return {}
    if found.change == 0:
        return {}
    is_pruned = found.measured < found.heads
    among = f" of the {found.measured} heads with the largest attribution" if is_pruned else ""
    change = significant(found.change, 2, signed=True)
    place = found.target.position
    where = "" if place is None else f" at {word(encoding.tokens[place])} {place}"
    line = (
        f"Without head {found.layer}.{found.head}{where} the logit of "
        f"{said(found.target.token)} changes most{among}: by {change}."
    )
    return {"layer": found.layer, "head": found.head, "line": line}
