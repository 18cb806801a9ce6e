"""Writes mbexplore/views/typed.pyi, the methods of `Explorer` for editors: -m tests.typed."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path

from mbexplore.views import REGISTRY, View
from mbexplore.views.result import Result

FILE = Path(__file__).parents[1] / "mbexplore" / "views" / "typed.pyi"
HEAD = '''\
"""The methods of `Explorer` as type checkers and editors see them: python -m tests.typed."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

'''
HELPERS = """\

P = ParamSpec("P")
Data = TypeVar("Data")
Texts = str | list[str] | tuple[str, ...]

def of_text(view: Callable[P, View[Data]]) -> Callable[Concatenate[Any, str, P], Result[Data]]: ...
def of_texts(
    view: Callable[P, View[Data]],
) -> Callable[Concatenate[Any, Texts, P], Result[Data]]: ...
def of_model(view: Callable[P, View[Data]]) -> Callable[Concatenate[Any, P], Result[Data]]: ...

class ViewMethods:
"""


def source() -> str:
    """The stub for the views of the package."""
    views = [one for one in REGISTRY.values() if one.__module__.startswith("mbexplore.views.")]
    names = [(one.__module__, one.__name__) for one in (*views, Result, View)]
    imports = "".join(
        f"from {module} import {', '.join(name for _, name in some)}\n"
        for module, some in groupby(sorted(names), key=itemgetter(0))
    )
    methods = "".join(f"    {one.method} = of_{one.reads}({one.__name__})\n" for one in views)
    return HEAD + imports + HELPERS + methods


if __name__ == "__main__":
    FILE.write_text(source(), encoding="utf-8")
