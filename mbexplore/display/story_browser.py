"""A story as JSON for a browser."""

from __future__ import annotations

from mbexplore.display.browser import Part, to_part
from mbexplore.display.story_blocks import Story


@to_part.register
def _(block: Story) -> Part:
    return {
        "kind": "story",
        "sentences": [
            {"text": one.text, "command": one.command}
            | ({"hold": dict(one.select)} if one.select else {})
            | ({"address": one.address} if one.address else {})
            for one in block.sentences
        ],
    }
