"""How much each token contributes to each other one in a layer, by four methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Row, Table
from mbexplore.limits import CONTEXT_MIXING
from mbexplore.text import word
from mbexplore.views.shared import LISTED, pair_rows, token_heat, token_names
from mbexplore.views.view import Guide, Layer, Token, View, cited

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mbexplore.analysis.context_mixing import ContextMixing
    from mbexplore.session import Session

METHODS = {
    "attention": "attention",
    "norms": "norms",
    "rollout": "rollout",
    "value_zeroing": "value zeroing",
}
LEAST = 0.01
"""Share of the lightest colour."""


class MixView(View["ContextMixing"]):
    """Context mixing: what each token takes from each other one, by four methods."""

    name = "mix"
    title = "Context mixing"
    question = "How much of each token goes into each other one?"
    guide = Guide(
        "How much each token takes from each other one in a layer, by four methods.",
        "Each row of a map is one token and adds up to 100%; where the four agree, the picture "
        "depends little on the method.",
        "Look at layer 6, in which every token attends to the whole text.",
        values={"layer": 6},
    )
    evidence = "correlational"
    tested = "against direct products, and the definition run token by token"
    papers = cited("kobayashi2020attention", "abnar2020quantifying", "mohebbi2023quantifying")
    place = 4
    group = "From where"
    limits = CONTEXT_MIXING
    example = '"The capital of France is [MASK]." --layer 6'

    layer: Layer = -1
    token: Token = None

    def compute(self, session: Session) -> ContextMixing:
        """Four matrices from one pass."""
        from mbexplore.analysis.context_mixing import KEEP, check_length, context_mixing
        from mbexplore.session import check_layer

        layer = check_layer(session.explorer, self.layer)
        check_length(session.encoding)
        return session.once(
            ("context_mixing", layer),
            lambda: context_mixing(session.explorer, session.recording(*KEEP), layer),
        )

    def blocks(self, found: ContextMixing, session: Session) -> Iterator[Block]:
        """What one token takes, then all of them."""
        place, names = session.focus(self.token), token_names(found.tokens)
        shares = {name: getattr(found, method) for method, name in METHODS.items()}
        first = {name: int(values[place].argmax()) for name, values in shares.items()}
        kind = session.explorer.model.config.layer_kinds[found.layer]
        by_key = {key: [name for name in first if first[name] == key] for key in first.values()}
        taken = "; ".join(f"{names[key]} {key} by {_listed(by)}" for key, by in by_key.items())
        yield Headline(
            f"In layer {found.layer} ({kind}) {names[place]} ({place}) takes most from {taken}."
        )
        strongest = {int(key) for x in shares.values() for key in (-x[place]).argsort()[:LISTED]}
        rows = tuple(
            (
                Cell(key, select={"token": key}),
                Cell(found.tokens[key], word(found.tokens[key])),
                *(Cell(float(x[place, key]), strong=first[n] == key) for n, x in shares.items()),
            )
            for key in sorted(strongest)
        )
        title = f"Shares that {names[place]} ({place}) takes"
        columns = ("key", "token", *shares)
        yield Table(columns, rows, title, left=("token",), shares=columns[2:])

        def heat(name: str, values: NDArray[np.float32]) -> Heat:
            import numpy as np

            title = name[0].upper() + name[1:]
            reach = found.half_window if name != "rollout" else None
            if reach is not None:  # nothing is there, rather than a share of 0
                places = np.arange(len(values))
                values = np.where(abs(places[:, None] - places) > reach, np.nan, values)
            return token_heat(
                values, names, place, title, hue=kind, low=LEAST, high=1.0, log=True, unit="share"
            )

        maps = tuple(heat(*one) for one in shares.items())
        yield Row(maps[:2])
        yield Row(maps[2:])
        yield Note(f"Each row adds up to 100%; rollout is of all layers up to this. {self.limits}")

    def table(self, found: ContextMixing, session: Session) -> Table:
        """A row for each query and key."""
        return pair_rows(found.tokens, **{method: getattr(found, method) for method in METHODS})


def _listed(names: list[str]) -> str:
    if len(names) == len(METHODS):
        return "all four methods"
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
