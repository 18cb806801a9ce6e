"""How much each token contributes to each other one in a layer, by four methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Row, Table
from mbexplore.display.numbers import percent
from mbexplore.text import word
from mbexplore.views.papers import NORMS, ROLLOUT, VALUE_ZEROING
from mbexplore.views.parameters import Layer, Token
from mbexplore.views.shared import named_part, part_around, token_names
from mbexplore.views.view import View, option

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
STRONGEST = 10
"""Tokens of each method in the table."""
LEAST = 0.01
"""Share of the lightest colour."""


class MixView(View["ContextMixing"]):
    """Context mixing: what each token takes from each other one, by four methods."""

    name = "mix"
    title = "Context mixing"
    question = "How much of each token goes into each other one?"
    group = "From where"
    papers = (NORMS, ROLLOUT, VALUE_ZEROING)
    limits = (
        "None of the four shows what is carried, only how much; rollout takes the residual stream "
        "for half of every layer and all heads for alike, and only value zeroing counts the MLP."
    )
    example = '"The capital of France is [MASK]." --layer 6'

    layer: Layer = option("Which layer, from 0; by default the last.", default=-1, short="-l")
    token: Token = option(
        "The token looked at, by position or word; by default the first mask.", default=None
    )

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
        place = session.focus(self.token)
        shares = {name: getattr(found, method) for method, name in METHODS.items()}
        first = {name: int(values[place].argmax()) for name, values in shares.items()}
        kind = session.explorer.model.config.layer_kinds[found.layer]
        taken = "; ".join(
            f"{word(found.tokens[key])} {key} by {_listed(by)}" for key, by in _turned(first)
        )
        yield Headline(
            f"In layer {found.layer} ({kind}) {word(found.tokens[place])} ({place}) takes most "
            f"from {taken}."
        )
        yield _row(found, place, shares, first)
        maps = tuple(
            self._map(found, place, name, values, session) for name, values in shares.items()
        )
        yield Row(maps[:2])
        yield Row(maps[2:])
        yield Note(f"Each row adds up to 100%; rollout is of all layers up to this. {self.limits}")

    def _map(
        self,
        found: ContextMixing,
        place: int,
        name: str,
        values: NDArray[np.float32],
        session: Session,
    ) -> Heat:
        import numpy as np

        seen = part_around(place, len(found.tokens))
        inside = slice(seen.start, seen.stop)
        reach = found.half_window if name != "rollout" else None
        if reach is not None:  # nothing is there, rather than a share of 0
            places = np.arange(len(values))
            beyond = abs(places[:, None] - places) > reach
            values = np.where(beyond, np.nan, values).astype(np.float32)
        names = token_names(found.tokens)[inside]
        return Heat(
            values[inside, inside],
            names,
            names,
            title=name[0].upper() + name[1:] + named_part(seen, len(found.tokens)),
            row_axis="query",
            column_axis="key",
            hue=session.explorer.model.config.layer_kinds[found.layer],
            low=LEAST,
            high=1.0,
            log=True,
            unit="share",
            select=("token", None),
            row_values=tuple(seen),
            column_values=tuple(seen),
            mark=(place - seen.start, None),
        )

    def table(self, found: ContextMixing, session: Session) -> Table:
        """A row for each query and key."""
        columns = ("query", "query_token", "key", "key_token", *METHODS)
        shares = [getattr(found, method) for method in METHODS]
        return Table(columns, tuple(
            (i, query, j, key, *(float(each[i, j]) for each in shares))
            for i, query in enumerate(found.tokens)
            for j, key in enumerate(found.tokens)
        ))  # fmt: skip


def _turned(first: dict[str, int]) -> list[tuple[int, list[str]]]:
    """Keys with the methods that name them."""
    by_key: dict[int, list[str]] = {}
    for name, key in first.items():
        by_key.setdefault(key, []).append(name)
    return list(by_key.items())


def _listed(names: list[str]) -> str:
    if len(names) == len(METHODS):
        return "all four methods"
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _row(
    found: ContextMixing, place: int, shares: dict[str, NDArray[np.float32]], first: dict[str, int]
) -> Table:
    keys = sorted(
        {int(key) for values in shares.values() for key in (-values[place]).argsort()[:STRONGEST]}
    )
    rows = tuple(
        (
            Cell(key, select={"token": key}),
            Cell(found.tokens[key], word(found.tokens[key])),
            *(
                Cell(share := float(values[place, key]), percent(share), strong=first[name] == key)
                for name, values in shares.items()
            ),
        )
        for key in keys
    )
    title = f"Shares that {word(found.tokens[place])} ({place}) takes"
    return Table(("key", "token", *shares), rows, title=title, left=("token",))
