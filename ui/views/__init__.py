"""The views of the page, in the order of their tabs. A new one is a file and a line here."""

from __future__ import annotations

from mbexplore.views import REGISTRY

from ..protocol import PageView
from ..registered import RegisteredView
from .attention import ATTENTION
from .attribute import ATTRIBUTE
from .compare import COMPARE
from .knockout import KNOCKOUT
from .model_view import MODEL_VIEW
from .parity import PARITY
from .patch import PATCH

VIEWS: tuple[PageView, ...] = (
    RegisteredView(REGISTRY["predict"]),
    ATTENTION,
    MODEL_VIEW,
    RegisteredView(REGISTRY["rope"]),
    RegisteredView(REGISTRY["rope-score"]),
    RegisteredView(REGISTRY["residual"]),
    RegisteredView(REGISTRY["neurons"]),
    RegisteredView(REGISTRY["token-neurons"]),
    RegisteredView(REGISTRY["heads"]),
    RegisteredView(REGISTRY["lens"]),
    KNOCKOUT,
    PATCH,
    ATTRIBUTE,
    COMPARE,
    PARITY,
)
