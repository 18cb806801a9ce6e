"""The model view: every head of every layer at a glance, beside the held one of Attention."""

from __future__ import annotations

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.maps import model_maps
from mbexplore.views.attention import view_model

from ..parts import shades
from ..protocol import PageView, Part, Shown
from ..sessions import Desk

THUMBNAIL = 32
"""Rows and columns of each map."""


def show(desk: Desk, words: bool = False, special: bool = True, mean: bool = False) -> Shown:
    """Every head of every layer as a small map.

    Args:
        desk: the text and the model.
        words: whether the pieces of a word are one.
        special: whether [CLS] and [SEP] are shown.
        mean: the mean of each layer's heads in their place.
    """
    axis = build_axis(desk.encoding, words=words, hide_special=not special)
    maps = desk.once(
        ("model view", words, special, mean),
        lambda: model_maps(
            desk.recording, None, THUMBNAIL, axis, mean=mean, progress=desk.progress.move
        ),
    )
    layers = [
        {"kind": each.kind, "maps": [shades(one, float(one.max())) for one in each.weights]}
        for each in maps
    ]
    part: Part = {"kind": "thumbs", "size": maps[0].weights.shape[-1], "layers": layers}
    return Shown([part], view_model(desk.explorer, desk.recording, maps))


MODEL_VIEW = PageView(name="model_view", title="", show=show)
