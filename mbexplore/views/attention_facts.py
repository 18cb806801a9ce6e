"""What all views of attention say alike: their payload's head, their command, a link's row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from mbexplore.analysis.axis import Axis
from mbexplore.analysis.maps import Link
from mbexplore.explorer import Explorer
from mbexplore.network.config import ModernBertConfig
from mbexplore.recording import Recording
from mbexplore.views.old import build_command

LINK_COLUMNS = ("layer", "head", "query", "query_token", "key", "key_token", "weight")


def about(
    explorer: Explorer, axis: Axis, head: int | None, mean: bool, view: str
) -> dict[str, Any]:
    """What the payload of every view says first."""
    heads = explorer.model.config.num_attention_heads
    return {
        "model": dataclasses.asdict(explorer.info),
        "view": view,
        "unit": axis.unit,
        "tokens": list(axis.labels),
        "spans": [list(span) for span in axis.spans],
        "heads": list(range(heads)) if head is None else [head],
        "mean": mean,
    }


def layer_facts(config: ModernBertConfig, layer: int) -> dict[str, Any]:
    """What the payload says of a layer."""
    return {
        "layer": layer,
        "kind": config.layer_kinds[layer],
        "theta": config.theta(layer),
        "half_window": config.half_window(layer),
    }


def attention_command(
    explorer: Explorer, recording: Recording, axis: Axis, **wishes: object
) -> list[str]:
    """The arguments that show this axis of this text again; see `build_command`."""
    zoom = None if axis.bounds is None else f"{axis.bounds[0]}:{axis.bounds[1]}"
    return build_command(
        "attention", explorer.info, recording.encoding, **wishes, tokens=zoom, words=axis.words,
        hide_special=axis.hide_special,
    )  # fmt: skip


def link_rows(layer: int, axis: Axis, found: tuple[Link, ...]) -> Iterator[tuple[object, ...]]:
    """Links as rows under `LINK_COLUMNS`; a word's number is its first token's."""
    for link in found:
        (query, _), (key, _) = axis.spans[link.query], axis.spans[link.key]
        names = axis.labels[link.query], axis.labels[link.key]
        yield layer, link.head, query, names[0], key, names[1], link.weight
