"""`mbexplore man`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from mbexplore import __version__


def man(context: typer.Context) -> None:
    """Print the manual page, made from the help of every command.

    Example: mbexplore man
    """
    typer.echo("\n".join(manual(context.find_root())))


def manual(root: Any) -> Iterator[str]:
    """The lines of the manual page in roff; see man(7)."""
    about = root.command.help or ""
    yield f'.TH MBEXPLORE 1 "" "mbexplore {__version__}" "User Commands"'
    yield from (".SH NAME", rf"mbexplore \- {_plain(about.partition(':')[0].lower())}")
    yield from (".SH SYNOPSIS", r"\fBmbexplore\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGS\fR]...")
    yield from (".SH DESCRIPTION", *_paragraphs(about))
    yield from (".SH OPTIONS", *_options(root))
    yield ".SH COMMANDS"
    yield from _commands(root)


def _commands(parent: Any) -> Iterator[str]:
    for name in parent.command.list_commands(parent):
        command = parent.command.get_command(parent, name)
        context = type(parent)(command, info_name=name, parent=parent)
        if hasattr(command, "list_commands"):
            yield from _commands(context)
            continue
        usage = " ".join((context.command_path, *command.collect_usage_pieces(context)))
        yield f'.SS "{_plain(usage)}"'
        yield from _paragraphs(command.help or "")
        yield from _options(context)
        yield from _paragraphs(command.epilog or "")


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in filter(None, (" ".join(one.split()) for one in text.split("\n\n"))):
        yield from (".PP", _plain(paragraph))


def _options(context: Any) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            names, about = record
            yield from (".TP", rf"\fB{_plain(names)}\fR", _plain(" ".join(about.split())))


def _plain(text: str) -> str:
    """ASCII in which roff finds no requests, and hyphens can be searched and copied."""
    safe = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    safe = "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in safe)
    return rf"\&{safe}" if safe[:1] in (".", "'") else safe
