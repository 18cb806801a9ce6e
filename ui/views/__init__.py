"""The views of the page, in the order of their tabs. A new one is a file and a line here."""

from __future__ import annotations

from mbexplore.views import REGISTRY

from ..protocol import PageView
from ..registered import RegisteredView
from .activations import ACTIVATIONS
from .attribute import ATTRIBUTE
from .compare import COMPARE
from .knockout import KNOCKOUT
from .parity import PARITY
from .patch import PATCH
from .predict import PREDICT

VIEWS: tuple[PageView, ...] = (
    PREDICT,
    RegisteredView(REGISTRY["attention"]),
    RegisteredView(REGISTRY["model-view"]),
    RegisteredView(REGISTRY["rope"]),
    RegisteredView(REGISTRY["rope-score"]),
    ACTIVATIONS,
    RegisteredView(REGISTRY["lens"]),
    KNOCKOUT,
    PATCH,
    ATTRIBUTE,
    COMPARE,
    PARITY,
)
