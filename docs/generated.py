"""Pages of the reference that come from the views, the command line and the model itself."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import typer

from docs.blocks import Filled, PageError, show_file
from mbexplore.cli import GROUPS, app, build
from mbexplore.views import REGISTRY
from mbexplore.views.papers import Paper
from mbexplore.views.parameters import Parameter
from mbexplore.views.result import Result
from mbexplore.views.view import Evidence, Group, View
from tests.cli_runner import run_cli

EVIDENCE = {
    "output": "what the model gives; nothing inside is explained",
    "correlational": "what goes together inside; the answer may rest on something else",
    "gradient": "a linear estimate of what a change would do",
    "causal": "what the model gives after that change",
}
"""What each kind of evidence can show."""
DEEPEST = 4
"""Levels of JSON that are listed."""

# What the examples of the commands read.
FILES = {
    "pairs.csv": "good,bad\nThe tide rises.,The tide rise.\nThe boats wait.,The boats waits.\n",
    "labels.csv": "text,label\n"
    + "".join(
        f"The {noun} {verb}.,{label}\n"
        for noun in ("tide", "sea", "boat")
        for verb, label in (("rises", "now"), ("falls", "now"), ("rose", "then"), ("fell", "then"))
    ),
}


def example_of(view: type[View[Any]]) -> tuple[list[str], Result[Any]]:
    """The command that the view's help gives as an example, and what it finds."""
    words = shlex.split(view.example)
    if "-o" in words:  # every page shows the picture
        del words[(place := words.index("-o")) : place + 2]
    command, kept = [*view.command.split(), *words], []
    for name, content in FILES.items():
        Path(name).write_text(content, encoding="utf-8")
    with mock.patch.object(build, "show", kept.append):
        done = run_cli(*command)
    if not kept:
        raise PageError(f"mbexplore {shlex.join(command)} ends with {done.code}: {done.err}")
    return command, kept[0]


def view_page(name: str) -> Filled:
    """The page of a view: its question, an example, parameters, JSON, evidence and papers."""
    view, filled = REGISTRY[name], Filled()
    command, result = example_of(view)
    about = "\n".join(line.strip() for line in (view.__doc__ or "").splitlines())
    lines = [f"# {view.title}", "", f"**{view.question}**", "", about, "", "## Example", ""]
    lines += ["```sh", f"mbexplore {shown(command)}", "```", ""]
    lines += [f"In Python `explorer.{view.method}(...)`. {link_formats(result)}", ""]
    if result.headline:
        lines += [f"> {result.headline}", ""]
    for ending in ("png", "html"):
        if ending in result.formats:
            kept = f"{name}.{ending}"
            filled.files[kept] = result.content(ending)
            lines += [show_file(kept, f"{view.title}: {result.headline or view.question}"), ""]
    if view.parameters:
        lines += ["## Parameters", "", *parameter_table(view), ""]
    lines += ["## JSON", "", "Of the example above; `model` says which model it was.", ""]
    lines += [*json_table(result), ""]
    kind = view.evidence
    lines += ["## What it can show", "", f"{kind.capitalize()}: {EVIDENCE[kind]}."]
    lines += [f"Tested {view.tested}.", ""] if view.tested else [""]
    lines += [view.limits, ""] if view.limits else []
    lines += ["## Papers", "", *map(cited, view.papers), ""] if view.papers else []
    filled.markdown = "\n".join(lines)
    return filled


def shown(words: list[str]) -> str:
    """Words of a command line, texts in double quotes."""
    return " ".join(f'"{one}"' if " " in one else shlex.quote(one) for one in words)


def link_formats(result: Result[Any]) -> str:
    """What a result can be saved as."""
    return f"Saved as {', '.join(result.formats)}."


def cited(paper: Paper) -> str:
    """A line of a list of papers."""
    return f"- {paper.authors} {paper.year}. [{paper.title}]({paper.url})"


