"""Logits at masked places of texts: the one step that scores of words and sentences are made of.

The same algorithm runs on our model and on Hugging Face's; only the function that gives the logits
differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from torch import Tensor

from mbexplore.analysis.target import upcast
from mbexplore.explorer import Explorer, check_finite
from mbexplore.network.packing import run_packed


class Query(NamedTuple):
    """A text and where it is read.

    Attributes:
        ids: of its tokens, some of them masks.
        positions: whose logits are wanted, rising.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]


Run: TypeAlias = Callable[[Sequence[Query]], Iterator[Tensor]]
"""The logits (position, vocab) of each query, float32 or wider, in their order."""


def run_ours(explorer: Explorer) -> Run:
    """Our model, texts packed side by side.

    Raises:
        ModelError: it has no MLM head; or, when run, its numbers are not finite.
    """
    model = explorer.masked_lm()

    def run(queries: Sequence[Query]) -> Iterator[Tensor]:
        ids, positions = [one.ids for one in queries], [one.positions for one in queries]
        for logits in run_packed(model, ids, positions):
            check_finite(model, logits)
            yield upcast(logits)

    return run


def run_theirs(explorer: Explorer) -> Run:
    """Hugging Face's transformers on the same weights.

    Raises:
        TransformersError: it can't open or run the model.
    """
    reference = explorer.reference

    def run(queries: Sequence[Query]) -> Iterator[Tensor]:
        ids, positions = [one.ids for one in queries], [one.positions for one in queries]
        yield from map(upcast, reference.logits_many(ids, positions))

    return run
