"""The command line. Importing it loads neither torch nor any other heavy package.

Each command has a module: it parses, calls the service once, and prints or saves.
"""

from __future__ import annotations

import atexit
import copy
import errno
import gc
import inspect
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

import mbexplore
from mbexplore.cli.bench import bench
from mbexplore.cli.build import ViewCommand
from mbexplore.cli.cite import cite
from mbexplore.cli.command import Group, OnceCommand
from mbexplore.cli.corpus import app as corpus
from mbexplore.cli.doctor import doctor
from mbexplore.cli.download import download
from mbexplore.cli.examples import examples, welcome
from mbexplore.cli.explore import explore
from mbexplore.cli.man import man
from mbexplore.cli.models import models
from mbexplore.cli.options import use_threads
from mbexplore.cli.record import record
from mbexplore.cli.train import train
from mbexplore.cli.ui import ui
from mbexplore.errors import MbexploreError
from mbexplore.process import tune_process
from mbexplore.views import REGISTRY

HELP = ("-h", "--help")
_APP: dict[str, Any] = {
    "name": "mbexplore",
    "cls": Group,
    "help": "Look inside ModernBERT: predictions beside Hugging Face, and what made them. "
    "Layers, heads and tokens count from 0.",
    "invoke_without_command": True,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": list(HELP)},
}
app = typer.Typer(**_APP)

GROUPS = {"corpus": corpus}
"""Commands that have commands of their own."""


def add_views() -> None:
    """Adds a command for every view that is registered and has none yet."""
    for view in REGISTRY.values():
        *group, name = view.command.split()
        parent = GROUPS[group[0]] if group else app
        if name not in {command.name for command in parent.registered_commands}:
            parent.registered_commands.append(ViewCommand(view))


add_views()  # first in the help: they are what people come for
_OTHERS: tuple[Any, ...] = (
    ui, explore, record, models, download, train, bench, examples, doctor, cite, man,
)  # fmt: skip
for _command in _OTHERS:
    app.command(cls=OnceCommand)(_command)
app.add_typer(corpus)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mbexplore {mbexplore.__version__}")
        raise typer.Exit()


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Processor threads to use; $OMP_NUM_THREADS, or all cores, by default."
        ),
    ] = None,
) -> None:
    """Parses what stands before a command."""
    if threads is not None:
        use_threads(threads)
    if context.invoked_subcommand is None:
        typer.echo(welcome())


def run() -> NoReturn:
    """The `mbexplore` command: `main`, without a sixth of a second in which Python frees objects.

    What is to be done at exit is done. A profiler that wants to go on after it can take
    `python -m mbexplore`, which ends as Python does.
    """
    try:
        main()
    except SystemExit as end:
        others = [thread for thread in threading.enumerate() if not thread.daemon]
        if isinstance(end.code, int) and others == [threading.main_thread()]:
            atexit._run_exitfuncs()
            with suppress(AttributeError, OSError, ValueError):  # Python's own way tells of it
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code)
        raise


def main(arguments: list[str] | None = None) -> NoReturn:
    """Runs a command line and exits: 0, 1 for a user's mistake, 2 for usage, 130 for Ctrl-C."""
    signal.signal(signal.SIGINT, _quit)
    if arguments is None:  # the process is ours
        _open_closed_streams()
        _collect_seldom()
        if sys.argv[-1] not in HELP:  # it takes some milliseconds, for torch's sake
            tune_process()
    add_views()
    try:
        code = _app_of(arguments)(arguments, prog_name="mbexplore", standalone_mode=False)
    except MbexploreError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        if message := _sentence(error):
            typer.echo(f"Error: {message}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; what is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"Error: The output can't be written: {error.strerror}; make room.", err=True)
        sys.exit(1)
    sys.exit(code or 0)  # the code of a `typer.Exit`, or what commands return: None


def _app_of(arguments: list[str] | None) -> typer.Typer:
    """The app with what is asked for: to build every command with its options takes a while."""
    words = sys.argv[1:] if arguments is None else arguments
    first = next(iter(words), "")
    if first == man.__name__:  # the manual is about all of them
        return app
    found = _part_of(app, words)
    if found is not app and first not in HELP:
        bare = typer.Typer(**_APP, add_completion=False)
        bare.callback()(_nothing)
        bare.info, bare.registered_commands = found.info, found.registered_commands
        bare.registered_groups = found.registered_groups
        return bare
    return found


def _part_of(whole: typer.Typer, words: list[str]) -> typer.Typer:
    """The command that the words name; for help on all of them, all without their options."""
    first, *rest = words or [""]
    found = copy.copy(whole)
    if first in HELP:
        found.registered_commands = list(map(_without_options, whole.registered_commands))
    else:
        found.registered_commands = [x for x in whole.registered_commands if _name_of(x) == first]
        # No option stands before a command's name, and to look for one imports pydantic.
        found.info = copy.copy(whole.info)
        found.info.add_help_option = False
    found.registered_groups = []
    for group in whole.registered_groups:
        inner = group.typer_instance
        if inner is not None and (first in HELP or first == inner.info.name):
            found.registered_groups.append(one := copy.copy(group))
            one.typer_instance = _part_of(inner, words if first in HELP else rest)
    return found if found.registered_commands or found.registered_groups else whole


def _without_options(command: Any) -> Any:
    found = copy.copy(command)
    found.help = command.short_help or inspect.getdoc(command.callback)
    found.name, found.callback = _name_of(command), _nothing
    return found


def _nothing() -> None:
    pass


def _name_of(command: Any) -> str:
    return str(command.name or command.callback.__name__)


_NUMBERS = {"int_parsing": "a whole number", "float_parsing": "a number"}
"""What pydantic's kinds of error ask for."""


def _sentence(error: typer.TyperException) -> str:
    """What Typer says of a command line it can't take, in one sentence with value and remedy.

    Empty where help was asked for by giving nothing, and is printed.
    """
    message = error.format_message().rstrip(".")
    if not message or message.endswith("?"):  # "Did you mean ...?" is a remedy
        return message
    # Typer names the option; what was given stands in pydantic's error alone.
    wrong: list[dict[str, object]] = getattr(error.__cause__, "errors", list)()
    number = _NUMBERS.get(str(wrong[0]["type"])) if wrong else None
    parameter = getattr(error, "param", None)
    if number and parameter:
        message = f"{max(parameter.opts, key=len)} is {wrong[0]['input']!r}; give {number}"
    elif wrong:
        message += f", not {wrong[0]['input']!r}"
    if "extra argument" in message:
        message += "; put a text of several words in quotes"
    context: typer.Context | None = getattr(error, "ctx", None)
    return f"{message}; see {context.command_path if context else 'mbexplore'} --help."


def _open_closed_streams() -> None:
    """Puts the null device where the process began without a stream, as after `<&-` or `>&-`.

    Python has None there, and the next file that is opened would get the stream's number.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115


def _collect_seldom() -> None:
    """Spares the half second that looking for garbage among torch's own objects takes.

    By default Python looks through all of them several times while torch is imported, and again
    before it exits.
    """
    gc.set_threshold(50_000, 20, 100)
    atexit.register(gc.freeze)


def _quit(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