def parameter_table(view: type[View[Any]]) -> Iterator[str]:
    """A row a parameter: its name in Python, its option, its default and its help."""
    yield "| Python | command line | default | |"
    yield "| --- | --- | --- | --- |"
    for one in view.parameters:
        flag = one.name.upper() if one.option.positional else one.flag
        short = f", `{one.option.short}`" if one.option.short else ""
        yield f"| `{one.name}` | `{flag}`{short} | {default_of(one)} | {cell(help_of(one))} |"


def default_of(one: Parameter) -> str:
    """A parameter's default, as a reader needs it."""
    if one.is_required:
        return "required"
    return "" if one.default in (None, (), "") else f"`{one.default}`"


def help_of(one: Parameter) -> str:
    """What a parameter does, its choices and its range."""
    about = one.option
    choices = f" One of {', '.join(map(str, one.choices))}." if one.choices else ""
    low, high = about.at_least, about.at_most
    limits = [] if low is None else [f"at least {low:g}"]
    limits += [] if high is None else [f"at most {high:g}"]
    return about.help + choices + (f" {' and '.join(limits).capitalize()}." if limits else "")


def cell(text: str) -> str:
    """Text inside a Markdown table."""
    return re.sub(r"([|*_<])", r"\\\1", " ".join(text.split()))


def json_table(result: Result[Any]) -> Iterator[str]:
    """A row for each key of a result's JSON: type, shape, and what its dataclass says of it."""
    yield "| key | type | |"
    yield "| --- | --- | --- |"
    plain = result.to_json()
    plain.pop("model")
    for path, kind, about in keys(plain, result.data):
        yield f"| `{path}` | {kind} | {cell(about)} |"


