"""Look inside ModernBERT.

    >>> import mbexplore
    >>> explorer = mbexplore.load("tiny")
    >>> result = explorer.predict("The capital of France is [MASK].")  # a view
    >>> recording = explorer.record("The capital of France is Paris.")
    >>> recording.attention(layer=3).shape  # (heads, query, key)

Importing the package loads nothing heavy; torch comes with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mbexplore.renamed import current_name

if TYPE_CHECKING:
    from mbexplore_ui.serve import ui

    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.errors import MbexploreError
    from mbexplore.explorer import Explorer, load
    from mbexplore.network.config import ModernBertConfig
    from mbexplore.network.model import ModernBertForMaskedLM, ModernBertModel
    from mbexplore.recording import Recording
    from mbexplore.views import View
    from mbexplore.views.result import Result

__version__ = "0.1.0"

_HOME_OF = {
    "Encoding": "checkpoints.tokenizer",
    "Explorer": "explorer",
    "MbexploreError": "errors",
    "ModernBertConfig": "network.config",
    "ModernBertForMaskedLM": "network.model",
    "ModernBertModel": "network.model",
    "Recording": "recording",
    "Result": "views.result",
    "View": "views",
    "load": "explorer",
}

__all__ = [
    "Encoding",
    "Explorer",
    "MbexploreError",
    "ModernBertConfig",
    "ModernBertForMaskedLM",
    "ModernBertModel",
    "Recording",
    "Result",
    "View",
    "load",
    "ui",
]


def __getattr__(name: str) -> Any:
    """Loads a public name from its module when it is first asked for."""
    now = current_name("name", name)
    if now != name:
        return globals().get(now) or __getattr__(now)
    if name == "ui":
        return import_module("mbexplore_ui.serve").ui
    if name not in _HOME_OF:
        raise AttributeError(f"module 'mbexplore' has no attribute {name!r}")
    found = getattr(import_module(f"mbexplore.{_HOME_OF[name]}"), name)
    if _HOME_OF[name] == "explorer":
        from mbexplore.explorer import Explorer
        from mbexplore.views.methods import Methods

        Explorer.methods = Methods()
    return found


def __dir__() -> list[str]:
    return [*globals(), *__all__]
