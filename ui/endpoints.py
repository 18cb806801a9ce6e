"""The page's endpoints: one a view, and what is asked about the text itself.

A mistake of the person is a sentence in the answer, not a failure of the server.
"""

from __future__ import annotations

import inspect
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import gradio as gr

from mbexplore.display.browser import to_parts
from mbexplore.errors import MbexploreError, MissingError, UsageError
from mbexplore.network.heads import ClassifierModel
from mbexplore.session import Session
from mbexplore.views import REGISTRY, View
from mbexplore.views.result import Result

from .controls import FIRST, arguments_of, build_view
from .sessions import Sessions, kept_beginning
from .text import chips, toggled

Answer = dict[str, Any]
PUBLIC = ("tokens", "toggle", "beginning", "progress", "stop", "save")
"""Endpoints for other programs, besides the views."""


class Endpoints:
    """Everything that a page may ask, by name: `call("lens", page, "tiny", "A [MASK].")`."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.functions: dict[str, Callable[..., Any]] = {
            "tokens": self.tokens,
            "toggle": self.toggle,
            "beginning": self.beginning,
            "progress": self.progress,
            "stop": self.stop,
            "leave": self.leave,
            "save": self.save,
        }

    def call(self, name: str, page: str, *given: Any) -> Any:
        """An endpoint's answer, or `{"error": sentence}`."""
        try:
            if name not in self.functions:
                return self.show(find_view(name), page, *given)
            return self.functions[name](page, *given)
        except MbexploreError as error:
            return {"error": str(error)}

    def show(self, view: type[View[Any]], page: str, model: str, text: str, *values: Any) -> Answer:
        """A view of a text: its headline, its parts, its command and how it can be saved."""
        start = time.perf_counter()
        names = [one.name for one in arguments_of(view)]
        given = dict(zip(names, values, strict=False))
        first = given.pop(FIRST, -1)
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            try:
                result = self._result(view, session, given)
            except MissingError as error:  # a second text, say, that can be typed now
                note = {"kind": "note", "text": str(error)}
                return {"line": "", "parts": [note], "command": "", "formats": [], "seconds": 0.0}
            parts = to_parts(result.blocks, None if first < 0 else first)
        return {
            "line": result.headline,
            "parts": [part for part in parts if part["kind"] != "headline"],
            "command": result.command,
            "formats": list(result.formats),
            "seconds": round(time.perf_counter() - start, 4),
        }

    def _result(self, view: type[View[Any]], session: Session, given: Answer) -> Result[Any]:
        names = {one.name for one in view.parameters}
        is_whole = isinstance(session.explorer.model, ClassifierModel)
        if view.explains_answer or (is_whole and {"token", "answer"} <= names):
            selected = given.get("token", -1)
            position = session.answer_position(selected if selected >= 0 else None)
            given = given | {"token": -1 if position is None else position}
        return build_view(view, given).of(session)

    def save(
        self, page: str, view: str, ending: str, model: str, text: str, values: Answer
    ) -> Answer:
        """A view as a file: its name, and its bytes in base64."""
        shown = find_view(view)
        given = {name: value for name, value in values.items() if name != FIRST}
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            result = self._result(shown, session, given)
            content = b64encode(result.content(ending)).decode()
        return {"name": f"{result.name}.{ending}", "data": content}

    def tokens(self, page: str, model: str, text: str) -> Answer:
        """The tokens of a text, and whether the model can take it."""
        return {"tokens": chips(self.sessions.session(page, model, text).encoding)}

    def toggle(
        self, page: str, model: str, text: str, first: int, last: int, masked_words: list[str]
    ) -> Answer:
        """The text with tokens first to last masked, or unmasked where all of them are masks."""
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            changed, words = toggled(session.encoding, first, last, masked_words, answers(session))
        return {"text": changed, "masked_words": words}

    def beginning(self, page: str, model: str, text: str) -> str:
        """As much of a text's beginning as the model takes."""
        return kept_beginning(self.sessions.model(model), text)

    def progress(self, page: str) -> dict[str, int]:
        """How far the work for this page is; 0 of 0 where no steps are counted."""
        work = self.sessions.work(page)
        return {"done": work.done, "total": work.total}

    def stop(self, page: str) -> None:
        """Ends the work for this page that has begun, at its next step."""
        self.sessions.work(page).stop()

    def leave(self, page: str) -> None:
        """Forgets what the page holds."""
        self.sessions.drop(page)

    def public(self) -> list[Callable[..., Any]]:
        """The endpoints for other programs, named and typed; their page is Gradio's session."""
        return [
            *(self._public_view(view) for view in views().values()),
            *(self._public(name, self.functions[name]) for name in PUBLIC),
        ]

    def _public_view(self, view: type[View[Any]]) -> Callable[..., Answer]:
        def endpoint(request: gr.Request, model: str, text: str, *values: Any) -> Answer:
            answer: Answer = guarded(
                lambda: self.show(view, request.session_hash or "", model, text, *values)
            )
            return answer

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        parameters = [
            inspect.Parameter("request", kind, annotation=gr.Request),
            inspect.Parameter("model", kind, annotation=str),
            inspect.Parameter("text", kind, annotation=str),
            *arguments_of(view),
        ]
        doc = f"{view.question} {view.__doc__}"
        return _named(endpoint, view.name.replace("-", "_"), parameters, doc)

    def _public(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def endpoint(request: gr.Request, *values: Any) -> Any:
            return guarded(lambda: function(request.session_hash or "", *values))

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        signature = inspect.signature(function, eval_str=True)
        _, *rest = signature.parameters.values()
        parameters = [inspect.Parameter("request", kind, annotation=gr.Request), *rest]
        return _named(endpoint, name, parameters, function.__doc__ or "")


def views() -> dict[str, type[View[Any]]]:
    """The views that the page has: all but those of files, since it must not read the server's."""
    return {name: view for name, view in REGISTRY.items() if not view.needs_file()}


def find_view(name: str) -> type[View[Any]]:
    """The view of that name.

    Raises:
        UsageError: the page has none.
    """
    if name not in views():
        raise UsageError(f"There is no view {name!r}; choose one of {', '.join(views())}.")
    return REGISTRY[name]


def _named(
    endpoint: Callable[..., Any], name: str, parameters: list[inspect.Parameter], doc: str
) -> Callable[..., Any]:
    """A function with the name and the signature that Gradio documents."""
    endpoint.__name__ = name
    endpoint.__doc__ = doc
    endpoint.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict}
    signature = inspect.Signature(parameters, return_annotation=dict)
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return endpoint


def guarded(work: Callable[[], Any]) -> Any:
    """What `work` gives; a mistake is one sentence for the program that called."""
    try:
        return work()
    except MbexploreError as error:
        raise gr.Error(str(error), print_exception=False) from None


def answers(session: Session) -> list[str]:
    """The model's first choice at each mask; nothing from a model that has none."""
    masks = session.encoding.mask_positions
    logits = session.recording().logits if masks else None
    if logits is None:
        return [""] * len(masks)
    names = (session.explorer.tokenizer.token(i) for i in logits.argmax(dim=-1).tolist())
    return [name.strip() for name in names]
