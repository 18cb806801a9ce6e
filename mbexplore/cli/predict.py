"""`mbexplore predict`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbexplore.cli import options, view
from mbexplore.cli.answers import render_classes, render_masks, show
from mbexplore.cli.output import notice, notice_bundled, notice_cut, print_json, write_whole
from mbexplore.errors import UsageError
from mbexplore.files import TABLES

if TYPE_CHECKING:
    from mbexplore.cli.answers import Part
    from mbexplore.explorer import Explorer
    from mbexplore.views.old import View

MANY = ("json", "csv")
"""What the answers to several texts can be saved as, in one file."""


def predict(
    text: options.Text = None,
    file: options.File = None,
    context: options.Context = None,
    choice: Annotated[
        list[str] | None,
        typer.Option(help="A text to choose from; give several.", show_default=False),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k",
            "-k",
            show_default=False,
            help="Answers named; 5 tokens or spans, or every label, if not given.",
        ),
    ] = None,
    no_hf: Annotated[bool, typer.Option("--no-hf", help="Leave Hugging Face out.")] = False,
    plot: view.Plot = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="png, svg, pdf, html, json or csv; json or csv for several texts.",
            show_default=False,
        ),
    ] = None,
    model: options.Model = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    truncate: options.Truncate = False,
    json: options.Json = False,
) -> None:
    """Name the likeliest tokens at every [MASK], side by side with Hugging Face.

    A model with another head gives its labels, its labels by token, its answer or its choice. A
    file and standard input hold one text a line.

    Example: mbexplore predict "The capital of France is [MASK]."
    """  # fmt: skip
    path = view.target(output, plot, "predict", TABLES)
    texts = (
        options.read_lines(text, file) if text in (None, "-") else [options.read_text(text, file)]
    )
    ending = "" if path is None else path.suffix.removeprefix(".").lower()
    if path is not None and len(texts) > 1 and ending not in MANY:
        raise UsageError(
            f"{path} can hold the answer to one text, and {len(texts)} were given; save them as "
            f"{' or '.join('.' + name for name in MANY)}."
        )
    from mbexplore.analysis.classify import is_classifier
    from mbexplore.explorer import load
    from mbexplore.views.old import join_content

    explorer = load(model, device=device, dtype=dtype)
    if is_classifier(explorer):
        asked = _ask_classifier(explorer, texts, context, choice or [], top_k, truncate)
    elif context is None and not choice:
        asked = _ask_masked_lm(explorer, texts, top_k, truncate)
    else:
        raise UsageError(
            f"{explorer.info.name} has no head that takes a --context or a --choice; leave them "
            "out, or name a model that was fine-tuned for them."
        )
    views = _printed(asked, json=json, no_hf=no_hf)
    if path is None:
        for _ in views:
            pass
    elif len(texts) == 1:
        write_whole(path, next(views).content(ending))
    else:
        write_whole(path, join_content(views, ending))
    notice_bundled(explorer.info)


@dataclass(frozen=True)
class Asked:
    """A text that was answered: how to print it, how to ask Hugging Face, and its view."""

    render: Callable[[Any, bool], list[Part]]
    compare: Callable[[], Any]
    view: Callable[[Any], View]


def _printed(asked: Iterator[Asked], *, json: bool, no_hf: bool) -> Iterator[View]:
    """The view of each text, once its answer is printed."""
    for question in asked:
        compare = None if no_hf else partial(_compared, question.compare)
        comparison = compare and compare() if json else show(question.render, compare)
        seen = question.view(comparison)
        if json:
            print_json(seen.payload())
        yield seen


def _compared(compare: Callable[[], Any]) -> Any:
    """Hugging Face's answer; None with its reason on stderr where it has none, and ours stands."""
    from mbexplore.errors import TransformersError

    try:
        return compare()
    except TransformersError as error:
        notice(str(error))
        return None


def _ask_masked_lm(
    explorer: Explorer, texts: list[str], top_k: int | None, truncate: bool
) -> Iterator[Asked]:
    from mbexplore.explorer import DEFAULT_TOP_K
    from mbexplore.views.predict import view_predict

    encodings = [explorer.encode_masked(text, truncate=truncate) for text in texts]
    top_k = DEFAULT_TOP_K if top_k is None else top_k
    for answer in explorer.predict_many(encodings, top_k=top_k):
        notice_cut(answer.encoding)
        yield Asked(
            partial(render_masks, answer),
            partial(explorer.compare, answer),
            partial(view_predict, explorer, answer),
        )


def _ask_classifier(
    explorer: Explorer,
    texts: list[str],
    context: str | None,
    choices: list[str],
    top_k: int | None,
    truncate: bool,
) -> Iterator[Asked]:
    from mbexplore.analysis.classify import classify, compare_classes, encode_question
    from mbexplore.views.classify import view_classes

    if context == "-":
        context = options.read_text(context, None)
    questions = [
        encode_question(explorer, text, context, choices, truncate=truncate) for text in texts
    ]
    for encodings in questions:
        for encoding in encodings:
            notice_cut(encoding)
        found = classify(explorer, encodings, choices, top_k=top_k)
        yield Asked(
            partial(render_classes, explorer.info, found),
            partial(compare_classes, explorer, found),
            partial(view_classes, explorer, found),
        )
