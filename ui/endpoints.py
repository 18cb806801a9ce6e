"""The page's endpoints: one a view, and what is asked about the text itself.

A mistake of the person is a sentence in the answer, not a failure of the server.
"""

from __future__ import annotations

import inspect
from base64 import b64encode
from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.display.browser import to_parts
from mbexplore.errors import MbexploreError, MissingError, UsageError
from mbexplore.masking import toggle_masks
from mbexplore.network.heads import ClassifierModel
from mbexplore.session import Session
from mbexplore.text import word
from mbexplore.views import REGISTRY, View
from mbexplore.views._parts import without_of
from mbexplore.views.opening import opening
from mbexplore.views.result import Result

from .answers import SECOND_TEXTS, answers_of, other_text
from .controls import FIRST, OTHERS, arguments_of, build_picture, build_view, parameters_of
from .sessions import Sessions

Answer = dict[str, Any]
AS_USUAL: Answer = {}
"""Of a picture that nothing was set for."""
PUBLIC = (
    "tokens", "answers", "counterfactual", "toggle", "opening", "lens_words", "progress", "stop",
    "save",
)  # fmt: skip
"""Endpoints for other programs, besides the views."""


class Endpoints:
    """Everything that a page may ask, by name: `call("lens", page, "tiny", "A [MASK].")`."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.functions: dict[str, Callable[..., Any]] = {
            name: getattr(self, name) for name in PUBLIC
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
        names = [one.name for one in arguments_of(view)]
        given = dict(zip(names, values, strict=False))
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            try:
                result = self._result(view, session, given)
            except MissingError as error:  # a second text, say, that can be typed now
                note = {"kind": "note", "text": str(error)}
                offers = [{"kind": "offer", "of": view.name}] if view.name in SECOND_TEXTS else []
                return {"line": "", "parts": [note, *offers], "command": "", "formats": []}
            first = given[FIRST] if given.get(FIRST, -1) >= 0 else None
            parts = to_parts(result.blocks, first)
        return {
            "line": result.headline,
            "parts": [part for part in parts if part["kind"] != "headline"],
            "command": result.command,
            "formats": list(result.formats),
        }

    def _result(self, view: type[View[Any]], session: Session, given: Answer) -> Result[Any]:
        others = [line.strip() for line in given.get(OTHERS, "").splitlines() if line.strip()]
        if others:
            session = session.beside((*session.texts, *others))
        names = {one.name for one in view.parameters}
        is_whole = isinstance(session.explorer.model, ClassifierModel)
        if view.explains_answer or (is_whole and {"token", "answer"} <= names):
            selected = given.get("token", -1)
            position = session.answer_position(selected if selected >= 0 else None)
            given = given | {"token": -1 if position is None else position}
        return build_view(view, given).of(session)

    def save(
        self, page: str, view: str, ending: str, model: str, text: str, values: Answer,
        picture: Answer = AS_USUAL,
    ) -> Answer:  # fmt: skip
        """A view as a file: its name, and its bytes in base64; `picture` has a figure's options."""
        options = build_picture(picture)
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            result = self._result(find_view(view), session, values)
            content = b64encode(result.content(ending, **options)).decode()
        return {"name": f"{result.name}.{ending}", "data": content}

    def tokens(self, page: str, model: str, text: str) -> Answer:
        """The tokens of a text, and how many there would be had the model taken all of them."""
        encoding = self.sessions.session(page, model, text).encoding
        return {"tokens": chips(encoding), "full_length": encoding.full_length}

    def answers(
        self, page: str, model: str, text: str, hf: bool,
        parts: str = "", blocked: str = "", replacement: str = "zero",
    ) -> Answer:  # fmt: skip
        """The likeliest answers at each mask, without some parts of the model where they are named.

        With `hf`, whether transformers says the same.
        """
        session = self.sessions.session(page, model, text)
        ablated = {"parts": parts, "blocked": blocked, "replacement": replacement}
        off = build_view(find_view("ablate"), ablated if parts or blocked else {}).values
        with self.sessions.work(page).begun():
            without = without_of(session, off["parts"], off["blocked"], off["replacement"])
            return answers_of(session, hf=hf, without=without)

    def counterfactual(self, page: str, model: str, text: str, view: str) -> Answer:
        """Settings with which a view of two texts shows something: one that gets another answer."""
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            return other_text(session, view)

    def toggle(
        self, page: str, model: str, text: str, first: int, last: int, masked_words: list[str]
    ) -> Answer:
        """The text with tokens first to last masked, or unmasked where all of them are masks."""
        session = self.sessions.session(page, model, text)
        spans = [(i, i + 1) for i in range(min(first, last), max(first, last) + 1)]
        with self.sessions.work(page).begun():
            changed, words = toggle_masks(session.encoding, spans, masked_words, session.answers)
        return {"text": changed, "masked_words": words}

    def opening(self, page: str, model: str, text: str) -> Answer:
        """The head that the answer needs most, and how it was found; {} where there is none."""
        session = self.sessions.session(page, model, text)
        with self.sessions.work(page).begun():
            return opening(session)

    def lens_words(
        self, page: str, model: str, text: str, parts: str = "", blocked: str = ""
    ) -> Answer:
        """The likeliest word at every token after each layer, the embeddings first."""
        session = self.sessions.session(page, model, text)
        given = {"all_tokens": True, "parts": parts, "blocked": blocked}
        with self.sessions.work(page).begun():
            found = self._result(find_view("lens"), session, given).data
        return {"words": [[word(token) for token in row] for row in found.top]}

    def progress(self, page: str) -> dict[str, int]:
        """How far the work for this page is; 0 of 0 where no steps are counted."""
        done, total = self.sessions.work(page).progress
        return {"done": done, "total": total}

    def stop(self, page: str) -> None:
        """Ends the work for this page that has begun, at its next step."""
        self.sessions.work(page).stop()

    def public(self) -> list[Callable[..., Any]]:
        """The endpoints for other programs, named and typed; their page is Gradio's session."""
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        shared = [inspect.Parameter(name, kind, annotation=str) for name in ("model", "text")]
        shown = [
            _named(
                partial(self.show, view), view.name.replace("-", "_"),
                [*shared, *arguments_of(view)], describe(view),
            )
            for view in views().values()
        ]  # fmt: skip
        others = []
        for name, function in self.functions.items():
            _, *parameters = inspect.signature(function, eval_str=True).parameters.values()
            others.append(_named(function, name, parameters, function.__doc__ or ""))
        return [*shown, *others]


