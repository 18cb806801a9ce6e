"""A command out of a view: its options, and what every one of them does with its answer."""

from __future__ import annotations

import dataclasses
import inspect
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.models import CommandInfo

from mbexplore.cli import options
from mbexplore.cli.command import GIVEN, OnceCommand
from mbexplore.cli.listed import file_option, read_list
from mbexplore.cli.many import find_prompts, is_table_file, write_table
from mbexplore.cli.output import (
    model_line,
    notice,
    notice_bundled,
    notice_cut,
    print_json,
    shown,
)
from mbexplore.cli.progress import progress
from mbexplore.errors import UsageError
from mbexplore.files import PICTURES, check_target, write_whole
from mbexplore.partial import ENDINGS
from mbexplore.prompts import Prompt, Prompts
from mbexplore.sample import sample_text
from mbexplore.views import View
from mbexplore.views.parameters import KINDS, Parameter
from mbexplore.views.result import FORMATS, Result, guide_lines, join_content

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable

    from mbexplore.explorer import Explorer

Shared = dict[str, Any]
JOINED = ("json", "csv")
"""Formats of the results for several texts in one file."""

TYPES: dict[str, Any] = {"texts": list[str], "token": str}
"""What an option takes, where it isn't the first type of its kind."""
_DEFAULTS = {
    "plot": False, "json": False, "strict": False, "truncate": False, "device": "auto",
    "dtype": "float32", "no_title": False, "data": False,
}  # fmt: skip
SHARED: dict[str, tuple[Any, Any]] = {
    name: (getattr(options, name.title()), _DEFAULTS.get(name))
    for name in (
        "plot", "output", "json", "file", "lines", "column", "id", "strict", "recording",
        "context", "truncate", "model", "device", "dtype", "style", "width", "dpi", "title",
        "no_title", "font", "data",
    )
}  # fmt: skip
"""Options that every command of a view has, with their defaults: here and nowhere else."""
OF_MANY = ("column", "id", "strict")
FLAGGED = "text_by_flag"
OF_TEXTS = ("file", "lines", *OF_MANY, "recording", "context", "truncate")


class ViewCommand(CommandInfo):
    """A view's command. Its options and help are made when they are asked for: all take a while."""

    def __init__(self, view: type[View[Any]]) -> None:
        super().__init__(
            view.command.split()[-1],
            short_help=view.question,
            epilog="\n\n".join(map(str, view.papers)),
            cls=OnceCommand,
        )
        self.view = view
        del self.callback, self.help

    @cached_property
    def callback(self) -> Callable[..., None]:  # type: ignore[override]
        """What it runs."""
        return build_function(self.view)

    @cached_property
    def help(self) -> str:  # type: ignore[override]
        """What it says of itself."""
        return _help(self.view)


def _help(view: type[View[Any]]) -> str:
    about = " ".join((view.__doc__ or "").split("\n\n")[0].split())
    guide = "".join(f"\n\n{name}: {line}" for name, line in guide_lines(view).items())
    example = f"Example: mbexplore {view.command} {view.example}"
    return f"{about}\n\n{view.question}{guide}\n\n{view.limits}\n\n{example}"


def build_function(view: type[View[Any]]) -> Callable[..., None]:
    """A function whose signature Typer makes arguments and options of."""

    def command(**given: Any) -> None:
        shared = {name: given.pop(name, default) for name, (_, default) in SHARED.items()}
        texts, by_flag = given.pop("texts", None), given.pop(FLAGGED, None)
        if texts is not None and by_flag is not None:
            raise UsageError(f"A TEXT and {view.text_flag} were both given; give one of them.")
        if by_flag is not None:
            view.check_flagged(by_flag, given)
        texts = by_flag if texts is None else texts
        run(view, texts, given, shared)

    left_out: tuple[str, ...] = {"model": OF_TEXTS, "texts": ("recording",), "text": ()}[view.reads]
    left_out += () if view.takes_many() else OF_MANY
    shared = {name: about for name, about in SHARED.items() if name not in left_out}
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *_texts(view),
            *(options.parameter(one.name, _of(one), _default(one)) for one in view.parameters),
            *(
                options.parameter(f"{one.name}_file", file_option(one), None)
                for one in view.parameters
                if one.option.from_file
            ),
            *(options.parameter(name, *about) for name, about in shared.items()),
        ]
    )
    command.__name__ = view.name
    return command


