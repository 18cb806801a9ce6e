"""A route: where something is carried, layer by token, and the heads that move it on."""

from __future__ import annotations

from dataclasses import dataclass

from mbexplore.display.blocks import Block, Heat, Hue
from mbexplore.display.story_blocks import Proof

LEAST = 0.05
"""Share from which on a place is drawn."""
MOST = 0.5
"""Share from which on a place carries it."""


@dataclass(frozen=True)
class Edge:
    """A head that reads one token and writes another.

    Attributes:
        row: of the state that it reads; it writes the one above.
        key: column that it reads.
        query: column that it writes.
        name: "6.3".
        share: that it restores alone.
        text: "34%".
        about: all that is known of it, in a line.
        hue: of its layer.
        proof: what shows it.
        backup: whether it only stands in for another one.
    """

    row: int
    key: int
    query: int
    name: str
    share: float
    text: str
    about: str
    hue: Hue
    proof: Proof
    backup: bool = False


@dataclass(frozen=True, eq=False)
class RouteGraph(Block):
    """Nodes where something is carried, and the heads between them.

    Attributes:
        nodes: shares, (states, tokens); a click selects layer and token.
        edges: in the order of the layers.
    """

    nodes: Heat
    edges: tuple[Edge, ...]

    @property
    def title(self) -> str:
        """Above it."""
        return self.nodes.title

    @property
    def ends(self) -> tuple[tuple[Edge, int, int], ...]:
        """Each edge with its number among those between the same two places, and their count."""

        def ends(edge: Edge) -> tuple[int, int, int]:
            return edge.row, edge.key, edge.query

        alike = [[one for one in self.edges if ends(one) == ends(edge)] for edge in self.edges]
        pairs = zip(self.edges, alike, strict=True)
        return tuple((edge, some.index(edge), len(some)) for edge, some in pairs)
