"""The views of the page, in the order of their tabs: those that are registered, by their groups."""

from __future__ import annotations

from typing import get_args

from mbexplore.views import REGISTRY
from mbexplore.views.view import Group

from ..protocol import PageView
from ..registered import RegisteredView
from .parity import PARITY

OLD: tuple[PageView, ...] = (PARITY,)


def build_views() -> tuple[PageView, ...]:
    """Every view that a page can show."""
    groups = get_args(Group)
    registered = sorted(REGISTRY.values(), key=lambda view: groups.index(view.group))
    old = tuple(view for view in OLD if view.name not in REGISTRY)
    return tuple(map(RegisteredView, registered)) + old


VIEWS = build_views()