def keys(plain: dict[str, Any], data: Any, above: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, type and description of every key in JSON.

    Args:
        plain: the JSON.
        data: what it was made of, whose docstrings describe its fields; anything where unknown.
        above: path of the object.
    """
    said = attributes(type(data))
    for key, value in plain.items():
        path, inner = f"{above}{key}", getattr(data, key, None)
        yield path, type_of(value), said.get(key, "")
        while isinstance(value, list) and value:
            value = value[0]
            inner = inner[0] if isinstance(inner, list | tuple) and inner else None
            path += "[]"
        if isinstance(value, dict) and path.count(".") < DEEPEST and has_fixed_keys(value, inner):
            yield from keys(value, inner, f"{path}.")


def has_fixed_keys(value: dict[str, Any], data: Any) -> bool:
    """Whether an object's keys are names of fields, and not the model's or the text's."""
    return dataclasses.is_dataclass(data) or all(re.fullmatch(r"[a-z_0-9]+", key) for key in value)


def type_of(value: Any) -> str:
    """A JSON value's type; of lists of numbers the shape."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    names = {bool: "true or false", int: "integer", float: "number", str: "string", dict: "object"}
    name = names.get(type(value), "null")
    if not shape:
        return name
    if not shape[-1]:
        return "empty list"
    sizes = ", ".join(map(str, shape))
    return f"list of {sizes} {name}s" if len(shape) == 1 else f"{name}s ({sizes})"


def attributes(of: type) -> dict[str, str]:
    """What the "Attributes:" of a docstring say of each."""
    _, _, section = (of.__doc__ or "").partition("Attributes:\n")
    found = re.findall(r"^ +(\w+): (.*?)(?=^ +\w+: |\Z|\n\n)", section, flags=re.M | re.S)
    return {name: " ".join(text.split()) for name, text in found}


def view_index() -> str:
    """Every view by group, with its question."""
    lines: list[str] = []
    for group in get_args(Group):
        members = [view for view in REGISTRY.values() if view.group == group]
        lines += [f"## {group}", "", "| view | question |", "| --- | --- |"] if members else []
        lines += [f"| [{one.title}](views/{one.name}.md) | {one.question} |" for one in members]
        lines += [""]
    return "\n".join(lines)


def evidence_table() -> str:
    """What each method can show, from the views themselves."""
    lines = []
    for kind in get_args(Evidence)[1:]:
        lines += [f"## {kind.capitalize()}", "", f"{EVIDENCE[kind].capitalize()}.", ""]
        lines += ["| view | tested | it can't show |", "| --- | --- | --- |"]
        for one in REGISTRY.values():
            if one.evidence == kind:
                link = f"[{one.title}](../reference/views/{one.name}.md)"
                lines.append(f"| {link} | {one.tested} | {cell(one.limits)} |")
        lines += [""]
    return "\n".join(lines)


def command_pages() -> str:
    """The help of every command that isn't a view's."""
    views = {view.command for view in REGISTRY.values()}
    lines = []
    for name, command in every_command():
        if name in views:
            continue
        lines += [f"## mbexplore {name}", "", *described(command.help or ""), ""]
        options = [one for one in command.params if one.name != "help"]
        if options:
            lines += ["| option | default | |", "| --- | --- | --- |"]
            lines += [option_row(one) for one in options] + [""]
    return "\n".join(lines)


def described(help: str) -> Iterator[str]:
    """A command's help, its example as a block."""
    about, _, example = help.partition("Example: ")
    yield " ".join(about.replace("\b", "").split())
    if example:
        yield from ("", "```sh", " ".join(example.split()), "```")


def option_row(one: Any) -> str:
    """A row of an option's table."""
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    names = names if names.startswith("`-") else f"`{one.name.upper()}`"
    has_default = one.default not in (None, False, ()) and not callable(one.default)
    default = f"`{one.default}`" if has_default else ""
    return f"| {names} | {default} | {cell(getattr(one, 'help', '') or '')} |"


def every_command() -> Iterator[tuple[str, Any]]:
    """Commands by name, "corpus build" too."""
    for name, command in typer.main.get_command(app).commands.items():
        if name in GROUPS:
            yield from ((f"{name} {inner}", one) for inner, one in command.commands.items())
        else:
            yield name, command


TAPS = {
    "embed": "the embeddings after their norm: the residual stream before layer 0",
    "resid_pre": "the residual stream before the layer",
    "q": "queries, before the rotation",
    "k": "keys, before the rotation",
    "v": "values",
    "rot_q": "queries after RoPE",
    "rot_k": "keys after RoPE",
    "scores": "attention scores before the softmax; made only where they are recorded or edited",
    "pattern": "attention weights after the softmax; made only where they are recorded or edited",
    "z": "each head's output, before Wo",
    "attn_out": "what attention adds to the residual stream",
    "resid_mid": "the residual stream between attention and MLP",
    "mlp_post": "the neurons: GeGLU's product, before Wo",
    "mlp_out": "what the MLP adds to the residual stream",
    "resid_post": "the residual stream after the layer",
}


def tap_table() -> str:
    """Every tap, with the shapes of a global and a local layer of the bundled model."""
    import mbexplore

    explorer = mbexplore.load("tiny", device="cpu")
    kinds = explorer.model.config.layer_kinds
    layers = [kinds.index(kind) for kind in ("global", "local")]
    found = explorer.record("The tide rises and falls.", keep=tuple(explorer.model.taps))
    lines = ["| tap | what | global | local |", "| --- | --- | --- | --- |"]
    names = dict.fromkeys(tap.rpartition(".")[2] for tap in explorer.model.taps)
    for name in names:
        taps = ["embed"] if name == "embed" else [f"layers.{layer}.{name}" for layer in layers]
        shapes = " | ".join(f"{tuple(found.tap(tap).shape)}" for tap in taps)
        shapes += " |" if name == "embed" else ""
        shown_name = name if name == "embed" else f"layers.N.{name}"
        lines.append(f"| `{shown_name}` | {TAPS[name]} | {shapes} |")
    return "\n".join(lines)
