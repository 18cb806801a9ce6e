"""The atlas of heads: where the weight of every head goes, over one text or many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import hypot
from typing import TYPE_CHECKING, Any, Literal

from mbexplore.display.blocks import Block, Cell, Headline, Heat, Note, Row, Table
from mbexplore.display.data import Arrays
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import RangeError
from mbexplore.text import word
from mbexplore.views.shared import head_names, layer_heat, layer_hues
from mbexplore.views.view import Guide, View, cited, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mbexplore.analysis.heads import Atlas, HeadRow
    from mbexplore.analysis.similar_heads import HeadSimilarity
    from mbexplore.recording import Recording
    from mbexplore.session import Session

NAMES = {
    "previous": "the token before", "next": "the token after", "self": "the token itself",
    "cls": "[CLS]", "sep": "[SEP]", "punctuation": "punctuation", "mask": "[MASK]",
    "edge": "the window's edges", "far": "beyond a local window",
}  # fmt: skip
"""Kinds of tokens that a head's weight is on."""
SHORT = {"punctuation": "punct.", "unclassified": "\N{MIDDLE DOT}"}


class HeadsView(View["Atlas"]):
    """Atlas of heads: entropy, distance, shares of the weight, sinks and a class for every head."""

    name = "heads"
    title = "Heads"
    question = "What does each head do?"
    guide = Guide(
        "What every head does on a text: a class such as previous token, and where its weight "
        "goes.",
        "Each map has a row for each layer and a column for each head; a dark cell has more of "
        "what the title says.",
        "Find the heads most like head 3.1.",
        values={"like": "3.1"},
    )
    evidence = "correlational"
    tested = "against plain loops over dense maps, and on maps made by hand"
    group = "From where"
    place = 5
    papers = cited("clark2019what")
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
        from mbexplore.analysis.heads import Atlas, head_atlas, strongest_heads
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
            yield from _similar(found, found.like, session)
            return
        named = _square(found, [SHORT.get(row.label, row.label) for row in found.heads]).tolist()
        scores = _square(
            found, [0.0 if row.label == "unclassified" else row.score for row in found.heads]
        )
        classes = _heat(
            scores, "Class of each head (a dot: unclassified)", session, hue=layer_hues(session),
            high=1.0, unit="score", texts=tuple(map(tuple, named)), scale=False,
        )  # fmt: skip
        entropy = _square(found, [row.entropy for row in found.heads])
        distance = _square(found, [row.distance for row in found.heads])
        yield Row(
            (
                classes,
                _heat(entropy, "Entropy", session, high=1.0),
                _heat(distance, "Mean distance, tokens", session),
            )
        )
        every = {n: _square(found, [_share(row, n) for row in found.heads]) for n in NAMES}
        high = max(float(values[values == values].max(initial=0.0)) for values in every.values())
        yield Row(tuple(
            _heat(values, f"Weight on {NAMES[name]}", session, high=high, unit="share")
            for name, values in every.items()
            if (values > 0).any()
        ))  # fmt: skip
        yield self._table(found)
        texts = f"{found.texts:,} text{'s' * (found.texts != 1)}, {found.tokens:,} tokens"
        yield Note(
            f"Over {texts}. Entropy is 1 where all visible keys have the same weight; the sink is "
            f"the token with the most weight. {self.limits}"
        )

    def arrays(self, found: Atlas) -> Arrays:
        """Layers by heads of every number; with a head, the distances to it."""
        numbers = ("label", "score", "entropy", "distance")
        plain = {n: _square(found, [getattr(row, n) for row in found.heads]) for n in numbers}
        masses = {n: _square(found, [row.masses[n] for row in found.heads]) for n in NAMES}
        like = {} if found.like is None else {"distance_to_head": _distances(found)}
        return {**plain, **masses, **like}

    def _table(self, found: Atlas) -> Table:
        """A row a head, sorted as asked for; the share on every kind of token is in files."""
        keys: dict[str, Callable[[HeadRow], Any]] = {
            "head": lambda row: (row.layer, row.head),
            "class": lambda row: (row.label == "unclassified", row.label, -row.score),
            "spread": lambda row: -(spread_of(row) or 0.0),
        }

        def number(row: HeadRow) -> float:
            share = row.masses.get(self.sort)
            return -float(getattr(row, self.sort) if share is None else share)

        rows = sorted(found.heads, key=keys.get(self.sort, number))
        spread = ("spread",) * (found.texts > 1)
        extra: dict[str, list[Any]] = {"score": [row.score for row in rows]}
        extra |= {name: [row.masses[name] for row in rows] for name in NAMES}
        for name in rows[0].spread if spread else ():
            extra[f"{name} spread"] = [row.spread[name] for row in rows]
        for name in ("token", "position", "text", "value_norm", "mean_value_norm"):
            extra[f"sink {name}"] = [getattr(row.sink, name) for row in rows]
        columns = ("head", "class", *spread, "entropy", "dist.", "weight on", "sink")
        cells = tuple(
            (
                _head_cell(row),
                Cell(row.label, f"{row.label} {percent(row.score, 0)}"),
                *((spread_of(row),) if spread else ()),
                Cell(row.entropy, f"{row.entropy:.2f}"),
                Cell(row.distance, f"{row.distance:.1f}"),
                _most_of(row),
                Cell(row.sink.weight, f"{word(row.sink.token)} {percent(row.sink.weight, 0)}"),
            )
            for row in rows
        )
        left = ("head", "class", "weight on", "sink")
        return Table(columns, cells, left=left, extra=extra, shares=("spread",))


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
    strongest = {row.label: row for row in sorted(found.heads, key=lambda row: row.score)}
    named = [
        f"{name} {row.layer}.{row.head} ({percent(row.score, 0)})"
        for name in found.strongest
        if (row := strongest.get(name))
    ]
    return f"Strongest head of each class: {', '.join(named)}." if named else "No head has a class."


