"""Where in the model the difference between two texts becomes the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Row, Selection, Table
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import MissingError
from mbexplore.limits import PATCH
from mbexplore.text import said, said_at, state_name, word
from mbexplore.views.shared import LISTED, first_difference, head_names, layer_heat, pair_names
from mbexplore.views.view import FRANCE, ITALY, Guide, Token, View, cited, option

if TYPE_CHECKING:
    from mbexplore.analysis.patch import Patching
    from mbexplore.session import Session

COMPONENTS = {
    "residual": "residual stream",
    "attention": "attention output",
    "mlp": "MLP output",
    "heads": "heads",
}


class PatchView(View["Patching"]):
    """Activation patching: how much of this text's answer each place brings back in another."""

    name = "patch"
    title = "Patching"
    question = "Where does the difference between two texts become the answer?"
    guide = Guide(
        "How much of the first text's answer comes back when one place in the run on the second"
        " text gets the values of the first.",
        "1 is the whole answer back and 0 none of it; follow the strong cells upwards to see "
        "which token carries the answer at which layer.",
        "Compare with Italy in place of France.",
        values={"other": ITALY},
        texts=(FRANCE,),
    )
    evidence = "causal"
    tested = "on a model in which the way of the copied token is known"
    group = "Which part"
    place = 2
    papers = cited("meng2022locating", "zhang2024towards")
    limits = PATCH
    explains_answer = True
    example = '"The capital of France is [MASK]." "The capital of Italy is [MASK]."'

    other: str = option(
        "The corrupted text: as many tokens, another answer.", positional=True, label="second text"
    )
    token: Token = None
    answer: str | None = option(
        "The answer to the first text; by default the model's own.", default=None
    )
    other_answer: str | None = option(
        "The answer to the second text; by default the model's own.",
        default=None,
        label="second text's answer",
    )

    def compute(self, session: Session) -> Patching:
        """Runs the second text once for each place, with the first text's value there."""
        from mbexplore.analysis.patch import patch

        if not self.other.strip():
            raise MissingError(
                f"Patching compares two texts; add one of {len(session.encoding):,} tokens that "
                "gets another answer, such as this one with another name in it."
            )
        return patch(
            session.explorer, session.encoding, session.beside(self.other).encoding,
            session.token(self.token), answer=self.answer, contrast=self.other_answer,
            progress=session.progress,
        )  # fmt: skip

    def blocks(self, found: Patching, session: Session) -> Iterator[Block]:
        """The strongest places, then every place."""
        yield Headline(_handover(found))
        yield _strongest(found)
        names = pair_names(*found.aligned_tokens)
        differs = first_difference(*found.aligned_tokens) if found.alignment.is_whole else None
        most = max(1.0, *(float(abs(getattr(found, name)).max()) for name in COMPONENTS))

        def heat(component: str) -> Heat:
            by_head, name = component == "heads", COMPONENTS[component]
            axis: dict[str, Any] = {"axis": "head"}
            if not by_head:
                axis = {"axis": "token", "column_values": found.alignment.first,
                        "mark": None if differs is None else (None, differs)}  # fmt: skip
            return layer_heat(
                getattr(found, component), head_names(session) if by_head else names, session,
                title=name[0].upper() + name[1:] + " at all tokens" * by_head, hue="signed",
                low=-most, high=most, unit="share restored", **axis,
            )  # fmt: skip

        yield Row((heat("residual"), heat("heads")))
        yield Row((heat("attention"), heat("mlp")))
        yield Note(
            "Share restored: 0 is the second text's logit difference, 1 this text's. "
            f"{_compared(found)} {self.limits}"
        )

    def table(self, found: Patching, session: Session) -> Table:
        """A row for each place."""
        tokens = found.clean_tokens
        columns = ("component", "state", "layer", "head", "position", "token", "restored")
        return Table(columns, tuple(
            (COMPONENTS[one.what], one.state, one.layer, one.head, one.position,
             None if one.position is None else tokens[one.position], one.restored)
            for one in found.cells()
        ))  # fmt: skip


def _compared(found: Patching) -> str:
    """Which tokens are patched, and which is outlined."""
    if found.alignment.is_whole:
        return "The first token that differs is outlined."
    texts = (
        (found.clean_tokens, found.alignment.first, "this text"),
        (found.corrupted_tokens, found.alignment.second, "the second text"),
    )
    alone = [
        f"{_span(tokens, rest)} in {name}"
        for tokens, kept, name in texts
        if (rest := sorted(set(range(len(tokens))) - set(kept)))
    ]
    return (
        "The texts differ in length; only their common beginning and end are patched. Without a "
        f"counterpart: {'; '.join(alone)}."
    )


def _span(tokens: Sequence[str], places: list[int]) -> str:
    """Neighbouring tokens by name, the first and last of many."""
    names = [said_at(tokens, i) for i in places]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} to {names[-1]}"


def _answers(found: Patching) -> str:
    return f"{said(found.target.token)} and {said(found.contrast.token)}"


def _handover(found: Patching) -> str:
    """Where the residual stream holds the difference, in a sentence."""
    place = found.target.position
    if place is None:
        return _difference(found)
    names = pair_names(*found.aligned_tokens)
    column = found.alignment.first.index(place)
    below = [state for state, share in enumerate(found.residual[:, column]) if share < 0.5]
    first = below[-1] + 1 if below else 0
    if first == len(found.residual):
        return f"{names[column]} holds less than half of the difference between {_answers(found)}."
    sentence = (
        f"{names[column]} ({place}) holds the difference between {_answers(found)} "
        f"{'from ' + state_name(first) + ' on' if first else 'at every layer'}"
    )
    before = found.residual[first - 1]
    source = int(before.argmax())
    if first == 0 or before[source] < 0.5:
        return f"{sentence}."
    until = f"({found.alignment.first[source]}) up to {state_name(first - 1)}"
    return f"{sentence}, {names[source]} {until}."


def _difference(found: Patching) -> str:
    clean, corrupted = (
        significant(each, signed=True)
        for each in (found.clean_difference, found.corrupted_difference)
    )
    answer, other = said(found.target.token), said(found.contrast.token)
    return f"Logit of {answer} less {other}: {clean} on this text, {corrupted} on the second."


def _strongest(found: Patching) -> Table:
    """The places of each component that restore most."""
    import numpy as np

    rows = []
    for component, name in COMPONENTS.items():
        values = getattr(found, component)
        # Rounded, so that what is equal but for the last bits stays in the order of the layers.
        order = np.argsort(-values.round(4), axis=None, kind="stable")[: LISTED // 2]
        places = zip(*np.unravel_index(order, values.shape), strict=True)
        for n, (row, column) in enumerate((int(r), int(c)) for r, c in places):
            share, layer = float(values[row, column]), row - (component == "residual")
            select: Selection = {"layer": layer, "head": column}
            where, token = f"{row}.{column}", ""
            if component != "heads":
                column = found.alignment.first[column]
                select = {"token": column} | ({"layer": layer} if layer >= 0 else {})
                where = state_name(layer + 1)
                token = f"{word(found.clean_tokens[column])} {column}"
            rows.append(
                (
                    name if n == 0 else "",
                    Cell(where, select=select),
                    token,
                    Cell(share, percent(share, 0), bar=max(-1.0, min(share, 1.0)), hue="signed"),
                )
            )
    columns = ("patched", "where", "token", "restored")
    return Table(columns, tuple(rows), title=_difference(found), left=columns[:3])