def _texts(view: type[View[Any]]) -> list[inspect.Parameter]:
    if view.reads == "model":
        return []
    annotation = options.Text if view.reads == "text" else options.Texts
    found = [options.parameter("texts", annotation, None)]
    if view.text_flag:
        flag = typer.Option(view.text_flag, help="The text.")
        found.append(options.parameter(FLAGGED, Annotated[str | None, flag], None))
    return found


def _default(one: Parameter) -> Any:
    if one.default is dataclasses.MISSING:
        return inspect.Parameter.empty
    return list(one.default) if isinstance(one.default, tuple) else one.default


def _of(one: Parameter) -> Any:
    kind = TYPES.get(one.kind, KINDS[one.kind][1][0])
    kind = kind | None if one.optional or one.kind == "token" else kind
    about = one.option
    choices = [str(choice) for choice in one.choices]
    if about.positional:
        return Annotated[kind, typer.Argument(help=about.help, metavar=one.name.upper())]
    flags = [one.flag, *([about.short] if about.short else [])]
    if one.kind == "switch" and one.default is True:
        flags = [f"{one.flag}/--no-{one.flag.removeprefix('--')}"]
    return Annotated[
        kind,
        typer.Option(
            *flags,
            help=about.help,
            metavar="|".join(choices) if choices else None,
            autocompletion=(lambda: choices) if choices else None,
            show_default=one.default not in (None, ()),
        ),
    ]


def run(view: type[View[Any]], texts: Any, given: dict[str, Any], shared: Shared) -> None:
    """Reads the texts, opens the model, computes the view, prints and saves it."""
    path = options.target(shared["output"], shared["plot"], view.name, (*FORMATS, *ENDINGS))
    drawn = options.figure_options(shared, path)
    chosen = view(**{one.name: _value(one, given) for one in view.parameters})
    prompts = find_prompts(view, shared)
    is_table = prompts is not None and is_table_file(path)
    sources = [] if is_table else list(read_sources(view, texts, shared, prompts))
    if path is not None and not is_table:
        check_target(path, JOINED if len(sources) > 1 else FORMATS)
    from mbexplore.explorer import load

    opened = {name: shared[name] for name in ("device", "dtype")}
    explorer = load(shared["model"], **opened, weights=view.needs_weights)
    if prompts is not None and path is not None and is_table:
        # Hugging Face would take longer than all the rest, so it is compared only on request.
        chosen = type(chosen)(**{**chosen.values, **_unless_given(view.early)})
        failed = write_table(chosen, explorer, prompts, path, shared)
        notice_bundled(explorer.info, shared["model"])
        raise typer.Exit(int(failed > 0))
    passed: list[bool] = []
    results = print_each(chosen, explorer, sources, shared, passed)
    if path is None:
        deque(results, maxlen=0)
    elif len(sources) > 1:
        write_whole(path, join_content(results, path.suffix.removeprefix(".").lower()))
        notice(str(path), dim=False)
    else:
        result = next(results)
        is_named = shared["output"] is not None  # --plot leaves the name to the view
        try:  # saved first: whoever reads what is printed may leave early
            save(result, path if is_named else path.with_stem(result.name), drawn)
        finally:
            deque(results, maxlen=0)
    notice_bundled(explorer.info, shared["model"])
    if not all(passed):
        raise typer.Exit(1)


def _unless_given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values whose options the command line doesn't have."""
    return {name: value for name, value in values.items() if name not in GIVEN.get()}


def _value(one: Parameter, given: dict[str, Any]) -> Any:
    value = given[one.name]
    if not isinstance(value, list):
        return value
    return read_list(one, value, given.get(f"{one.name}_file"))


