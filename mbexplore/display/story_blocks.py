"""A story: numbered sentences, whose phrases lead to the views that show their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbexplore.display.blocks import Block


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
