"""The methods of `Explorer` as type checkers and editors see them. Loaded by those alone."""

from __future__ import annotations

from mbexplore.views.lens import LensView
from mbexplore.views.methods import of_model, of_text
from mbexplore.views.rope import RopeView
from mbexplore.views.rope_score import RopeScoreView


class ViewMethods:
    """A method for every view that comes along."""

    lens = of_text(LensView)
    rope = of_model(RopeView)
    rope_score = of_text(RopeScoreView)