def read_sources(
    view: type[View[Any]], texts: Any, shared: Shared, prompts: Prompts | None = None
) -> Iterator[Any]:
    """What the view looks at, once a result: a text each, several texts, or nothing."""
    if view.reads == "model":
        yield ()
        return
    given = [texts] if isinstance(texts, str) else list(texts or ())
    file, lines, recording = (shared[name] for name in ("file", "lines", "recording"))
    if sum((bool(given), *(one is not None for one in (file, lines, recording)))) > 1:
        raise UsageError(
            "A text was given in two ways; give one of a TEXT, --file, --lines and --recording."
        )
    if recording is not None:
        from mbexplore.recording import Recording

        yield Recording.load(recording)
    elif prompts is not None and lines is None:
        yield from prompts if view.reads == "text" else ([one.text for one in prompts],)
    elif lines is not None:
        found = options.read_file_lines(lines)
        yield from (found,) if view.reads == "texts" else found
    elif not given and file is None and view.sample:
        yield sample_text() if view.reads == "text" else [sample_text()]
    elif view.reads == "texts":
        yield [options.read_text(one, None) for one in given] or [options.read_text(None, file)]
    else:
        text = options.read_text(given[0] if given else None, file)
        if file is not None and view.takes_many() and "\n" in text:
            notice(f"{file} is read as one text of several lines; --lines reads one a line.")
        yield text


def print_each(
    view: View[Any], explorer: Explorer, sources: list[Any], shared: Shared, passed: list[bool]
) -> Iterator[Result[Any]]:
    """The view of every source, each printed when the next is asked for, and then let go.

    Args:
        view: with its parameters.
        explorer: the model.
        sources: what is looked at.
        shared: options that all commands have.
        passed: takes whether each result passed what it checks.
    """
    from mbexplore.recording import Recording
    from mbexplore.session import Session

    def move(done: int, total: int) -> None:
        advance(done, total)

    def session_of(source: Any) -> Session:
        source = source.text if isinstance(source, Prompt) else source
        if isinstance(source, Recording):
            explorer.check_recording(source)
            return Session(explorer, source.encoding, recording=source, progress=move)
        # The bundled sample is nobody's text: a model of short texts sees its beginning.
        is_sample = view.sample and source in (sample_text(), [sample_text()])
        return Session(explorer, source, context=shared["context"], progress=move,
                       truncate=shared["truncate"] or is_sample)  # fmt: skip

    sessions = list(map(session_of, sources)) if len(sources) == 1 else map(session_of, sources)
    results, named = view.each(sessions), iter(sources)
    while True:
        with _early(view, sessions, shared), progress(view.title or view.name) as advance:
            result = next(results, None)
            if result is None:
                return
            _ = result.blocks
        if view.reads == "text":
            notice_cut(result.session.encoding)
        passed.append(not view.failed(result.data))
        yield result
        source = next(named)
        known = {"id": source.id} if isinstance(source, Prompt) else {}
        print_json(known | result.to_json()) if shared["json"] else show(result)
        del result


@contextmanager
def _early(view: View[Any], sessions: Any, shared: Shared) -> Iterator[None]:
    """Shows what is there early of the view of one source, on a terminal, until the block ends."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    early = type(view)(**{**view.values, **view.early})
    console = Console(highlight=False)
    if early == view or shared["json"] or not console.is_terminal or not isinstance(sessions, list):
        yield
        return
    waiting = Text("Still computing\N{HORIZONTAL ELLIPSIS}", style="dim")
    found = Group(*renderables(early.of(sessions[0])), waiting)
    with Live(found, console=console, transient=True):
        yield


def show(result: Result[Any]) -> None:
    """Prints a result for people."""
    from rich.console import Console

    console = Console(highlight=False)
    for one in renderables(result):
        console.print(one)


def renderables(result: Result[Any]) -> Iterator[ConsoleRenderable]:
    """The model, the text and the blocks of a result."""
    from rich.text import Text

    from mbexplore.cli.marked import marked
    from mbexplore.display.terminal import render

    yield Text(f"Model: {shown(model_line(result.info))}", style="bold")
    if result.view.reads == "text":
        encoding = result.session.encoding
        yield marked(encoding.tokens, result.view.position(result.data))
    yield from map(render, result.blocks)


def save(result: Result[Any], path: Path, drawn: Mapping[str, Any]) -> None:
    """Saves one result; says where.

    Args:
        result: the result.
        path: the file.
        drawn: keywords of `Result.save`.
    """
    with progress("Saving"):
        result.save(path, **drawn)
    notice(str(path), dim=False)
    if drawn.get("data"):
        notice(str(result.data_path(path)), dim=False)
    if path.suffix.removeprefix(".").lower() in PICTURES:
        from mbexplore.display.fonts import explain_missing

        if sentence := explain_missing():
            notice(sentence, dim=False)
