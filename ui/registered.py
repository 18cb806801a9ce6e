"""A view of the package as a view of the page: its parameters as controls, its blocks as parts."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any, Literal

from mbexplore.display.browser import to_parts
from mbexplore.errors import MissingError
from mbexplore.network.heads import ClassifierModel
from mbexplore.session import Session
from mbexplore.views import View
from mbexplore.views.parameters import SELECTED, Parameter

from .protocol import PageView, Shown
from .sessions import Desk

FIRST = "first"
"""Wish of every view: of a wide matrix, the first column that is drawn large."""
TYPES: dict[str, Any] = {
    "switch": bool, "integer": int, "number": float, "text": str, "layer": int, "head": int,
    "token": int, "model": str, "texts": str,
}  # fmt: skip
EMPTY = {"layer": 0, "head": 0, "token": -1, "text": "", "model": "", "texts": "", "integer": 0}
"""What the page sends for None."""


class RegisteredView(PageView):
    """One of the registered views on the page."""

    def __init__(self, view: type[View[Any]]) -> None:
        names = {one.name for one in view.parameters}
        super().__init__(
            view.name, view.title, lambda desk: Shown(()), view.question, quick=view.early,
            none=view.none, navigator=view.navigator,
            of_token=("token",) if {"token", "answer"} <= names or view.explains_answer else (),
        )  # fmt: skip
        object.__setattr__(self, "view", view)

    view: type[View[Any]]

    @property
    def wishes(self) -> dict[str, inspect.Parameter]:
        """The parameters, as the endpoint takes them."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        wishes = {
            one.name: inspect.Parameter(
                one.name, kind, default=_default(one), annotation=_annotation(one)
            )
            for one in self.view.parameters
        }
        return wishes | {FIRST: inspect.Parameter(FIRST, kind, default=-1, annotation=int)}

    def controls(self) -> list[dict[str, Any]]:
        """What the page needs to build the control bar."""
        made = [
            {
                "name": one.name,
                "label": one.label or None,
                "hint": "",
                "default": _default(one),
                "of_token": one.name in self.of_token,
                "only": {name: list(which) for name, which in one.option.only.items()},
                "kind": _kind(one),
                "beside": one.kind in SELECTED and one.kind != one.name,
            }
            | ({"choices": list(one.choices)} if one.kind == "choice" else {})
            for one in self.view.parameters
        ]
        none: dict[str, Any] = {"name": FIRST, "label": None, "hint": "", "default": -1,
                                "of_token": False, "only": {}, "kind": "number"}  # fmt: skip
        return [*made, none]

    def run(self, desk: Desk, wishes: Mapping[str, Any]) -> Shown:
        """The view of a desk."""
        given = self.check(wishes)
        first = given.pop(FIRST, -1)
        values: dict[str, Any] = {}
        for one in self.view.parameters:
            if one.name in given or one.is_required:
                value = given.get(one.name, EMPTY.get(one.kind))
                is_none = one.optional and value == EMPTY.get(one.kind) and one.kind != "head"
                if one.kind == "texts":
                    value = tuple(re.split(r"[,\s]+", value.strip())) if value.strip() else ()
                values[one.name] = None if is_none else value
        for one in self.view.parameters:  # a hidden control has no effect
            if one.name in values and not one.has_effect({**self._defaults, **values}):
                del values[one.name]
        session = session_of(desk)
        reads_whole = isinstance(desk.explorer.model, ClassifierModel) and self.of_token
        if self.view.explains_answer or reads_whole:
            values["token"] = session.answer_position(values.get("token"))
        try:
            result = self.view(**values).of(session)
        except MissingError as error:
            return Shown([{"kind": "note", "text": str(error)}])
        parts = to_parts(result.blocks, None if first < 0 else first)
        rest = [part for part in parts if part["kind"] != "headline"]
        return Shown(rest, result, result.headline)  # type: ignore[arg-type]

    @property
    def _defaults(self) -> dict[str, Any]:
        return {one.name: one.default for one in self.view.parameters}


def session_of(desk: Desk) -> Session:
    """The session of what lies on a desk."""

    def make() -> Session:
        return Session(
            desk.explorer, desk.encoding, recording=desk.recording,
            progress=lambda *step: desk.progress.move(*step),
            open_model=lambda name: desk.beside(desk.encoding.text, name).explorer,
        )  # fmt: skip

    return desk.once("session", make)


def _kind(one: Parameter) -> str:
    if one.kind == one.name:
        return "held"
    numbers = dict.fromkeys(("integer", *SELECTED), "number")  # another token is no shared one
    return (numbers | {"texts": "text", "number": "decimal"}).get(one.kind, one.kind)


def _default(one: Parameter) -> Any:
    if one.default is dataclasses.MISSING or one.default is None or one.default == ():
        return EMPTY.get(one.kind)
    return one.default


def _annotation(one: Parameter) -> Any:
    return Literal[one.choices] if one.kind == "choice" else TYPES[one.kind]
