"""A view's parameters on the page: its controls, and the typed arguments of its endpoint."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Literal, cast

from mbexplore.display.data import pick
from mbexplore.display.style import HELP, STYLES, FigureOptions, FigureStyle
from mbexplore.errors import UsageError
from mbexplore.views import View
from mbexplore.views.parameters import KINDS, SELECTED, Option, Parameter

FIRST = "first"
"""Argument of every endpoint: of a wide matrix, the first column that is drawn large."""
OTHERS = "others"
"""Argument of a view that reads several texts: those beside the page's own, one a line."""


NONE: dict[str, Any] = {"layer": 0, "head": -1, "token": -1, "integer": -1, "number": -1.0}
"""What stands for None in an endpoint's arguments; the empty text for every other kind."""


def settable(view: type[View[Any]]) -> list[Parameter]:
    """The parameters that a visitor of the page may set."""
    return [one for one in view.parameters if not one.option.local]


def parameters_of(view: type[View[Any]]) -> list[Parameter]:
    """A view's parameters and what only the page has."""

    def own(name: str, kind: Any, default: Any, label: str) -> Parameter:
        return Parameter(name, kind, default, False, (), Option(label=label))

    found = [*settable(view), own(FIRST, "integer", -1, "")]
    texts = list(takewhile(lambda one: one[:1] != "-", shlex.split(view.example)))
    others = texts[1:]  # so that there is something to see
    if view.reads == "texts" and others:
        found.insert(0, own(OTHERS, "lines", "\n".join(others), "other texts, one a line"))
    return found


def arguments_of(view: type[View[Any]]) -> list[inspect.Parameter]:
    """The endpoint's arguments for a view's parameters."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return [
        inspect.Parameter(one.name, kind, default=default_of(one), annotation=annotation_of(one))
        for one in parameters_of(view)
    ]


def controls_of(view: type[View[Any]]) -> list[dict[str, Any]]:
    """What the page needs to build a view's controls."""
    none = {one.name: NONE.get(one.kind, "") for one in view.parameters}
    return [
        {
            "name": one.name,
            "label": one.label or None,
            "help": one.option.help,
            "default": default_of(one),
            "only": {
                name: [none[name] if value is None else value for value in which]
                for name, which in one.option.only.items()
            },
            "kind": _control(one),
            "choices": list(one.choices),
            "wide": one.name in ("other", "pattern") or bool(one.option.separator),
            "beside": one.kind in SELECTED and one.kind != one.name,
        }
        for one in parameters_of(view)
    ]


def picture_controls() -> list[dict[str, Any]]:
    """The controls of a saved picture: one for each option of `FigureStyle`."""
    choices = {"style": list(STYLES)}
    return [
        {
            "name": one.name,
            "label": one.name,
            "help": HELP[one.name],
            "default": -1 if one.name == "dpi" else one.default or "",
            "kind": {"style": "choice", "dpi": "number"}.get(one.name, "text"),
            "choices": choices.get(one.name, []),
        }
        for one in dataclasses.fields(FigureStyle)
    ]


def build_picture(given: Mapping[str, Any]) -> FigureOptions:
    """What the page set of a picture's options; what it left empty is as usual.

    Raises:
        UsageError: there is no such option, or its value is of another type.
    """
    found = {name: value for name, value in given.items() if value not in ("", -1, None)}
    for name, value in found.items():
        wanted = int if name == "dpi" else str
        if name not in HELP or type(value) is not wanted:
            raise UsageError(f"A picture can't have {name} {value!r}; set {', '.join(HELP)}.")
    return cast(FigureOptions, found)


def build_view(view: type[View[Any]], given: Mapping[str, Any]) -> View[Any]:
    """A view with what the page gave; controls without an effect are left out.

    Raises:
        UsageError: an argument is unknown.
        MbexploreError: the view refuses a value.
    """
    known = {one.name: one for one in settable(view)}
    given = {name: value for name, value in given.items() if name not in (FIRST, OTHERS)}
    for name in given:
        if name not in known:
            raise UsageError(
                f"{view.name} has no parameter {name!r}; use {', '.join(known) or 'none'}."
            )
    required = {one.name: default_of(one) for one in view.parameters if one.is_required}
    values = {name: _plain(known[name], value) for name, value in (required | dict(given)).items()}
    return view.with_effect(values)


def default_of(one: Parameter) -> Any:
    """A parameter's default as the page has it."""
    return NONE.get(one.kind, "") if one.is_required else _on_page(one, one.default)


def guide_of(view: type[View[Any]]) -> dict[str, Any]:
    """A view's guide, its papers, and what the page sets to try its last line."""
    guide, shown = view.guide, ("authors", "year", "title", "url")
    papers = [pick(paper, *shown) for paper in view.papers]
    if guide is None:
        return {"lines": [], "papers": papers}
    other = guide.view or view
    known = {one.name: one for one in other.parameters}
    values = {name: _on_page(known[name], value) for name, value in guide.values.items()}
    if guide.texts[1:]:
        values[OTHERS] = "\n".join(guide.texts[1:])
    return {
        "lines": list(guide.lines.items()),
        "papers": papers,
        "view": other.name,
        "values": values,
        "text": guide.texts[0] if guide.texts else None,
    }


def _on_page(one: Parameter, value: Any) -> Any:
    """A parameter's value as the page writes it."""
    if value is None:
        return NONE.get(one.kind, "")
    between = f"{one.option.separator or ','} ".replace("\n ", "\n")
    return between.join(value) if one.kind == "texts" else value


def annotation_of(one: Parameter) -> Any:
    """A parameter's type, as the endpoint takes it."""
    if one.kind == "choice":
        return Literal[one.choices]
    return str if one.kind in ("texts", "lines") else KINDS[one.kind][1][0]


def _plain(one: Parameter, value: Any) -> Any:
    if one.option.separator and isinstance(value, str):
        return one.split(value)
    if one.kind == "texts" and isinstance(value, str):
        return tuple(re.split(r"[,\s]+", value.strip())) if value.strip() else ()
    if one.kind in ("text", "model") and isinstance(value, str):
        value = value.strip()
    return None if one.optional and value == NONE.get(one.kind, "") else value


def _control(one: Parameter) -> str:
    if one.kind == one.name:
        return "held"
    if one.option.separator == "\n":
        return "lines"
    numbers = dict.fromkeys(("integer", *SELECTED), "number")  # another token is no shared one
    return (numbers | {"texts": "text", "number": "decimal"}).get(one.kind, one.kind)
