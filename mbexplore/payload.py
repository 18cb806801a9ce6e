"""Answers as plain JSON-ready data, in the forms that `--json` promises. Knows no skin."""

from __future__ import annotations

import dataclasses
from typing import Any

from mbexplore.analysis.links import Link
from mbexplore.explorer import Answer, Comparison, MaskPredictions, ModelInfo
from mbexplore.recording import Recording


def predict_payload(answer: Answer, comparison: Comparison | None) -> dict[str, Any]:
    """`predict --json`: without a comparison, the two hf keys are absent."""
    masks: list[dict[str, Any]] = [
        {"position": mask.position, "predictions": _predictions(mask)} for mask in answer.masks
    ]
    payload = {
        "model": dataclasses.asdict(answer.model),
        "text": answer.encoding.text,
        "tokens": list(answer.encoding.tokens),
        "masks": masks,
    }
    if comparison is not None:
        for mask, theirs in zip(masks, comparison.masks, strict=True):
            mask["hf_predictions"] = _predictions(theirs)
        payload["hf"] = {
            "version": comparison.version,
            "max_abs_logit_difference": comparison.max_abs_logit_difference,
            "same_top_k": comparison.same_top_k,
        }
    return payload


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


def _predictions(mask: MaskPredictions) -> list[dict[str, Any]]:
    return [
        {"token": p.token, "id": p.token_id, "probability": p.probability, "logit": p.logit}
        for p in mask.predictions
    ]
