"""Sentence vectors and how near the texts are, in every form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mbexplore.analysis.embed import Embeddings
from mbexplore.explorer import Explorer
from mbexplore.views.old import View, build_command

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


def view_embed(explorer: Explorer, result: Embeddings) -> View:
    """The vectors of some texts, and the cosine between every two."""
    texts = list(result.texts)

    def payload() -> dict[str, Any]:
        return {
            "model": dataclasses.asdict(explorer.info),
            "pooling": result.pooling,
            "prompt": result.prompt,
            "texts": texts,
            "vectors": result.vectors.tolist(),
            "cosine": result.cosine.tolist(),
        }

    def draw() -> Figure:
        from mbexplore.plots.embed import plot_cosine

        return plot_cosine(texts, result.cosine.cpu().numpy(), result.pooling, explorer.info.name)

    def arrays() -> dict[str, NDArray[Any]]:
        import numpy as np

        return {
            "vectors": result.vectors.cpu().numpy(),
            "cosine": result.cosine.cpu().numpy(),
            "texts": np.array(texts),
        }

    def rows() -> Iterator[list[object]]:
        yield ["text", *(f"cosine_{i}" for i in range(len(texts)))]
        for text, row in zip(texts, result.cosine.tolist(), strict=True):
            yield [text, *row]

    is_cut = any(encoding.is_cut for encoding in result.encodings)
    pooling = None if result.is_own else result.pooling
    command = build_command(
        "embed", explorer.info, texts, pooling=pooling, prompt=result.prompt, truncate=is_cut
    )
    return View("embed", command, payload, draw, arrays=arrays, rows=rows)
