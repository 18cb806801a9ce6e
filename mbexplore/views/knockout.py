"""What silencing parts of the model does to its answer, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.ablate import (
    LIMITS,
    Ablation,
    Block,
    BlockedDistance,
    BlockedTokens,
    Head,
    HeadAblation,
    Part,
    Replacement,
)
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_MAPS = ("logit", "probability", "rank")


def view_knockout(
    explorer: Explorer,
    encoding: Encoding,
    found: Ablation,
    parts: Sequence[Part],
    answer: str | None,
    fill: Replacement = "zero",
) -> View:
    """Parts silenced together, and each alone.

    Args:
        explorer: whose answer it is.
        encoding: of the text.
        found: what to show.
        parts: what was silenced, in the order of the command's options.
        answer: the token that was asked about; None for the model's own answer.
        fill: what took the place of heads and blocks.
    """

    def payload() -> dict[str, Any]:
        model = dataclasses.asdict(explorer.info)
        return {"model": model, **dataclasses.asdict(found), "not_shown": LIMITS}

    def draw() -> Figure:
        from mbexplore.plots.knockout import plot_knockout

        return plot_knockout(found, explorer.info.name)

    def rows() -> Iterator[list[object]]:
        yield ["without", "logit", "probability", "rank", "first_now"]
        clean = found.clean
        yield ["", clean.logit, clean.probability, clean.rank, ""]
        for effect in found.effects:
            after = effect.score
            yield ["; ".join(effect.parts), after.logit, after.probability, after.rank, effect.top1]

    command = build_command(
        "knockout",
        explorer.info,
        encoding,
        **_as_options(parts),
        mean=fill == "mean",
        at=found.target.position,
        answer=answer,
    )
    return View("knockout", command, payload, draw, rows=rows)


def view_head_effects(
    explorer: Explorer,
    encoding: Encoding,
    found: HeadAblation,
    answer: str | None,
    fill: Replacement = "zero",
) -> View:
    """Every head silenced alone, a map of layers by heads; its arguments as `view_knockout`."""

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "tokens": list(found.tokens),
            "target": dataclasses.asdict(found.target),
            "clean": dataclasses.asdict(found.clean),
            **{name: getattr(found, name).tolist() for name in _MAPS},
            "not_shown": LIMITS,
        }

    def draw() -> Figure:
        from mbexplore.plots.knockout import plot_head_effects

        return plot_head_effects(found, explorer.model.config.layer_kinds, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        return {"tokens": np.array(found.tokens), **{name: getattr(found, name) for name in _MAPS}}

    def rows() -> Iterator[list[object]]:
        yield ["layer", "kind", "head", "logit_change", "probability_change", "rank"]
        for layer, kind in enumerate(explorer.model.config.layer_kinds):
            for head in range(found.logit.shape[1]):
                values = (getattr(found, name)[layer, head].item() for name in _MAPS)
                yield [layer, kind, head, *values]

    command = build_command(
        "knockout",
        explorer.info,
        encoding,
        all_heads=True,
        mean=fill == "mean",
        at=found.target.position,
        answer=answer,
    )
    return View("knockout", command, payload, draw, arrays, rows)


def _as_options(parts: Sequence[Part]) -> dict[str, object]:
    """The parts as the command's options spell them."""
    blocks = [part for part in parts if isinstance(part, Block)]
    far = [part.max_distance for part in parts if isinstance(part, BlockedDistance)]
    return {
        "head": [f"{part.layer}.{part.head}" for part in parts if isinstance(part, Head)],
        "attention": [part.layer for part in blocks if part.kind == "attention"],
        "mlp": [part.layer for part in blocks if part.kind == "mlp"],
        "token": [i for part in parts if isinstance(part, BlockedTokens) for i in part.positions],
        "far": far[0] if far else None,
    }