def _head_cell(row: HeadRow) -> Cell:
    select: dict[str, int | str | None] = {"layer": row.layer, "head": row.head}
    return Cell(f"{row.layer}.{row.head}", hue=row.kind, select=select)


def _most_of(row: HeadRow) -> str:
    """The two kinds of tokens with most of a head's weight."""
    two = sorted(row.masses.items(), key=lambda item: -item[1])[:2]
    return " ".join(f"{SHORT.get(n, n)} {percent(mass, 0)}" for n, mass in two if mass >= 0.1)


def _square(found: Atlas, values: list[Any]) -> NDArray[Any]:
    """A value of every head, (layers, heads)."""
    import numpy as np

    last = found.heads[-1]
    return np.array(values).reshape(last.layer + 1, last.head + 1)


def _heat(values: NDArray[Any], title: str, session: Session, **more: Any) -> Heat:
    return layer_heat(values, head_names(session), session, "head", title=title, low=0.0, **more)


def _share(row: HeadRow, name: str) -> float:
    """A share of the weight; not a number where layers of this kind have no such token."""
    elsewhere = {"edge": "global", "far": "local"}
    return float("nan") if elsewhere.get(name) == row.kind else row.masses[name]


def _distances(found: Atlas) -> NDArray[Any]:
    """Distances to the one head, (layers, heads)."""
    by_head = {(one.layer, one.head): one.distance for one in found.similar}
    return _square(found, [by_head.get((row.layer, row.head), 0.0) for row in found.heads])


def _similar(found: Atlas, like: str, session: Session) -> Iterator[Block]:
    """All other heads by their distance from one."""
    rows = {(row.layer, row.head): row for row in found.heads}
    columns = ("head", "kind", "class", "distance")
    cells = tuple(
        (_head_cell(row), row.kind, row.label, Cell(distance, bar=distance, hue=row.kind))
        for row, distance in ((rows[one.layer, one.head], one.distance) for one in found.similar)
    )
    yield Table(columns, cells, left=columns[:3])
    values = _distances(found)
    layer, head = map(int, like.split("."))
    texts = tuple(tuple(f"{value:.2f}" for value in row) for row in values.tolist())
    yield _heat(
        values, f"Distance of each head from {like}", session, high=1.0,
        unit="Jensen-Shannon distance", texts=texts, mark=(layer, head), darkest_low=True,
    )  # fmt: skip
    yield Note(
        "Jensen-Shannon distance of the rows of the maps, mean over queries of the first text: 0 "
        "for the same rows, 1 where nothing is shared."
    )
