"""Answers as plain JSON-ready data, in the forms that `--json` promises. Knows no skin."""

from __future__ import annotations

import dataclasses
from typing import Any

from mbexplore.analysis.links import Link
from mbexplore.explorer import ModelInfo
from mbexplore.recording import Recording


def attention_payload(
    info: ModelInfo, recording: Recording, layer: int, heads: list[int], links: tuple[Link, ...]
) -> dict[str, Any]:
    """`attention --json`."""
    config = recording.config
    return {
        "model": dataclasses.asdict(info),
        "layer": layer,
        "kind": config.layer_kinds[layer],
        "theta": config.theta(layer),
        "half_window": config.half_window(layer),
        "tokens": list(recording.encoding.tokens),
        "heads": heads,
        "links": [dataclasses.asdict(link) for link in links],
    }
