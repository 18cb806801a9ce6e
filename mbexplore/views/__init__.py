"""The views, one file each. Importing this registers all of them and loads nothing heavy."""

from __future__ import annotations

from mbexplore.views import lens as lens
from mbexplore.views.view import REGISTRY as REGISTRY
from mbexplore.views.view import View as View
