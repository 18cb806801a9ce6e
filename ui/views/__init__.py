"""The views of the page, in the order of their tabs. A new one is a file and a line here."""

from __future__ import annotations

from ..protocol import PageView
from .predict import PREDICT

VIEWS: tuple[PageView, ...] = (PREDICT,)
