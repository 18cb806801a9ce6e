"""Points on two of several measures, of which a reader chooses any two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TypeAlias

from mbexplore.display.blocks import Block, Hue, Selection
from mbexplore.display.numbers import percent, significant

Values: TypeAlias = tuple["float | None", ...]


@dataclass(frozen=True)
class Scatter(Block):
    """Points, each with a name and a number on every measure.

    Attributes:
        names: of the points.
        measures: by name, a number a point; None where it has none.
        x: the measure from left to right.
        y: the measure upwards.
        title: above it.
        hues: of the points.
        select: what a click on each point selects.
        mark: the point that stands out.
        theirs: the same measures of other points, drawn as rings behind.
        theirs_name: what those are.
        shares: measures that are shown as per cent.
        hold: the parameters of the view that are `x` and `y`; ("", "") where it has none.
    """

    names: tuple[str, ...]
    measures: Mapping[str, Values]
    x: str
    y: str
    title: str = ""
    hues: tuple[Hue, ...] = ()
    select: tuple[Selection, ...] = ()
    mark: int | None = None
    theirs: Mapping[str, Values] = field(default_factory=dict)
    theirs_name: str = ""
    shares: frozenset[str] = frozenset()
    hold: tuple[str, str] = ("", "")

    def hue(self, point: int) -> Hue:
        """The hue of a point."""
        return self.hues[point] if self.hues else "plain"

    def points(self, theirs: bool = False) -> dict[int, tuple[float, float]]:
        """X and y of every point that has both, by its place."""
        values = self.theirs if theirs else self.measures
        pairs = zip(values.get(self.x, ()), values.get(self.y, ()), strict=True)
        return {
            i: (float(x), float(y))
            for i, (x, y) in enumerate(pairs)
            if x is not None and y is not None and isfinite(x) and isfinite(y)
        }

    def outermost(self, most: int = 2) -> tuple[int, ...]:
        """The points that get a name: the marked one, and those farthest right and up."""
        points = self.points()
        ends = [sorted(points, key=lambda i: -points[i][axis])[:most] for axis in (0, 1)]
        marked = [self.mark] if self.mark in points else []
        return tuple(i for i in dict.fromkeys([*marked, *ends[0], *ends[1]]) if i is not None)

    def shown(self, measure: str, value: float) -> str:
        """A number of a measure, as it is written."""
        return percent(value) if measure in self.shares else significant(value)
