"""A story as JSON for a browser."""

from __future__ import annotations

from mbexplore.display.browser import Part, to_part
from mbexplore.display.story_blocks import Phrase, Proof, Story


def link_of(proof: Proof) -> Part:
    """What opens the view of a proof."""
    return {"view": proof.view, "settings": dict(proof.settings), "text": proof.text}


@to_part.register
def _(block: Story) -> Part:
    return {
        "kind": "story",
        "sentences": [
            {"phrases": [_phrase(each) for each in one.phrases], "commands": list(one.elsewhere)}
            for one in block.sentences
        ],
    }


def _phrase(phrase: Phrase) -> Part:
    return {"text": phrase.text, "figure": phrase.proof.figure, "open": link_of(phrase.proof)}
