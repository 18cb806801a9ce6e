"""How every command is parsed and how its help looks."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from typer.core import TyperCommand, TyperGroup

from mbexplore.cli.output import notice
from mbexplore.errors import UsageError
from mbexplore.renamed import Kind, find_renamed

GIVEN: ContextVar[frozenset[str]] = ContextVar("given", default=frozenset())
"""Parameters that the command line has options of."""


def _as_written(shown: Any) -> Any:
    """A copy of a command or an option; rich shows its brackets, which it would take for markup."""
    from rich.markup import escape

    made = copy.copy(shown)
    for name in ("help", "short_help", "epilog"):
        if text := getattr(made, name, None):
            setattr(made, name, escape(text))
    if hasattr(made, "params"):
        made.params = [_as_written(one) for one in made.params]
    if hasattr(made, "commands"):
        made.commands = {name: _as_written(one) for name, one in made.commands.items()}
    return made


def _current(kind: Kind, name: str, command: str = "") -> str:
    """The name of now; says so where an old one was given."""
    entry = find_renamed(kind, name, command)
    if entry is None:
        return name
    notice(entry.sentence, dim=False)
    return entry.new


class _Unread:
    """Typer's reader of an option, made where there is something to read: it imports pydantic."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value; a default, or words where words are asked for, are values already."""
        kind, several = self.descriptor.annotation, param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        if several and kind == list[str] and not isinstance(value, str):
            return list(value)
        if isinstance(kind, type) and isinstance(value, kind) and not several:
            return value
        param._runtime_param = None  # it makes its own
        return param.get_runtime_param().coerce(value, param=param, ctx=ctx)


class _Helpful:
    """How the help of a command looks."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options; flags have no type in the help: there is nothing to write after them."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for one in parameters:
            if getattr(one, "is_flag", False):
                one.metavar = ""
            # In typer from 0.29; any other reads its options by itself.
            if getattr(one, "_runtime_param", one) is None and hasattr(one, "get_runtime_param"):
                one._runtime_param = _Unread(one.type_descriptor)
        return parameters

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Prints the help."""
        super(_Helpful, _as_written(self)).format_help(ctx, formatter)  # type: ignore[misc]


class Group(_Helpful, TyperGroup):
    """Several commands."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, by its old name too."""
        return super().get_command(ctx, _current("command", cmd_name))


class OnceCommand(_Helpful, TyperCommand):
    """A command that refuses an option given twice, where only one could count."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses, after looking at what is there more than once."""
        args = list(self._current(args))
        *_, order = self.make_parser(ctx).parse_args(args=list(args))
        GIVEN.set(frozenset(str(parameter.name) for parameter in order))
        for parameter, times in Counter(order).items():
            if times > 1 and not parameter.multiple and not getattr(parameter, "count", False):
                name = max(parameter.opts, key=len)
                raise UsageError(f"{name} was given {times} times; give it once.")
        return super().parse_args(ctx, args)

    def _current(self, args: list[str]) -> Iterator[str]:
        """The arguments with the options' names of now."""
        end = args.index("--") if "--" in args else len(args)
        for one in args[:end]:
            name, equals, value = one.partition("=")
            yield _current("option", name, self.name or "") + equals + value
        yield from args[end:]
