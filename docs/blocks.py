"""Blocks of a page that are run: their output and their pictures take their place below them.

    console   lines "$ mbexplore ..." and "$ cat FILE" are run, others only shown; `| head -N`
              and `| tail -N` cut an output.
    python    is run, in one namespace a page. What it prints is shown, and its last value: a
              view's result as its picture.
    sh        is shown and not run: what needs a network or another program. Its mbexplore commands
              must still parse.
    title="f" on any block: its text is also the file f beside the commands of the page.

A line `<!-- docs.MODULE:FUNCTION -->` is replaced by the Markdown that the function returns. What
is read in the repository too, the README first, has outputs in its source: they are compared, and
`rewrite` renews them. Markdown of a function stands between `<!-- begin docs.MODULE:FUNCTION -->`
and `<!-- end -->` there.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from docs.numbers import differences
from mbexplore.cli import app
from mbexplore.views import REGISTRY
from tests.cli_runner import run_cli

FENCE = re.compile(r"^```(?P<kind>\w*)(?P<about>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
MADE = re.compile(r"^<!-- (?P<module>docs\.\w+):(?P<function>\w+) -->$", re.M)
KEPT = re.compile(r"^<!-- begin (?P<module>docs\.\w+):(?P<function>\w+) -->\n(?P<text>.*?)"
                  r"^<!-- end -->$", re.M | re.S)  # fmt: skip
FACTS = re.compile(r"^<!-- facts: (.*) -->\n", re.M)
PICTURES = (".png", ".svg")
LONGEST = 100
"""Lines of an output; a page cuts what is longer by `| head`."""


class PageError(Exception):
    """A page that can't be built; the sentence names the block."""


@dataclass
class Filled:
    """A page whose blocks have been run.

    Attributes:
        markdown: what the site is built from.
        proofs: commands, code and outputs, which prove the numbers of the prose.
        files: pictures and other files that the page shows, by name.
    """

    markdown: str = ""
    proofs: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)


def commands(text: str) -> list[tuple[str, str]]:
    """Every command of a page's console blocks, with the output that is shown below it."""
    found: list[tuple[str, str]] = []
    for fence in FENCE.finditer(text):
        if fence["kind"] == "console":
            found += [_split(one) for one in re.split(r"^\$ ", fence["body"], flags=re.M)[1:]]
    return found


def _split(block: str) -> tuple[str, str]:
    command, _, output = block.partition("\n")
    return command, output


def output_of(command: str) -> str:
    """What a command prints, without trailing blanks, as `| head -N` or `| tail -N` cut it.

    Raises:
        PageError: it fails, or prints too much for a page.
    """
    arguments, cut = shlex.split(command), slice(None)
    if "|" in arguments:
        *arguments, _, which, most = arguments
        cut = slice(int(most.lstrip("-"))) if which == "head" else slice(int(most), None)
    if arguments[0] == "cat":
        return Path(arguments[1]).read_text(encoding="utf-8")
    if arguments[0] != "mbexplore":
        return ""
    result = run_cli(*arguments[1:])
    if result.code:
        raise PageError(f"{command} ends with {result.code}: {result.err or result.out}")
    lines = [line.rstrip() for line in result.out.strip("\n").splitlines()]
    if len(lines[cut]) > LONGEST:
        raise PageError(f"{command} prints {len(lines)} lines; end it in | head -N.")
    return "".join(f"{line}\n" for line in lines[cut])


@contextlib.contextmanager
def working_folder() -> Iterator[None]:
    """An empty folder to run commands in; views that are defined there are gone afterwards."""
    before, views, commands = os.getcwd(), {**REGISTRY}, [*app.registered_commands]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
            REGISTRY.clear()
            REGISTRY.update(views)
            app.registered_commands[:] = commands


def fill(page: str, name: str) -> Filled:
    """Runs a page's blocks in an empty folder.

    Args:
        page: its Markdown.
        name: of the page, from which its pictures get theirs.

    Raises:
        PageError: a block fails, or prints something else than the page shows.
    """
    filled, place = Filled(), 0
    runner = Runner(filled, name)
    page = FACTS.sub("", KEPT.sub(runner.made, MADE.sub(runner.made, page)))
    with working_folder():
        for fence in FENCE.finditer(page):
            filled.markdown += page[place : fence.start()] + runner.run(fence)
            place = fence.end()
    filled.markdown += page[place:]
    return filled


