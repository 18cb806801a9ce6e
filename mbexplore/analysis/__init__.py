"""Recordings to small plain data, one idea a file. Knows no file format and no picture.

`dir()` lists the analyses; each is a module, loaded when it is first asked for:
`mbexplore.analysis.lens.lens(explorer, text)`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

__all__ = sorted(module.name for module in iter_modules(__path__))


def __getattr__(name: str) -> ModuleType:
    """Loads an analysis when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return __all__
