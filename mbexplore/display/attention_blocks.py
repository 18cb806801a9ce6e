"""Blocks of attention: the maps of some heads, their strongest links as arcs, and every head.

They hold what an analysis found; a renderer takes as many pixels of it as it has room for.
Importing this loads nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mbexplore.display.blocks import Block, Heat
from mbexplore.display.numbers import significant
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.analysis.links import Arcs as ArcsData
    from mbexplore.analysis.links import Link
    from mbexplore.analysis.maps import LayerMap
    from mbexplore.analysis.tile import Tile

MANY = 60
"""Columns from which on their names have positions."""
ROOTS = {2: "square-root", 3: "cube-root", 4: "fourth-root"}


@dataclass(frozen=True, eq=False)
class AttentionMap(Block):
    """Some heads' maps of one part of a layer, on one colour scale. A click on a row selects it.

    Attributes:
        tile: the maps, rows from the top are queries and columns are keys.
        names: of the maps.
        title: above them.
        mark: the row that is outlined, a place on `tile.queries`.
        column_axis: what the columns are; where they aren't keys, no part of them can be chosen.
        unit: of the values.
    """

    tile: Tile
    names: tuple[str, ...]
    title: str = ""
    mark: int | None = None
    column_axis: str = "key"
    unit: str = "attention weight"

    @property
    def high(self) -> float:
        """The value of the darkest colour; above 0."""
        return max(float(self.tile.weights.max()), 1e-9)

    @cached_property
    def root(self) -> int:
        """The root of a value's share of `high` that its colour follows: faint ones show."""
        from mbexplore.display.palette import showing_root

        return showing_root(self.tile.weights)

    @property
    def scale(self) -> str:
        """What the colours mean."""
        return f"{self.unit} ({ROOTS[self.root]} colour scale)"

    @property
    def has_keys(self) -> bool:
        """Whether columns are keys, and not offsets."""
        return self.column_axis == "key"

    def heats(self, rows: int, most: int | None = None) -> tuple[Heat, ...]:
        """Each map as a matrix of at most so many rows and columns; NaN outside the window."""
        import numpy as np

        tile = self.tile.shrink(rows, most)
        (tall, wide), several = tile.pool, len(self.names) > 1
        columns = tuple(map(word, tile.keys.labels))
        if wide > 1 or len(columns) > MANY:  # a name among hundreds needs its position
            columns = tile.keys.pixel_names(wide) if self.has_keys else columns[::wide]
        given: dict[str, Any] = {
            "rows": tile.queries.pixel_names(tall, self.mark),
            "columns": columns,
            "row_axis": "query",
            "column_axis": self.column_axis,
            "hue": tile.kind,
            "low": 0.0,
            "high": self.high,
            "root": self.root,
            "unit": self.scale,
            "mark": None if self.mark is None else (self.mark // tall, None),
        }
        values = np.where(tile.outside(), np.nan, tile.weights)
        return tuple(
            Heat(each, title=self.title_of(i) if several else "", **given)
            for i, each in enumerate(values)
        )

    def title_of(self, number: int) -> str:
        """A map's name and its largest value, where there are several."""
        highest = significant(float(self.tile.weights[number].max()), 2)
        return f"{self.names[number]} \N{MIDDLE DOT} max {highest}"


@dataclass(frozen=True, eq=False)
class Arcs(Block):
    """The fewest links that carry a share of every row, as arcs between tokens of the text.

    Attributes:
        arcs: the links, with their axis and heads.
        title: above them.
        mark: the place whose links stand out.
    """

    arcs: ArcsData
    title: str = ""
    mark: int | None = None

    @property
    def shown(self) -> tuple[Link, ...]:
        """The links of the marked place, or all of them, falling."""
        links = self.arcs.links
        return links if self.mark is None else tuple(x for x in links if x.query == self.mark)

    @property
    def high(self) -> float:
        """The largest weight; above 0."""
        return max((link.weight for link in self.arcs.links), default=1e-9)


@dataclass(frozen=True, eq=False)
class ModelView(Block):
    """A small map of every head of every layer, the deepest on top. A click selects the head.

    Attributes:
        maps: one entry a layer, from the first.
        title: above them.
        parts: what is switched off, as people name it: "6.3", "6.attention", "6.mlp".
        blocked: tokens that no other can attend to.
        tokens: of the text, where more can be switched off by clicks.
        mark: the row that is outlined where a map is enlarged, a place on the axis.
    """

    maps: tuple[LayerMap, ...]
    title: str = ""
    parts: tuple[str, ...] = ()
    blocked: tuple[int, ...] = ()
    tokens: tuple[str, ...] = ()
    mark: int | None = None

    def is_off(self, layer: int, head: int) -> bool:
        """Whether a head, or all of its layer's attention, is switched off."""
        return not {f"{layer}.{head}", f"{layer}.attention"}.isdisjoint(self.parts)

    @property
    def scale(self) -> str:
        """What the colours mean."""
        return "each map from 0 to its own largest weight, on a square-root colour scale"