def views() -> dict[str, type[View[Any]]]:
    """The views that the page has: all but those of files, since it must not read the server's."""
    return {name: view for name, view in REGISTRY.items() if not view.needs_file()}


def describe(view: type[View[Any]]) -> str:
    """What the API page says of a view's endpoint: what it answers, and its parameters."""
    about = " ".join((view.__doc__ or "").split("\n\n")[0].split())
    help = (f"{one.name}: {one.option.help}" for one in parameters_of(view) if one.option.help)
    return " ".join((view.question, about, *help))


def find_view(name: str) -> type[View[Any]]:
    """The view of that name.

    Raises:
        UsageError: the page has none.
    """
    if name not in views():
        raise UsageError(f"There is no view {name!r}; choose one of {', '.join(views())}.")
    return REGISTRY[name]


def _named(
    work: Callable[..., Any], name: str, parameters: list[inspect.Parameter], doc: str
) -> Callable[..., Any]:
    """A function of a page's session with the name and the signature that Gradio documents."""

    def endpoint(request: gr.Request, *values: Any) -> Any:
        try:
            return work(request.session_hash or "", *values)
        except MbexploreError as error:  # one sentence for the program that called
            raise gr.Error(str(error), print_exception=False) from None

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("request", kind, annotation=gr.Request), *parameters]
    endpoint.__name__, endpoint.__doc__ = name, doc
    endpoint.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict}
    signature = inspect.Signature(parameters, return_annotation=dict)
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return endpoint


def chips(encoding: Encoding) -> list[dict[str, Any]]:
    """What the page draws for each token; pieces of a word are `joined` to the one before."""
    masks, words = set(encoding.mask_positions), encoding.words
    return [
        {
            "text": word(token),
            "joined": i > 0 and words[i] is not None and words[i] == words[i - 1],
            "special": encoding.offsets[i] == (0, 0) and words[i] is None,
            "mask": i in masks,
        }
        for i, token in enumerate(encoding.tokens)
    ]
