"""The page: its endpoints, its one component, and how it is served.

The page is drawn in the browser from small JSON answers; every answer comes from a named endpoint
that `gradio_client` can call too. Nothing is loaded from anywhere but this server.
"""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import os
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, TypeVar

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from gradio.events import api

from mbexplore.display import page as display
from mbexplore.errors import MbexploreError, UsageError
from mbexplore.explorer import Explorer
from mbexplore.network.heads import ModernBertForSequenceClassification

from .protocol import PageView, Shown
from .sessions import Desk, Sessions, kept_beginning
from .text import chips, toggled
from .views import build_views

Made = TypeVar("Made")

SCRIPTS = ("server.js", "controls.js", "navigator.js", "page.js")
EXAMPLES = (
    "The capital of France is [MASK].",
    "She poured the [MASK] into a cup and drank it.",
    "The opposite of hot is [MASK].",
    "Two plus two is [MASK].",
)
POLICY = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'self\' data: blob: '
    "'unsafe-inline' 'unsafe-eval'\">"
)
"""The browser itself refuses whatever would come from, or go to, another address."""


def build_app(sessions: Sessions, views: tuple[PageView, ...] | None = None) -> gr.Blocks:
    """The page over models that are already open.

    Args:
        sessions: over the models, by the name the page shows; the first is chosen at the start.
        views: in the order of their tabs; every registered one by default.
    """
    return inside_a_loop(lambda: _build(sessions, build_views() if views is None else views))


def inside_a_loop(make: Callable[[], Made]) -> Made:
    """What `make` gives, called where an event loop runs.

    Gradio asks for locks as it builds and launches, and where no loop runs it opens one for each
    and leaves it open.
    """

    async def made() -> Made:
        return make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(made())
    return make()


def _build(sessions: Sessions, views: tuple[PageView, ...]) -> gr.Blocks:
    by_name = {view.name: view for view in views}
    app: gr.Blocks
    with gr.Blocks(title="mbexplore", analytics_enabled=False, fill_width=True) as app:
        page = gr.HTML(
            html_template='<main class="mbexplore"></main>',
            js_on_load=script(),
            apply_default_css=False,
            elem_id="mbexplore",
        )

        def start(request: gr.Request) -> dict[str, Any]:
            return describe(sessions.models, views) | {"session": request.session_hash}

        def leave(request: gr.Request) -> None:
            sessions.drop(request.session_hash)

        app.load(start, None, page, api_name="start", show_progress="hidden", queue=False)
        app.unload(leave)
        for endpoint in (
            *(view_endpoint(sessions, view) for view in views),
            *text_endpoints(sessions),
            save_endpoint(sessions, by_name),
        ):
            api(endpoint, api_name=endpoint.__name__, queue=False)
    return app


def script() -> str:
    """The page's own script, whole."""
    folder = files(__package__) / "static"
    source = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return display.script() + source + "\nwatch('value', () => start(element, props.value));"


def style() -> str:
    """The page's own style sheet."""
    own = (files(__package__) / "static" / "page.css").read_text(encoding="utf-8")
    return own + display.style()


def describe(models: Mapping[str, Explorer], views: tuple[PageView, ...]) -> dict[str, Any]:
    """What the page is built from: models, views, examples."""
    return {
        "models": [describe_model(name, explorer) for name, explorer in models.items()],
        "views": [
            {
                "name": view.name,
                "title": view.title,
                "about": view.about,
                "controls": view.controls(),
                "none": view.none,
                "navigator": view.navigator,
                "quick": dict(view.quick),
            }
            for view in views
        ],
        "examples": list(EXAMPLES),
    }


def describe_model(name: str, explorer: Explorer) -> dict[str, Any]:
    """What the page says of a model, and how many layers and heads it lets a person choose."""
    config = explorer.model.config
    return {
        **dataclasses.asdict(explorer.info),
        "name": name,
        "kinds": list(config.layer_kinds),
        "heads": config.num_attention_heads,
        "limit": config.max_position_embeddings,
        "answers_texts": isinstance(explorer.model, ModernBertForSequenceClassification),
    }


def guarded(work: Callable[..., Any]) -> Any:
    """What `work` gives; a user's mistake becomes one sentence in the page."""
    try:
        return work()
    except MbexploreError as error:
        raise gr.Error(in_page(str(error)), print_exception=False) from None


