"""Small maps of heads: layers by heads, one for each number of the atlas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from mbexplore.display.blocks import Block, Cell, Heat, Note, Table
from mbexplore.views.shared import layer_hues, layer_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mbexplore.analysis.heads import HeadRow
    from mbexplore.analysis.similar_heads import HeadSimilarity
    from mbexplore.session import Session

Heads: TypeAlias = "Sequence[HeadRow]"
NAMES = {
    "previous": "the token before", "next": "the token after", "self": "the token itself",
    "cls": "[CLS]", "sep": "[SEP]", "punctuation": "punctuation", "mask": "[MASK]",
    "edge": "the window's edges", "far": "beyond a local window",
}  # fmt: skip
SHORT = {"punctuation": "punct.", "unclassified": "\N{MIDDLE DOT}"}


def square(heads: Heads, of: Any) -> NDArray[Any]:
    """A number of every head, (layers, heads)."""
    import numpy as np

    last = heads[-1]
    return np.array([of(row) for row in heads]).reshape(last.layer + 1, last.head + 1)


def draw_heat(values: NDArray[np.floating], title: str, session: Session, **more: Any) -> Heat:
    """Layers by heads."""
    return Heat(
        values.astype(float),
        layer_names(session),
        tuple(str(head) for head in range(values.shape[1])),
        title=title,
        column_axis="head",
        low=0.0,
        select=("layer", "head"),
        row_hues=layer_hues(session),
        upward=True,
        **more,
    )


def draw_classes(heads: Heads, session: Session) -> Heat:
    """The class of every head, darker for a higher score."""
    named = square(heads, lambda row: SHORT.get(row.label, row.label)).tolist()
    scores = square(heads, lambda row: 0.0 if row.label == "unclassified" else row.score)
    return draw_heat(
        scores, "Class of each head (a dot: unclassified)", session, hue=layer_hues(session),
        high=1.0, unit="score", texts=tuple(map(tuple, named)), scale=False,
    )  # fmt: skip


def draw_shares(heads: Heads, session: Session) -> Iterator[Heat]:
    """The share of the weight on every kind of token that is there, on one scale."""
    every = {name: square(heads, lambda row, n=name: _share(row, n)) for name in NAMES}
    high = max(float(values[values == values].max(initial=0.0)) for values in every.values())
    for name, title in NAMES.items():
        if (every[name] > 0).any():
            yield draw_heat(every[name], f"Weight on {title}", session, high=high, unit="share")


def _share(row: HeadRow, name: str) -> float:
    """A share of the weight; not a number where layers of this kind have no such token."""
    elsewhere = {"edge": "global", "far": "local"}
    return float("nan") if elsewhere.get(name) == row.kind else row.masses[name]


def distances_of(heads: Heads, similar: Sequence[HeadSimilarity]) -> NDArray[np.floating]:
    """Distances to the one head, (layers, heads)."""
    by_head = {(one.layer, one.head): one.distance for one in similar}
    return square(heads, lambda row: by_head.get((row.layer, row.head), 0.0))


def draw_similar(
    heads: Heads, like: str, similar: Sequence[HeadSimilarity], session: Session
) -> Iterator[Block]:
    """All other heads by their distance from one."""
    rows = {(row.layer, row.head): row for row in heads}
    cells = []
    for one in similar:
        row = rows[one.layer, one.head]
        cells.append(
            (
                Cell(f"{row.layer}.{row.head}", hue=row.kind,
                     select={"layer": row.layer, "head": row.head}),
                row.kind,
                row.label,
                Cell(one.distance, f"{one.distance:.3f}", bar=one.distance, hue=row.kind),
            )
        )  # fmt: skip
    columns = ("head", "kind", "class", "distance")
    yield Table(columns, tuple(cells), left=columns[:3])
    values = distances_of(heads, similar)
    layer, head = map(int, like.split("."))
    texts = tuple(tuple(f"{value:.2f}" for value in row) for row in values.tolist())
    yield draw_heat(
        values, f"Distance of each head from {like}", session, high=1.0,
        unit="Jensen-Shannon distance", texts=texts, mark=(layer, head), darkest_low=True,
    )  # fmt: skip
    yield Note(
        "Jensen-Shannon distance of the rows of the maps, mean over queries of the first text: 0 "
        "for the same rows, 1 where nothing is shared."
    )
