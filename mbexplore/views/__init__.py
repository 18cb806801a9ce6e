"""The views, one file each. Importing this registers all of them and loads nothing heavy.

A file whose name begins with an underscore is a part of a view and may load what it likes.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from mbexplore.views.view import REGISTRY as REGISTRY
from mbexplore.views.view import View as View
from mbexplore.views.view import sort_views

for _module in iter_modules(__path__):
    if not _module.name.startswith("_"):
        import_module(f"{__name__}.{_module.name}")
sort_views()
