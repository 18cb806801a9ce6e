"""The model card of a checkpoint in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.card import LayerCard, ModelCard
from mbexplore.views.old import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def view_info(card: ModelCard) -> View:
    """What a checkpoint is; its table is that of the layers."""

    def payload() -> dict[str, Any]:
        return {**dataclasses.asdict(card), "config": card.config.to_dict()}

    def draw() -> Figure:
        from mbexplore.plots.info import plot_card

        return plot_card(card)

    def rows() -> Iterator[list[object]]:
        names = [field.name for field in dataclasses.fields(LayerCard)]
        yield list(names)
        for layer in card.layers:
            yield [getattr(layer, name) for name in names]

    named = () if card.source == "bundled" else ("-m", card.name)
    command = ["info", *named, "--length", str(card.memory.length)]
    return View("info", command, payload, draw, rows=rows)
