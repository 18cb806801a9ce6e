"""The atlas of heads: where the weight of every head goes, over one text or many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Note, Row, Table, Value
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import RangeError
from mbexplore.text import word
from mbexplore.views.heads_maps import (
    NAMES,
    SHORT,
    distances_of,
    draw_classes,
    draw_heat,
    draw_shares,
    draw_similar,
    square,
)
from mbexplore.views.papers import BERT_LOOKS
from mbexplore.views.view import View, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.heads import HeadRow
    from mbexplore.analysis.similar_heads import HeadSimilarity
    from mbexplore.recording import Recording
    from mbexplore.session import Session

LEAST = 0.005
"""The least score of a head that is named as the strongest of a class."""


@dataclass(frozen=True)
class Atlas:
    """Every head over some texts.

    Attributes:
        texts: how many.
        tokens: of all texts.
        heads: one row each, in order.
        strongest: layer, head and score of the best of each class.
        like: the head that others are compared with, "3.1"; None for none.
        similar: all other heads by distance to it, in the first text.
    """

    texts: int
    tokens: int
    heads: tuple[HeadRow, ...]
    strongest: dict[str, dict[str, float]]
    like: str | None = None
    similar: tuple[HeadSimilarity, ...] = ()


class HeadsView(View[Atlas]):
    """Atlas of heads: entropy, distance, shares of the weight, sinks and a class for every head."""

    name = "heads"
    title = "Heads"
    question = "What does each head do?"
    group = "From where"
    papers = (BERT_LOOKS,)
    limits = (
        "A class is read off the weights alone; what a head contributes to the answer is not in it."
    )
    reads = "texts"
    sample = True
    example = '"The river runs to the sea." --like 3.1'

    like: str | None = option("A head such as 3.1: the heads most like it.", default=None)
    sort: Literal[
        "head", "class", "score", "spread", "entropy", "distance", "self", "previous", "next",
        "cls", "sep", "punctuation", "mask", "edge", "far",
    ] = option("What the table is sorted by.", default="head")  # fmt: skip

    def compute(self, session: Session) -> Atlas:
        """One pass over every text; its maps are read in blocks and let go."""
        from mbexplore.analysis.heads import head_atlas, strongest_heads
        from mbexplore.analysis.similar_heads import similar_heads

        like = None if self.like is None else find_head(session, self.like)
        tokens = 0
        first: Recording | None = None

        def counted() -> Iterator[Recording]:
            nonlocal tokens, first
            for recording in _recordings(session):
                tokens += len(recording)
                if like is not None and first is None:
                    first = recording
                yield recording

        rows = head_atlas(counted(), session.progress)
        best = {
            name: {"layer": row.layer, "head": row.head, "score": row.scores[name]}
            for name, row in strongest_heads(rows).items()
        }
        similar: tuple[HeadSimilarity, ...] = ()
        if like is not None and first is not None:
            similar = similar_heads(first, *like, progress=session.progress)
        return Atlas(len(session.texts), tokens, rows, best, self.like, similar)

    def blocks(self, found: Atlas, session: Session) -> Iterator[Block]:
        """The strongest of each class, a small map for each number, and a table of all heads."""
        yield Headline(_sentence(found))
        if found.like is not None:
            yield from draw_similar(found.heads, found.like, found.similar, session)
            return
        entropy = square(found.heads, lambda row: row.entropy)
        distance = square(found.heads, lambda row: row.distance)
        yield Row(
            (
                draw_classes(found.heads, session),
                draw_heat(entropy, "Entropy", session, high=1.0),
                draw_heat(distance, "Mean distance, tokens", session),
            )
        )
        yield Row(tuple(draw_shares(found.heads, session)))
        yield self._table(found)
        texts = f"{found.texts:,} text{'s' * (found.texts != 1)}, {found.tokens:,} tokens"
        yield Note(
            f"Over {texts}. Entropy is 1 where all visible keys have the same weight; the sink is "
            f"the token with the most weight. {self.limits}"
        )

    def file_name(self, found: Atlas) -> str:
        """With the head that others are compared with."""
        return self.name if found.like is None else f"{self.name}-like-{found.like}"

    def arrays(self, found: Atlas) -> Mapping[str, NDArray[Any]]:
        """Layers by heads of every number; with a head, the distances to it."""
        numbers = ("label", "score", "entropy", "distance")
        plain = {name: square(found.heads, lambda row, n=name: getattr(row, n)) for name in numbers}
        masses = {name: square(found.heads, lambda row, n=name: row.masses[n]) for name in NAMES}
        if found.like is None:
            return {**plain, **masses}
        return {**plain, **masses, "distance_to_head": distances_of(found.heads, found.similar)}

    def _table(self, found: Atlas) -> Table:
        """A row a head, sorted as asked for."""
        keys = {
            "head": lambda row: (row.layer, row.head),
            "class": lambda row: (row.label == "unclassified", row.label, -row.score),
            "score": lambda row: -row.score,
            "spread": lambda row: -(spread_of(row) or 0.0),
            "entropy": lambda row: -row.entropy,
            "distance": lambda row: -row.distance,
        }
        key = keys.get(self.sort, lambda row: -row.masses[self.sort])
        rows = sorted(found.heads, key=key)
        return build_table(rows, many=found.texts > 1)


def find_head(session: Session, name: str) -> tuple[int, int]:
    """Layer and head of "3.1".

    Raises:
        RangeError: it is no head, or the model lacks it.
    """
    layer, dot, head = name.partition(".")
    if not (dot and layer.isdecimal() and head.isdecimal()):
        raise RangeError(f"{name!r} is no head; write LAYER.HEAD, such as 3.1.")
    session.explorer.check_layer_and_head(int(layer), int(head))
    return int(layer), int(head)


def _recordings(session: Session) -> Iterator[Recording]:
    """A recording of each text, let go before the next is made."""
    keep = ("attention", "values")
    if len(session.texts) == 1:
        yield session.recording(*keep)
        return
    explorer = session.explorer
    for text in session.texts:
        encoding = explorer.encode(text, pair=session.context, truncate=session.truncate)
        yield explorer.record(encoding, keep=keep)


def spread_of(row: HeadRow) -> float | None:
    """Standard deviation over the texts of what the class rests on; None for a sink."""
    if row.label == "separator":
        return hypot(row.spread["cls"], row.spread["sep"])
    return row.spread.get("entropy" if row.label == "broad" else row.label)


def _sentence(found: Atlas) -> str:
    if found.like is not None:
        best = found.similar[0]
        return (
            f"Head {best.layer}.{best.head} is most like {found.like} "
            f"(distance {significant(best.distance)})."
        )
    named = [
        f"{name} {one['layer']}.{one['head']} ({percent(one['score'], 0)})"
        for name, one in found.strongest.items()
        if one["score"] >= LEAST
    ]
    return f"Strongest heads: {', '.join(named)}."


def build_table(rows: list[HeadRow], *, many: bool) -> Table:
    """A row a head; the share on every kind of token is in files.

    Args:
        rows: in their order.
        many: whether there were several texts, so that numbers spread.
    """
    columns = ["head", "class", *(["spread"] if many else []), "entropy", "dist."]
    cells: list[tuple[Value, ...]] = []
    for row in rows:
        spread = spread_of(row)
        two = sorted(row.masses.items(), key=lambda item: -item[1])[:2]
        cells.append(
            (
                Cell(f"{row.layer}.{row.head}", hue=row.kind,
                     select={"layer": row.layer, "head": row.head}),
                Cell(row.label, f"{row.label} {percent(row.score, 0)}"),
                *([Cell(spread, "" if spread is None else percent(spread, 0))] if many else []),
                Cell(row.entropy, f"{row.entropy:.2f}"),
                Cell(row.distance, f"{row.distance:.1f}"),
                " ".join(f"{SHORT.get(n, n)} {percent(mass, 0)}" for n, mass in two if mass >= 0.1),
                Cell(row.sink.weight, f"{word(row.sink.token)} {percent(row.sink.weight, 0)}"),
            )
        )  # fmt: skip
    extra: dict[str, list[Any]] = {"score": [row.score for row in rows]}
    extra |= {name: [row.masses[name] for row in rows] for name in NAMES}
    if many:
        extra |= {f"{name} spread": [row.spread[name] for row in rows] for name in rows[0].spread}
    for name in ("token", "position", "text", "value_norm", "mean_value_norm"):
        extra[f"sink {name}"] = [getattr(row.sink, name) for row in rows]
    left = ("head", "class", "weight on", "sink")
    return Table((*columns, *left[2:]), tuple(cells), left=left, extra=extra)
