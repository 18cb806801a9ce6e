"""How alike the tokens are after a layer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Lines, Note, Series, Table
from mbexplore.views.shared import LISTED, listing, pair_rows, state_names, token_heat, token_names
from mbexplore.views.view import Guide, Layer, Token, View, cited

if TYPE_CHECKING:
    from mbexplore.analysis.similarity import TokenSimilarity
    from mbexplore.session import Session


class CosineView(View["TokenSimilarity"]):
    """Cosine similarity of the residual stream of every two tokens after a layer.

    The tokens nearest to one of them, all pairs, and the mean of all pairs after each layer.
    """

    name = "cosine"
    title = "Cosine"
    question = "Which tokens are alike after a layer?"
    guide = Guide(
        "How alike any two tokens are after a layer, from \N{MINUS SIGN}1 to 1.",
        "Compare a pair with the mean of all pairs, since tokens of one text are alike anyway.",
        "Go back to the first layer.",
        values={"layer": 0},
    )
    evidence = "correlational"
    tested = "against numpy, pair by pair"
    group = "When"
    place = 3
    papers = cited("ethayarajh2019contextual")
    limits = (
        "A few dimensions with very large values can decide a cosine alone, and all tokens may "
        "share a direction: compare a pair with the mean of all pairs."
    )

    layer: Layer = -1
    token: Token = None

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
        names = token_names(found.tokens)
        yield Headline(
            f"After layer {found.layer} {names[place]} ({place}) is most like {names[near]} "
            f"({near}), cosine {values[place, near]:.2f}; the mean of all pairs is {mean:.2f}."
        )
        columns: dict[str, Any] = {
            "position": lambda i: Cell(i, select={"token": i}),
            "token": lambda i: found.tokens[i],
            "cosine": lambda i: Cell(c := float(values[place, i]), bar=c, hue="signed"),
        }
        title = f"Nearest to {names[place]} ({place})"
        yield listing(order[:LISTED], columns, title, tokens=("token",))
        yield token_heat(
            values, names, place, "Cosine of every two tokens", hue="signed", low=-1.0, high=1.0,
            unit="cosine", row_axis="token", column_axis="token", select=("token", "token"),
        )  # fmt: skip
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
        return pair_rows(found.tokens, cosine=found.cosine)
