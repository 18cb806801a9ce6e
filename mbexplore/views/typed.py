"""The methods of `Explorer` as type checkers and editors see them. Loaded by those alone."""

from __future__ import annotations

from mbexplore.views.attention import AttentionView
from mbexplore.views.lens import LensView
from mbexplore.views.methods import of_model, of_text
from mbexplore.views.model_view import ModelMapsView
from mbexplore.views.rope import RopeView
from mbexplore.views.rope_score import RopeScoreView


class ViewMethods:
    """A method for every view that comes along."""

    attention = of_text(AttentionView)
    lens = of_text(LensView)
    model_view = of_text(ModelMapsView)
    rope = of_model(RopeView)
    rope_score = of_text(RopeScoreView)
