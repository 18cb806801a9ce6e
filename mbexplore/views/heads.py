"""The atlas of heads, and the heads like one, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.heads import CLASSES, MASSES, HeadRow, HeadSimilarity, Sink, strongest_heads
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Atlas = tuple[HeadRow, ...]
_PLAIN = ("layer", "head", "kind", "label", "score", "entropy", "distance")


def view_heads(
    explorer: Explorer, encodings: Sequence[Encoding], atlas: Atlas, file: Path | None = None
) -> View:
    """One row a head, over all texts.

    Args:
        explorer: whose heads they are.
        encodings: of the texts.
        atlas: what to show.
        file: that holds a text a line; without it, several texts come from standard input.
    """

    def draw() -> Figure:
        from mbexplore.plots.heads import plot_heads

        return plot_heads(atlas, explorer.info.name, sum(map(len, encodings)))

    def arrays() -> Mapping[str, NDArray[Any]]:
        import numpy as np

        layers, heads = atlas[-1].layer + 1, atlas[-1].head + 1

        def square(values: list[Any]) -> NDArray[Any]:
            return np.array(values).reshape(layers, heads)

        plain = {name: square([getattr(row, name) for row in atlas]) for name in _PLAIN[3:]}
        masses = {name: square([row.masses[name] for row in atlas]) for name in MASSES}
        return {**plain, **masses}

    def rows() -> Iterator[list[object]]:
        sink = [field.name for field in dataclasses.fields(Sink)]
        yield [*_PLAIN, *MASSES, *(f"sink_{name}" for name in sink)]
        for row in atlas:
            own = [getattr(row, name) for name in _PLAIN]
            masses = [row.masses[name] for name in MASSES]
            yield [*own, *masses, *(getattr(row.sink, name) for name in sink)]

    command = _command(explorer, encodings, file)
    return View("heads", command, lambda: _payload(explorer, encodings, atlas), draw, arrays, rows)


def view_similar_heads(
    explorer: Explorer,
    encodings: Sequence[Encoding],
    atlas: Atlas,
    similar: Sequence[HeadSimilarity],
    like: tuple[int, int],
    file: Path | None = None,
) -> View:
    """The heads like one, with the atlas that names their classes.

    Args:
        explorer: whose heads they are.
        encodings: of the texts; the first one's maps are compared.
        atlas: over all texts.
        similar: the other heads, the most alike first.
        like: layer and head that they are compared with.
        file: see `view_heads`.
    """
    layer, head = like
    named = {(row.layer, row.head): row for row in atlas}

    def payload() -> dict[str, Any]:
        return {
            **_payload(explorer, encodings, atlas),
            "like": {"layer": layer, "head": head},
            "similar": [dataclasses.asdict(each) for each in similar],
        }

    def draw() -> Figure:
        from mbexplore.plots.heads import plot_similar_heads

        return plot_similar_heads(similar, named[like], atlas, explorer.info.name)

    def rows() -> Iterator[list[object]]:
        yield ["layer", "head", "kind", "label", "distance"]
        for each in similar:
            row = named[each.layer, each.head]
            yield [each.layer, each.head, row.kind, row.label, each.distance]

    command = _command(explorer, encodings, file, f"{layer}.{head}")
    return View(f"heads-like-{layer}.{head}", command, payload, draw, rows=rows)


def _payload(explorer: Explorer, encodings: Sequence[Encoding], atlas: Atlas) -> dict[str, Any]:
    strongest = strongest_heads(atlas)
    return {
        "model": dataclasses.asdict(explorer.info),
        "texts": len(encodings),
        "tokens": sum(map(len, encodings)),
        "strongest": {
            name: {"layer": row.layer, "head": row.head, "score": row.scores[name]}
            for name, row in ((name, strongest[name]) for name in CLASSES)
        },
        "heads": [dataclasses.asdict(row) for row in atlas],
    }


def _command(
    explorer: Explorer, encodings: Sequence[Encoding], file: Path | None, like: str | None = None
) -> list[str]:
    many, info = len(encodings) > 1, explorer.info
    if file is None and not many:
        return build_command("heads", info, encodings[0], like=like)
    cut, context = any(encoding.is_cut for encoding in encodings), encodings[0].context
    command = build_command("heads", info, [], context=context, file=file, like=like, truncate=cut)
    return command if file is not None else [*command, "-"]
