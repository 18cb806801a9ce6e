"""A story: numbered sentences, each with the command that shows its numbers."""

from __future__ import annotations

from dataclasses import dataclass

from mbexplore.display.blocks import Block, Selection


@dataclass(frozen=True)
class Sentence:
    """A sentence of a story.

    Attributes:
        text: itself.
        command: that shows its numbers, ready for a shell.
        select: what a click on it selects.
        address: of that on the page, after its #.
    """

    text: str
    command: str = ""
    select: Selection | None = None
    address: str = ""


@dataclass(frozen=True)
class Story(Block):
    """Sentences in their order."""

    sentences: tuple[Sentence, ...]
