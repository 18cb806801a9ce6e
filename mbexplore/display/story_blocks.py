"""A story: numbered sentences, whose phrases lead to the views that show their numbers.

Beside it stands the route: where the difference is carried, and the heads that move it on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbexplore.display.blocks import Block, Heat, Hue

LEAST = 0.05
"""Share from which on a place of a route is drawn."""


@dataclass(frozen=True, eq=False)
class Proof:
    """The view that shows the numbers of a phrase.

    Attributes:
        view: its name.
        settings: its parameters that aren't the defaults, by name, as they are typed: several texts
            are one, with the parameter's separator between them.
        text: what it looks at.
        command: that shows it, ready for a shell.
        figure: where it is the story's own view, the title of the figure that has the numbers.
    """

    view: str
    settings: Mapping[str, Any]
    text: str
    command: str
    figure: str = ""


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence."""

    text: str
    proof: Proof


@dataclass(frozen=True)
class Sentence:
    """A sentence of a story: phrases, spaces and all."""

    phrases: tuple[Phrase, ...]

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(one.text for one in self.phrases)

    @property
    def commands(self) -> tuple[str, ...]:
        """What shows its numbers, each command once."""
        return tuple(dict.fromkeys(one.proof.command for one in self.phrases))

    @property
    def elsewhere(self) -> tuple[str, ...]:
        """Likewise, without the command of the story itself."""
        others = (one.proof.command for one in self.phrases if not one.proof.figure)
        return tuple(dict.fromkeys(others))


@dataclass(frozen=True)
class Story(Block):
    """Sentences in their order."""

    sentences: tuple[Sentence, ...]


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

    @property
    def label(self) -> str:
        """What is written at it."""
        return f"{self.name} \N{MIDDLE DOT} {self.text}"


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
