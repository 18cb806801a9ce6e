"""One attention score by rotary pair."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Lines, Note, Row, Series, Table
from mbexplore.display.numbers import fixed, percent, significant
from mbexplore.text import said_at, word
from mbexplore.views.shared import LISTED, listing
from mbexplore.views.view import Guide, Head, Layer, Token, View, cited, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.rope import RopeScore
    from mbexplore.session import Session

DEGREE = "\N{DEGREE SIGN}"


class RopeScoreView(View["RopeScore"]):
    """One attention score by rotary pair, and the pairs that each head of the layer uses."""

    name = "rope-score"
    title = "RoPE score"
    question = "Which rotary pairs make this attention score?"
    guide = Guide(
        "One attention score, taken apart into what each rotary pair adds.",
        "The parts add up to the score before the softmax; a large one is a pair that this head"
        " uses.",
        "Take head 3.1, from river to sea.",
        values={"layer": 3, "head": 1, "token": 2, "key": 6},
        texts=("The river runs to the sea.",),
    )
    evidence = "correlational"
    tested = "against scores of the unrotated queries and keys"
    group = "Under the hood"
    place = 4
    papers = cited("su2021roformer")
    limits = "A score is what goes into the softmax: other keys decide how much weight it becomes."
    sample = True
    example = '"The river runs to the sea." --layer 3 --head 1 --token river --key sea'

    layer: Layer = 0
    head: Head = option("The head of the layer, from 0.", default=0)
    token: Token = option(
        "The query, by position or word; by default the first mask.", default=None
    )
    key: Token = option(
        "The key, by position or word; by default the one with the most weight.", default=None,
        label="",
    )  # fmt: skip

    def compute(self, session: Session) -> RopeScore:
        """One pass over the text, then one layer's queries and keys."""
        from mbexplore.analysis.rope import check_visible, rope_score
        from mbexplore.recorder import of_layers

        explorer, layer, head = session.explorer, self.layer, self.head or 0
        explorer.check_layer_and_head(layer, head)
        query, key = session.focus(self.token), session.token(self.key)
        if key is not None:
            check_visible(explorer.model.config, layer, query, key)
        recording = session.recording(*of_layers("attention", layer))
        return rope_score(recording, layer, head, query, key, LISTED)

    def blocks(self, found: RopeScore, session: Session) -> Iterator[Block]:
        """The score by pair, the query's other keys, the layer's norms by head and pair."""
        yield Headline(_sentence(found))
        yield Row((_pairs(found), _keys(found)))
        yield _sum(found)
        yield Row(tuple(_norms(found, name, values) for name, values in (
            ("queries", found.norms.q), ("keys", found.norms.k)
        )))  # fmt: skip
        yield Note(
            "Contribution = |q| |k| cos(angle) / sqrt(head size); phase: the angle between query "
            f"and key before they are rotated. {self.limits}"
        )

    def position(self, found: RopeScore) -> int:
        """The query."""
        return found.score.query


def _sentence(found: RopeScore) -> str:
    score = found.score
    query, key = (said_at(found.tokens, i) for i in (score.query, score.key))
    away = abs(score.query - score.key)
    largest = max(score.contributions, key=lambda one: abs(one.contribution))
    return (
        f"Head {score.layer}.{score.head}: the score of {query} and {key}, {away} "
        f"token{'s' * (away != 1)} away, is {fixed(score.score, 2, signed=True)} (weight "
        f"{percent(score.weight)}); pair {largest.pair} gives most, "
        f"{fixed(largest.contribution, 2, signed=True)}."
    )


def _pairs(found: RopeScore) -> Table:
    """All pairs, the largest contribution first."""

    def phase(one: Any) -> Cell:
        return Cell(one.phase, fixed(math.degrees(one.phase), 0, signed=True) + DEGREE)

    def wavelength(one: Any) -> Cell:
        return Cell(length := math.tau / one.frequency, significant(length, 4))

    columns: dict[str, Any] = {
        "pair": "pair", "wavelength": wavelength, "contribution": "contribution",
        "|q|": "q_norm", "|k|": "k_norm", "phase": phase,
    }  # fmt: skip
    pairs = sorted(found.score.contributions, key=lambda one: -abs(one.contribution))
    title, bars = "Contribution of each pair to the score", ("contribution",)
    return listing(pairs, columns, title, signed=bars, bars=bars)


def _keys(found: RopeScore) -> Table:
    """What the query attends to; a click shows that score."""

    def key(link: Any) -> Cell:
        token, is_this = found.tokens[link.key], link.key == found.score.key
        return Cell(token, word(token), select={"key": link.key}, strong=is_this)

    columns: dict[str, Any] = {
        "key": key, "position": "key",
        "weight": lambda link: Cell(link.weight, hue=found.norms.kind),
    }  # fmt: skip
    return listing(
        found.keys, columns, "The query attends to", shares=("weight",), bars=("weight",)
    )


def _sum(found: RopeScore) -> Lines:
    """Shares by pair with their running sum, which ends at the score."""
    import numpy as np

    parts = [one.contribution for one in found.score.contributions]
    return Lines(
        (
            Series("contribution", tuple(parts), dots=True),
            Series("sum so far", tuple(np.cumsum(parts).tolist()), dashed=True,
                   hue=found.norms.kind),
        ),
        "Contribution of each pair, the fastest first",
        x="pair",
        y="score",
        levels={"": 0.0},
    )  # fmt: skip


def _norms(found: RopeScore, name: str, values: NDArray[Any]) -> Heat:
    heads, pairs = values.shape
    high = float(max(found.norms.q.max(), found.norms.k.max()))
    return Heat(
        values.astype(float),
        tuple(f"head {head}" for head in range(heads)),
        tuple(str(pair) for pair in range(pairs)),
        title=f"Mean norm of the {name} in each pair, layer {found.norms.layer}",
        column_axis="pair, the fastest first",
        hue=found.norms.kind,
        low=0.0,
        high=high,
        unit="norm",
        select=("head", None),
        mark=(found.score.head, None),
    )
