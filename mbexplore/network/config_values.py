"""Values of config.json that are lists or objects. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mbexplore.errors import ModelError
from mbexplore.text import quoted

MOST_LABELS = 100_000
"""More than any model has: what is listed one by one must fit in memory before the file is read."""


def read_object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; an empty one where there is none.

    Raises:
        ModelError: it is something else.
    """
    value = values.get(name)
    if value is not None and not isinstance(value, dict):
        raise ModelError(f"{name} is {quoted(value)} in config.json; it must be an object.")
    return value or {}


def read_architectures(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the classes that the weights belong to.

    Raises:
        ModelError: they are no list of names.
    """
    names = values.get("architectures")
    if names is not None and not (
        isinstance(names, list) and all(isinstance(name, str) for name in names)
    ):
        raise ModelError(
            f"architectures is {quoted(names)} in config.json; it must be a list of names."
        )
    return tuple(names or ())


def read_labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Labels by id; without any, `num_labels` (or two) with the names transformers gives.

    Raises:
        ModelError: they are too many, or don't count from 0.
    """
    names = read_object(values, "id2label")
    if len(names) > MOST_LABELS:
        raise ModelError(
            f"id2label has {len(names):,} labels in config.json; it must have {MOST_LABELS:,} or "
            "fewer."
        )
    count = values.get("num_labels", 2)
    if not names or (type(count) is int and "num_labels" in values and count != len(names)):
        if type(count) is not int or not 1 <= count <= MOST_LABELS:
            raise ModelError(
                f"num_labels is {quoted(count)} in config.json; it must be a whole number from 1 "
                f"to {MOST_LABELS:,}."
            )
        return tuple(f"LABEL_{i}" for i in range(count))
    by_id = {str(i): str(label) for i, label in names.items()}
    if by_id.keys() != {str(i) for i in range(len(by_id))}:
        raise ModelError(
            f"id2label has the ids {quoted(list(by_id))} in config.json; they must count from 0."
        )
    return tuple(by_id[str(i)] for i in range(len(by_id)))