def rewrite(path: Path) -> None:
    """Puts the outputs of today where a file has some: below commands, and between comments."""
    before = path.read_text(encoding="utf-8")

    def output(match: re.Match[str]) -> str:
        command, shown = _split(match[1])
        return f"$ {command}\n{output_of(command) if shown else ''}"

    def block(fence: re.Match[str]) -> str:
        if fence["kind"] != "console":
            return fence[0]
        body = re.sub(r"^\$ (.*?)(?=^\$ |\Z)", output, fence["body"], flags=re.M | re.S)
        return f"```console{fence['about']}\n{body}```"

    with working_folder():
        text = KEPT.sub(
            lambda kept: kept[0].replace(kept["text"], f"{call(kept)}\n"), FENCE.sub(block, before)
        )
    path.write_text(text, encoding="utf-8")


def call(line: re.Match[str]) -> str:
    """The Markdown of the function that a comment names."""
    made: str = getattr(import_module(line["module"]), line["function"])()
    return made.rstrip("\n")


class Runner:
    """Runs the blocks of one page in the working folder."""

    def __init__(self, filled: Filled, name: str) -> None:
        self.filled, self.name = filled, name
        module = sys.modules[name] = ModuleType(name)  # a dataclass looks its own up
        self.namespace: dict[str, Any] = vars(module)
        self.seen: set[str] = set()
        self.about = ""

    def run(self, fence: re.Match[str]) -> str:
        """A block with its output below it."""
        kind, body = fence["kind"], fence["body"]
        title = re.search(r'title="([^"]+)"', fence["about"])
        if title:
            Path(title[1]).write_text(body, encoding="utf-8")
            self.seen.add(title[1])
        if kind == "console":
            shown, below = self._console(body), ""
        elif kind == "python":
            shown, below = fence[0], self._python(body)
        else:
            return fence[0]
        return shown + below + "".join(self._shown_files())

    def made(self, line: re.Match[str]) -> str:
        """The Markdown that stands in a comment's place."""
        text = call(line)
        self._compare(line.groupdict().get("text") or "", text, line[0].partition("\n")[0])
        self.filled.proofs.append(text)
        return text

    def _console(self, body: str) -> str:
        blocks = ""
        for command, shown in map(_split, re.split(r"^\$ ", body, flags=re.M)[1:]):
            output, self.about = output_of(command), command.partition(" |")[0]
            self._compare(shown, output, command)
            self.filled.proofs += [command, output]
            blocks += f"$ {command}\n{output}"
        return f"```console\n{blocks}```"

    def _compare(self, shown: str, real: str, what: str) -> None:
        if shown.strip() and (wrong := differences(shown, real)):
            raise PageError(f"{self.name}, {what}: {wrong[0]}; python -m docs --write renews it.")

    def _python(self, code: str) -> str:
        self.about = "What the code above draws"
        tree, printed = ast.parse(code, filename=self.name), io.StringIO()
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        with contextlib.redirect_stdout(printed):
            exec(compile(tree, self.name, "exec"), self.namespace)
            value = None
            if isinstance(last, ast.Expr):
                value = eval(compile(ast.Expression(last.value), self.name, "eval"), self.namespace)
            if hasattr(value, "save"):
                value.save(f"{len(self.filled.files)}-{value.name}.png")
                self.about = value.headline
                print(self.about)
            elif value is not None:
                print(repr(value))
        self.filled.proofs += [code, printed.getvalue()]
        return f"\n\n```text\n{printed.getvalue().rstrip()}\n```" if printed.getvalue() else ""

    def _shown_files(self) -> Iterator[str]:
        """What a block wrote: pictures are shown, pages linked."""
        for name in sorted(set(os.listdir()) - self.seen):
            self.seen.add(name)
            path = Path(name)
            if path.suffix not in (*PICTURES, ".html"):
                continue
            kept = f"{self.name.replace('/', '-')}-{name}"
            self.filled.files[kept] = path.read_bytes()
            yield f"\n\n{show_file(kept, self.about)}"


def show_file(name: str, about: str) -> str:
    """Markdown that shows a file of the site: a picture, or a link to a page."""
    if name.endswith(".html"):
        return f"[Open it in the browser](files/{name}){{ target=_blank }}"
    return f"![{about}](files/{name})"
