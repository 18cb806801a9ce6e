"""What a view of the page is, and how its function becomes a control bar and a named endpoint.

A view's function takes a desk and its wishes as typed parameters, and gives the parts to show and
the `View` to save. From its signature come the endpoint that `gradio_client` calls and the page's
controls: `layer`, `head` and `token` are what the page holds for all views, a `bool` is a switch,
a `Literal` a choice, an `int` a number, a `str` a line of text; `other_model` is a choice of the
open models.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mbexplore.errors import UsageError
from mbexplore.views.old import View

from .sessions import Desk

Part = dict[str, Any]
"""One thing to show, JSON-ready; `parts.py` makes them and static/parts.js draws them."""

HELD = ("layer", "head", "token")
"""Wishes that the page holds for all views; a token of -1 is none."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What a view's function gives.

    Attributes:
        parts: what the page draws.
        view: what is saved, and the command that makes it; None where there is nothing yet.
        head_line: one sentence above the parts.
    """

    parts: Sequence[Part]
    view: View | None = None
    head_line: str = ""


@dataclass(frozen=True, eq=False)
class PageView:
    """One view of the page.

    Attributes:
        name: of its endpoint and in the address, "predict".
        title: on its tab; "" for one without a tab, that others ask for.
        show: from a desk and wishes to what is shown.
        about: one sentence: what there is to see.
        labels: of the wishes that get a control of their own; the others get none.
        hints: what an empty line of text stands for.
        only: for a wish that changes nothing by itself: the values of others with which it does.
        of_token: wishes without a meaning where the model's answer is about the whole text.
        none: what is shown where no token is held; "" where the first mask stands for it.
        quick: wishes of an early answer, drawn where the whole one takes long.
        navigator: name of a view that stands beside it, on which a head is chosen.
    """

    name: str
    title: str
    show: Callable[..., Shown]
    about: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    of_token: Sequence[str] = ()
    none: str = ""
    quick: Mapping[str, Any] = field(default_factory=dict)
    navigator: str = ""

    @property
    def wishes(self) -> dict[str, inspect.Parameter]:
        """The function's parameters after the desk, with their types resolved."""
        hints = get_type_hints(self.show)
        _, *parameters = inspect.signature(self.show).parameters.values()
        return {p.name: p.replace(annotation=hints[p.name]) for p in parameters}

    def controls(self) -> list[dict[str, Any]]:
        """What the page needs to build the view's control bar."""
        return [
            {
                "name": name,
                "label": self.labels.get(name),
                "hint": self.hints.get(name, ""),
                "default": wish.default,
                "of_token": name in self.of_token,
                "only": {other: list(which) for other, which in self.only.get(name, {}).items()},
            }
            | _kind_of_control(name, wish.annotation)
            for name, wish in self.wishes.items()
        ]

    def check(self, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Wishes as the function takes them; what is missing has its default.

        Raises:
            UsageError: a wish is unknown, or is not of its type.
        """
        known = self.wishes
        for name, value in wishes.items():
            if name not in known:
                raise UsageError(
                    f"{self.name} knows no {name!r}; it knows {', '.join(known) or 'no wishes'}."
                )
            if not _fits(value, known[name].annotation):
                raise UsageError(f"{name} can't be {value!r}; {_allowed(known[name].annotation)}.")
        return dict(wishes)

    def run(self, desk: Desk, wishes: Mapping[str, Any]) -> Shown:
        """The view of a desk.

        Raises:
            MbexploreError: a wish can't be met.
        """
        return self.show(desk, **self.check(wishes))


def _kind_of_control(name: str, annotation: Any) -> dict[str, Any]:
    if name in HELD:
        return {"kind": "held"}
    if name == "other_model":
        return {"kind": "model"}
    if annotation is bool:
        return {"kind": "switch"}
    if get_origin(annotation) is Literal:
        return {"kind": "choice", "choices": list(get_args(annotation))}
    return {"kind": "number" if annotation is int else "text"}


def _fits(value: Any, annotation: Any) -> bool:
    if get_origin(annotation) is Literal:
        return value in get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(annotation))
    if get_origin(annotation) is list:
        [inner] = get_args(annotation)
        return isinstance(value, list) and all(_fits(one, inner) for one in value)
    if annotation is float:
        return type(value) in (int, float)
    return type(value) is annotation


def _allowed(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "choose " + ", ".join(map(str, get_args(annotation)))
    return f"it is {getattr(annotation, '__name__', str(annotation))}"