def in_page(sentence: str) -> str:
    """A sentence that names a command to use, with the page's tab in its place."""
    titles = {view.name: view.title for view in build_views() if view.title}

    def tab(command: re.Match[str]) -> str:
        title = titles.get(command[1])
        return command[0] if title is None else f"the {title} tab"

    return re.sub(r"`mbexplore (\w+)`", tab, sentence)


def view_endpoint(sessions: Sessions, view: PageView) -> Callable[..., dict[str, Any]]:
    """The endpoint of a view: model, text and the view's own wishes, as `gradio_client` sees."""
    wishes = view.wishes

    def endpoint(request: gr.Request, model: str, text: str, *values: Any) -> dict[str, Any]:
        start = time.perf_counter()

        def work() -> Shown:
            desk = sessions.desk(request.session_hash, model, text)
            with desk.progress.work():
                return view.run(desk, dict(zip(wishes, values, strict=False)))

        return told(guarded(work), time.perf_counter() - start)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter("request", kind, annotation=gr.Request),
        inspect.Parameter("model", kind, annotation=str),
        inspect.Parameter("text", kind, annotation=str),
        *wishes.values(),
    ]
    endpoint.__name__ = view.name
    endpoint.__doc__ = view.show.__doc__
    endpoint.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": dict}
    signature = inspect.Signature(parameters, return_annotation=dict)
    endpoint.__signature__ = signature  # type: ignore[attr-defined]
    return endpoint


def told(shown: Shown, seconds: float) -> dict[str, Any]:
    """A view's answer as JSON."""
    view = shown.view
    return {
        "line": shown.head_line,
        "parts": list(shown.parts),
        "command": "" if view is None else view.command_line,
        "formats": [] if view is None else list(view.formats),
        "seconds": round(seconds, 4),
    }


def text_endpoints(sessions: Sessions) -> list[Callable[..., Any]]:
    """What the page asks about the text itself."""

    def tokens(request: gr.Request, model: str, text: str) -> dict[str, Any]:
        """The tokens of a text, and whether the model can take it."""
        desk = guarded(lambda: sessions.desk(request.session_hash, model, text))
        return {"tokens": chips(desk.encoding)}

    def toggle(
        request: gr.Request, model: str, text: str, first: int, last: int, hidden: list[str]
    ) -> dict[str, Any]:
        """The text with tokens first to last masked, or unmasked where all of them are masks."""

        def work() -> tuple[str, list[str]]:
            desk = sessions.desk(request.session_hash, model, text)
            with desk.progress.work():
                return toggled(desk.encoding, first, last, hidden, answers(desk))

        changed, words = guarded(work)
        return {"text": changed, "hidden": words}

    def beginning(request: gr.Request, model: str, text: str) -> str:
        """As much of a text's beginning as the model takes."""

        def work() -> str:
            return kept_beginning(sessions.model(model), text)

        kept: str = guarded(work)
        return kept

    def progress(request: gr.Request) -> dict[str, int]:
        """How far the work for this session is; 0 of 0 where nobody counts."""
        going = sessions.progress(request.session_hash)
        return {"done": going.done, "total": going.total}

    def stop(request: gr.Request) -> None:
        """Ends the works for this session that have begun, each at its next step."""
        sessions.progress(request.session_hash).stop()

    return [tokens, toggle, beginning, progress, stop]


def answers(desk: Desk) -> list[str]:
    """The model's first choice at each mask; nothing from a model that can't say."""
    logits = desk.recording.logits if desk.encoding.mask_positions else None
    if logits is None:
        return [""] * len(desk.encoding.mask_positions)
    names = (desk.explorer.tokenizer.token(i) for i in logits.argmax(dim=-1).tolist())
    return [name.strip() for name in names]


def save_endpoint(sessions: Sessions, views: Mapping[str, PageView]) -> Callable[..., Any]:
    """Every view as a file."""

    def save(
        request: gr.Request, view: str, ending: str, model: str, text: str, wishes: dict[str, Any]
    ) -> dict[str, str]:
        """A view as a file: its name, and its bytes in base64."""

        def work() -> dict[str, str]:
            if view not in views:
                raise UsageError(f"There is no view {view!r}; choose one of {', '.join(views)}.")
            desk = sessions.desk(request.session_hash, model, text)
            with desk.progress.work():
                made = views[view].run(desk, wishes).view
                if made is None:
                    raise UsageError(f"{views[view].title} has nothing to save yet.")
                content = b64encode(made.content(ending)).decode()
            return {"name": f"{made.name}.{ending}", "data": content}

        file: dict[str, str] = guarded(work)
        return file

    return save
