"""The page as Gradio components, for anybody's `gr.Blocks`: they bring their style and scripts.

`Explore` is the whole page. `BlocksView` shows what a view gave; `AttentionMap`, `Arcs` and
`LayerChart` show those blocks of it alone. What a person selects is the data of `select`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
from anyio import to_thread
from starlette.responses import JSONResponse

from mbexplore.display import attention_blocks as blocks
from mbexplore.display import page
from mbexplore.display.blocks import Block, Heat, Lines, walk
from mbexplore.display.browser import to_parts
from mbexplore.display.data import pick
from mbexplore.explorer import Explorer
from mbexplore.views import REGISTRY
from mbexplore.views.result import Result

from .controls import controls_of, guide_of, picture_controls
from .endpoints import Endpoints
from .sessions import Sessions

SCRIPTS = (
    "server.js", "controls.js", "navigator.js", "editor.js", "answer.js", "tabs.js", "guide.js",
    "ladder.js", "tour.js", "page.js",
)  # fmt: skip
STYLES = ("page.css", "live.css")
EXAMPLES = (
    "The capital of France is [MASK].",
    "She poured the [MASK] into a cup and drank it.",
    "The opposite of hot is [MASK].",
    "Two plus two is [MASK].",
)


@cache
def script() -> str:
    """The page's own script, after the drawings of all blocks."""
    folder = files(__package__) / "static"
    source = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    return f"{page.script()}\n{source}"


@cache
def style() -> str:
    """The page's own style sheet."""
    folder = files(__package__) / "static"
    own = ((folder / name).read_text(encoding="utf-8") for name in STYLES)
    return "\n".join((page.style(), *own))


class Explore(gr.HTML):
    """The whole explorer. `select` fires with the layer, head and token that are selected.

    Args:
        models: an explorer, or several by the names that the page shows.
        value: what `describe` says, with the page's session; by default without one.
    """

    def __init__(
        self,
        models: Explorer | Mapping[str, Explorer] | Sessions,
        value: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.sessions = models if isinstance(models, Sessions) else Sessions(models)
        self.endpoints = Endpoints(self.sessions)

        def answer(asked: list[Any]) -> JSONResponse:  # written here: FastAPI would copy it first
            return JSONResponse(self.endpoints.call(*asked))

        async def ask(asked: list[Any]) -> Any:  # in a thread: others ask meanwhile, or stop it
            return await to_thread.run_sync(answer, asked)

        super().__init__(
            value=describe(self.sessions.models) if value is None else value,
            html_template='<div class="mbexplore"></div>',
            css_template=style(),
            js_on_load=f"{script()}\nbegin(element, props, server, trigger, watch);",
            apply_default_css=False,
            server_functions=[ask],
            **options,
        )


class BlocksView(gr.HTML):
    """What a view gave, as the page draws it. `select` fires with what is clicked.

    Args:
        value: `explorer.lens("...")`, for example; an event may set another one.
    """

    kinds: ClassVar[tuple[type[Block], ...]] = (Block,)

    def __init__(self, value: Result[Any] | None = None, **options: Any) -> None:
        super().__init__(
            value=self.postprocess(value),
            html_template='<div class="mbexplore"></div>',
            css_template=style(),
            js_on_load=f"{page.script()}\nshowBlocks(element, props, trigger, watch);",
            apply_default_css=False,
            **options,
        )

    def postprocess(self, value: Any) -> Any:
        """A result's blocks as JSON; what is JSON already stays."""
        if not isinstance(value, Result):
            return value
        chosen = (one for one in walk(value.blocks) if isinstance(one, self.kinds))
        return {"parts": to_parts(chosen)}


class AttentionMap(BlocksView):
    """The maps of `explorer.attention("...")`."""

    kinds = (blocks.AttentionMap, blocks.ModelView)


class Arcs(BlocksView):
    """The arcs of `explorer.attention("...", picture="arcs")`."""

    kinds = (blocks.Arcs,)


class LayerChart(BlocksView):
    """The curves and matrices over the layers of what a view gave."""

    kinds = (Lines, Heat)


def describe(models: Mapping[str, Explorer]) -> dict[str, Any]:
    """What the page is built from: models, views, examples."""
    return {
        "models": [
            describe_model(name, explorer) | {"link": link}
            for (name, explorer), link in zip(models.items(), link_names(models), strict=True)
        ],
        "views": [
            pick(view, "name", "title", "group", "navigator", about="question")
            | {"guide": guide_of(view), "controls": controls_of(view), "early": dict(view.early)}
            for view in REGISTRY.values()
            if view.title and not view.needs_file()
        ],
        "examples": list(EXAMPLES),
        "picture": picture_controls(),
    }


def link_names(names: Iterable[str]) -> list[str]:
    """What links call models: a folder by its last part, so that no link holds a path."""
    names = list(names)
    short = [Path(name).name if Path(name).is_absolute() else name for name in names]
    return [one if short.count(one) == 1 else name for one, name in zip(short, names, strict=True)]


def describe_model(name: str, explorer: Explorer) -> dict[str, Any]:
    """What the page says of a model, and how many layers and heads there are to select."""
    config = explorer.model.config
    return {
        **dataclasses.asdict(explorer.info),
        "name": name,
        "kinds": list(config.layer_kinds),
        "heads": config.num_attention_heads,
        "limit": config.max_position_embeddings,
    }
