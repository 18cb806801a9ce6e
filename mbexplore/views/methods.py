"""Views as methods of `Explorer`: `explorer.lens("The capital of France is [MASK].")`.

`Explorer` finds every registered view by name, those that a program adds too; type checkers and
editors read `typed.pyi`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mbexplore.renamed import current_name
from mbexplore.sample import sample_text
from mbexplore.views.parameters import Parameter
from mbexplore.views.view import REGISTRY, View

if TYPE_CHECKING:
    from mbexplore.explorer import Explorer
    from mbexplore.views.result import Result


def build_method(view: type[View[Any]]) -> Callable[..., Result[Any]]:
    """A function of an explorer, what the view reads, and the view's parameters."""

    def method(explorer: Explorer, *given: Any, **parameters: Any) -> Result[Any]:
        from mbexplore.session import Session

        parameters = {current_name("keyword", one, view.name): x for one, x in parameters.items()}
        bound = signature.bind(explorer, *given, **parameters).arguments
        bound.pop("self")
        text = bound.pop("text", bound.pop("texts", None))
        if text is None:
            text = sample_text() if view.sample else ()
        # The bundled sample is nobody's text: a model of short texts sees its beginning.
        is_sample = text is not None and view.sample and text == sample_text()
        session = Session(explorer, text, context=bound.pop("context", None), truncate=is_sample)
        return view(**bound).of(session)

    kind = inspect.Parameter
    reads = {
        "text": [kind("text", kind.POSITIONAL_OR_KEYWORD, annotation=str)],
        "texts": [kind("texts", kind.POSITIONAL_OR_KEYWORD, annotation="str | list[str]")],
        "model": [],
    }[view.reads]
    if view.sample:
        reads = [one.replace(default=None) for one in reads]
    first = [one for one in view.parameters if one.option.positional]
    rest = [one for one in view.parameters if not one.option.positional]
    signature = inspect.Signature(
        [
            kind("self", kind.POSITIONAL_ONLY),
            *reads,
            *(_keyword(view, one, kind.POSITIONAL_OR_KEYWORD) for one in first),
            *(_keyword(view, one, kind.KEYWORD_ONLY) for one in rest),
            *([kind("context", kind.KEYWORD_ONLY, default=None)] if view.reads != "model" else []),
        ],
        return_annotation="Result",
    )
    method.__name__ = method.__qualname__ = view.method
    method.__doc__ = describe(view)
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method


def _keyword(view: type[View[Any]], one: Parameter, kind: Any) -> inspect.Parameter:
    import dataclasses

    default = inspect.Parameter.empty if one.default is dataclasses.MISSING else one.default
    return inspect.Parameter(
        one.name, kind, default=default, annotation=view.__annotations__.get(one.name)
    )


def describe(view: type[View[Any]]) -> str:
    """The docstring of a view's method: what it shows, its parameters, limits and papers."""
    lines = [(view.__doc__ or view.question).strip().split("\n")[0], "", view.question, ""]
    if view.parameters:
        lines += ["Args:", *(f"    {one.name}: {one.option.help}" for one in view.parameters), ""]
    lines += [view.limits] if view.limits else []
    lines += [f"Source: {paper}" for paper in view.papers]
    return "\n".join(lines).strip()


class Methods(Mapping[str, Callable[..., Any]]):
    """Every registered view's method, by its name."""

    def __getitem__(self, name: str) -> Callable[..., Any]:
        """The method of that name; `Explorer` binds it."""
        for view in REGISTRY.values():
            if view.method == name:
                return build_method(view)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(view.method for view in REGISTRY.values())

    def __len__(self) -> int:
        return len(REGISTRY)
