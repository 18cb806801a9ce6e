"""Runs command lines in this process, as the `mbexplore` script would."""

import io
import json
import shlex
import signal
import sys
from dataclasses import dataclass
from unittest import mock

from mbexplore.cli import main


@dataclass
class Result:
    code: int
    out: str
    err: str


def run_cli(*arguments, stdin=b""):
    """What a command line prints and how it exits."""
    out, err = io.BytesIO(), io.BytesIO()
    before = signal.getsignal(signal.SIGINT)
    streams = {
        "stdin": io.TextIOWrapper(io.BytesIO(stdin)),
        "stdout": io.TextIOWrapper(out, encoding="utf-8"),
        "stderr": io.TextIOWrapper(err, encoding="utf-8"),
    }
    try:
        with mock.patch.multiple(sys, **streams):
            try:
                main([str(argument) for argument in arguments])
            except SystemExit as stop:
                code = stop.code
            streams["stdout"].flush()
            streams["stderr"].flush()
    finally:
        signal.signal(signal.SIGINT, before)
    return Result(code, out.getvalue().decode(), err.getvalue().decode())


def run_again(result):
    """What the command line that a result names prints as JSON."""
    program, *arguments = shlex.split(result.command)
    assert program == "mbexplore"
    place = arguments.index("--") if "--" in arguments else len(arguments)
    done = run_cli(*arguments[:place], "--json", *arguments[place:])
    assert done.code == 0, done.err
    return json.loads(done.out)
