"""How alike the tokens are after a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Series, Table
from mbexplore.text import word
from mbexplore.views.papers import ANISOTROPY
from mbexplore.views.parameters import Layer, Token
from mbexplore.views.shared import named_part, part_around, state_names, token_names
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from mbexplore.analysis.similarity import TokenSimilarity
    from mbexplore.session import Session

NEAREST = 10
"""Tokens in the table."""


class CosineView(View["TokenSimilarity"]):
    """Cosine similarity of the residual stream of every two tokens after a layer."""

    name = "cosine"
    title = "Cosine"
    question = "Which tokens are alike after a layer?"
    group = "When"
    papers = (ANISOTROPY,)
    limits = (
        "A few dimensions with very large values can decide a cosine alone, and all tokens may "
        "share a direction: compare a pair with the mean of all pairs."
    )

    layer: Layer = option("After which layer, from 0; by default the last.", default=-1, short="-l")
    token: Token = option(
        "The token looked at, by position or word; by default the first mask.", default=None
    )

    def compute(self, session: Session) -> TokenSimilarity:
        """One pass, then a product of matrices."""
        from mbexplore.analysis.similarity import KEEP, token_similarity
        from mbexplore.session import check_layer

        layer = check_layer(session.explorer, self.layer)
        return session.once(
            ("token_similarity", layer), lambda: token_similarity(session.recording(*KEEP), layer)
        )

    def blocks(self, found: TokenSimilarity, session: Session) -> Iterator[Block]:
        """The nearest of one token, then all pairs."""
        place, values = session.focus(self.token), found.cosine
        order = [int(i) for i in (-values[place]).argsort(kind="stable") if i != place]
        mean, near = found.mean[found.layer + 1], order[0]
        name = word(found.tokens[place])
        yield Headline(
            f"After layer {found.layer} {name} ({place}) is most like {word(found.tokens[near])} "
            f"({near}), cosine {values[place, near]:.2f}; the mean of all pairs is "
            f"{mean:.2f}."
        )
        rows = tuple(
            (
                Cell(i, select={"token": i}),
                Cell(found.tokens[i], word(found.tokens[i])),
                Cell(cosine := float(values[place, i]), f"{cosine:.3f}", bar=cosine, hue="signed"),
            )
            for i in order[:NEAREST]
        )
        columns = ("position", "token", "cosine")
        yield Table(columns, rows, title=f"Nearest to {name} ({place})", left=("token",))
        seen = part_around(place, len(found.tokens))
        inside = slice(seen.start, seen.stop)
        names = token_names(found.tokens)[inside]
        yield Heat(
            values[inside, inside],
            names,
            names,
            title=f"Cosine of every two tokens{named_part(seen, len(found.tokens))}",
            row_axis="token",
            column_axis="token",
            hue="signed",
            low=-1.0,
            high=1.0,
            unit="cosine",
            select=("token", "token"),
            row_values=tuple(seen),
            column_values=tuple(seen),
            mark=(place - seen.start, None),
        )
        yield Lines(
            (Series("mean", tuple(map(float, found.mean)), dots=True),),
            "Mean cosine of all pairs after each layer",
            y="cosine",
            ticks=state_names(session),
            marks={f"layer {found.layer}": found.layer + 1.0},
        )
        yield Note(self.limits)

    def table(self, found: TokenSimilarity, session: Session) -> Table:
        """A row for each pair."""
        columns = ("first", "first_token", "second", "second_token", "cosine")
        return Table(columns, tuple(
            (i, a, j, b, float(found.cosine[i, j]))
            for i, a in enumerate(found.tokens)
            for j, b in enumerate(found.tokens)
            if i < j
        ))  # fmt: skip
