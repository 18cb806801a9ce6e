"""Examples of a finished corpus with what passed in the model.

It is computed again by the model that built the corpus, so a store needs to hold no map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mbexplore.corpus.reader import Store
from mbexplore.explorer import Explorer
from mbexplore.recording import Recording


@dataclass(frozen=True, eq=False)
class Example:
    """One use of a head, a neuron or a feature.

    Attributes:
        interval: "strongest", or from which strength on.
        id: of the text in its file.
        tokens: of the text.
        position: of the query, or of the token where the neuron fires.
        key: of the key; None for a neuron.
        value: the weight, or the activation.
        values: (seq,) the query's weights, or the neuron's activations.
    """

    interval: str
    id: str
    tokens: tuple[str, ...]
    position: int
    key: int | None
    value: float
    values: npt.NDArray[np.float32]


Chosen = list[tuple[dict[str, Any], dict[str, Any]]]


def choose(rows: Sequence[dict[str, Any]], strongest: int, sampled: int) -> Chosen:
    """The examples that are shown, the strongest first; their texts follow in `record`."""
    most = {"strongest": strongest}
    return [(one, {}) for one in rows if one["rank"] < most.get(one["interval"], sampled)]


def record(
    explorer: Explorer, store: Store, chosen: Chosen, keep: Sequence[str]
) -> dict[int, Recording]:
    """A recording of each example's text; fills in the texts of `chosen`."""
    numbers = sorted({one["text"] for one, _ in chosen})
    if not numbers:
        return {}
    texts = {one["text"]: one for one in store.rows("texts", text=numbers)}
    for one, text in chosen:
        text.update(texts[one["text"]])
    contents = [texts[number]["content"] for number in numbers]
    truncate = bool(store.manifest["truncate"])
    made = explorer.record_many(contents, keep=keep, truncate=truncate)
    return dict(zip(numbers, made, strict=True))


def example_of(
    row: dict[str, Any], text: dict[str, Any], position: int, key: int | None, value: float,
    values: Any,
) -> Example:  # fmt: skip
    """An example out of the rows of its table and its text, with the values around it."""
    numbers = values.float().cpu().numpy()
    tokens = tuple(text["tokens"])
    return Example(row["interval"], text["id"], tokens, position, key, value, numbers)
