"""The views, one file each. Importing this registers all of them and loads nothing heavy."""

from __future__ import annotations

from mbexplore.views import ablate as ablate
from mbexplore.views import attention as attention
from mbexplore.views import attribute as attribute
from mbexplore.views import compare as compare
from mbexplore.views import cosine as cosine
from mbexplore.views import embed as embed
from mbexplore.views import heads as heads
from mbexplore.views import info as info
from mbexplore.views import lens as lens
from mbexplore.views import likelihood as likelihood
from mbexplore.views import mix as mix
from mbexplore.views import model_view as model_view
from mbexplore.views import neurons as neurons
from mbexplore.views import pairs as pairs
from mbexplore.views import patch as patch
from mbexplore.views import predict as predict
from mbexplore.views import residual as residual
from mbexplore.views import rope as rope
from mbexplore.views import rope_score as rope_score
from mbexplore.views import score as score
from mbexplore.views import verify as verify
from mbexplore.views.view import REGISTRY as REGISTRY
from mbexplore.views.view import View as View

ORDER = (
    "predict", "attention", "model-view", "attribute", "mix", "lens", "residual", "ablate",
    "patch", "heads", "neurons", "token-neurons", "score", "likelihood", "pairs", "compare",
    "embed", "cosine", "rope", "rope-score", "verify", "info",
)  # fmt: skip
"""Of tabs and panes; views that a program adds follow."""

for _name in reversed(ORDER):
    _others = {name: view for name, view in REGISTRY.items() if name != _name}
    _first = {_name: REGISTRY[_name]}
    REGISTRY.clear()
    REGISTRY.update(_first | _others)
