"""The views, one file each. Importing this registers all of them and loads nothing heavy."""

from __future__ import annotations

from mbexplore.views import attention as attention
from mbexplore.views import lens as lens
from mbexplore.views import model_view as model_view
from mbexplore.views import rope as rope
from mbexplore.views import rope_score as rope_score
from mbexplore.views.view import REGISTRY as REGISTRY
from mbexplore.views.view import View as View
