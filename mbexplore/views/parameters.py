"""The parameters of a view: declared once as fields, from which every front end makes its own.

A command makes options of them, the page controls, the terminal explorer keys, Python keywords.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from mbexplore.errors import RangeError, UsageError

Layer: TypeAlias = Annotated[int, "layer"]
"""A layer, from 0. Front ends share the selected one between views."""
Head: TypeAlias = Annotated[int | None, "head"]
"""A head of the layer, from 0; None for all. Shared as well."""
Token: TypeAlias = Annotated[int | str | None, "token"]
"""A token by position or by word; None for the first mask, or what the model's head reads."""
File: TypeAlias = Annotated[str, "file"]
"""A file's path. The page has no view that needs one: it must not read the server's files."""
OtherModel: TypeAlias = Annotated[str | None, "model"]
"""Another model, by name; None for the same one."""

Kind = Literal[
    "switch", "choice", "integer", "number", "text", "texts", "layer", "head", "token", "model",
    "file",
]  # fmt: skip
SELECTED = ("layer", "head", "token")
"""Kinds that a click selects and that views share."""

_SHARED = {
    "layer": "The layer, from 0.",
    "head": "One head, from 0; all of them by default.",
    "token": "The token looked at, by position or word; by default the first mask.",
    "answer": "The token or label followed; by default the model's own answer.",
    "contrast": "Follow the logit of the answer less that of this one.",
    "parts": "Switched off: a head, 6.3, or all that a layer's attention or MLP adds, 6.attention "
    "or 6.mlp.",
    "blocked": "A token, by position or word, that no other token can attend to.",
    "hf": "Compare with Hugging Face transformers on the same weights.",
    "corpus": "The folder of the corpus; $MBEXPLORE_CORPUS, or the bundled one, by default.",
}
"""Help of parameters that mean the same in every view, by name."""
_OPTION = "mbexplore"


@dataclass(frozen=True)
class Option:
    """What `option` says of a parameter, beside its name, type and default.

    Attributes:
        help: a sentence: what it does; parameters that views share have one of their own.
        short: a one-letter option, "-k".
        flag: the option's name where it isn't the parameter's, "--all".
        label: what the page's control is called; "" for none, the parameter's name by default.
        at_least: least value of a number.
        at_most: greatest value.
        only: values of other parameters with which it has an effect; anything but its default is
            refused beside others.
        positional: whether the command takes it as its next argument.
        separator: between several texts that are written as one, on the command line and the page;
            a backslash before it makes it part of a text.
        from_file: whether the command also takes the texts from a file, one a line.
        local: whether only whoever runs the program may give it, and no visitor of the page: it
            names files or programs of this machine.
    """

    help: str = ""
    short: str | None = None
    flag: str | None = None
    label: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    only: Mapping[str, Collection[Any]] = dataclasses.field(default_factory=dict)
    positional: bool = False
    separator: str = ""
    from_file: bool = False
    local: bool = False


def option(help: str = "", *, default: Any = dataclasses.MISSING, **about: Any) -> Any:
    """A parameter of a view.

    Args:
        help: a sentence: what it does.
        default: its value unless another is given; without one it is required.
        about: attributes of `Option`.
    """
    return dataclasses.field(default=default, metadata={_OPTION: Option(help, **about)})


@dataclass(frozen=True)
class Parameter:
    """A parameter, as front ends need it.

    Attributes:
        name: in Python, JSON and addresses, "top_k".
        kind: what it is.
        default: `dataclasses.MISSING` where it is required.
        optional: whether None stands for something.
        choices: what there is to choose from, for "choice".
        option: everything else.
    """

    name: str
    kind: Kind
    default: Any
    optional: bool
    choices: tuple[Any, ...]
    option: Option

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is dataclasses.MISSING

    @property
    def flag(self) -> str:
        """Its option on the command line, "--top-k"."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def label(self) -> str:
        """Its name on the page."""
        return self.name.replace("_", " ") if self.option.label is None else self.option.label

    def has_effect(self, values: Mapping[str, Any]) -> bool:
        """Whether it changes anything beside the other parameters' values."""
        return all(values.get(name) in which for name, which in self.option.only.items())

    def split(self, text: str) -> tuple[str, ...]:
        """The texts that are written as one; see `join`."""
        return split_texts(text, self.option.separator)

    def join(self, texts: Iterable[str]) -> str:
        """Several texts as one, with the separator between them."""
        return join_texts(texts, self.option.separator)

    def check(self, value: Any, view: str) -> Any:
        """The value as the view takes it.

        Raises:
            UsageError: it is not of the parameter's type, or none of its choices.
            RangeError: it is a number out of range.
        """
        if value is None and self.optional:
            return None
        if self.kind == "number" and type(value) is int:
            value = float(value)
        if self.kind == "texts" and isinstance(value, list | tuple):
            value = tuple(value)
        if self.kind == "file" and isinstance(value, PathLike):
            value = str(value)
        if self.kind == "choice" and value not in self.choices:
            choices = ", ".join(map(str, self.choices))
            raise UsageError(f"{self.name} of {view} is {value!r}; choose {choices}.")
        if not _is_of(self.kind, value):
            raise UsageError(f"{self.name} of {view} is {value!r}; give {KINDS[self.kind][0]}.")
        low, high = self.option.at_least, self.option.at_most
        if self.kind in ("integer", "number") and not (
            (low is None or value >= low) and (high is None or value <= high)
        ):
            raise RangeError(f"{self.name} is {value:,}; choose {_range(low, high)}.")
        return value


def split_texts(text: str, separator: str) -> tuple[str, ...]:
    """Parts of a text between separators, without the spaces around them.

    A separator that belongs to a part has a backslash before it.
    """
    escaped = re.escape(separator)
    parts = re.split(rf"(?<!\\){escaped}", text)
    plain = (re.sub(rf"\\({escaped})", r"\1", part).strip() for part in parts)
    return tuple(part for part in plain if part)


def join_texts(texts: Iterable[str], separator: str) -> str:
    """The text that `split_texts` splits into these."""
    return separator.join(text.replace(separator, f"\\{separator}") for text in texts)


KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "switch": ("True or False", (bool,)),
    "choice": ("one of its choices", (str, int, float)),
    "integer": ("a whole number", (int,)),
    "number": ("a number", (float,)),
    "text": ("a text", (str,)),
    "texts": ("a list of texts", (tuple,)),
    "layer": ("a layer's number", (int,)),
    "head": ("a head's number", (int,)),
    "token": ("a token's position or word", (int, str)),
    "model": ("a model's name", (str,)),
    "file": ("a file's path", (str,)),
}
"""What the values of each kind are called, and their types."""


def _is_of(kind: Kind, value: Any) -> bool:
    is_it = type(value) in KINDS[kind][1]
    return is_it and (kind != "texts" or all(isinstance(one, str) for one in value))


def _range(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low:,} or more"
    return f"{high:,} or less" if low is None else f"{low:,} to {high:,}"


@cache
def parameters_of(view: type) -> tuple[Parameter, ...]:
    """The parameters of a view's class, in the order of its fields."""
    hints = get_type_hints(view, include_extras=True)
    found = []
    for field in dataclasses.fields(view):
        kind, optional, choices = _kind_of(hints[field.name])
        about: Option = (field.metadata or option().metadata)[_OPTION]
        if not about.help:
            last = "; by default the last." if field.default == -1 else "."
            help = _SHARED.get(field.name, "").replace(".", last)
            about = dataclasses.replace(about, help=help)
        if field.name == "layer":
            about = dataclasses.replace(about, short=about.short or "-l")
        found.append(Parameter(field.name, kind, field.default, optional, choices, about))
    return tuple(found)


def _kind_of(hint: Any) -> tuple[Kind, bool, tuple[Any, ...]]:
    """Kind, whether None is allowed, and choices."""
    if get_origin(hint) is Annotated:
        inner, kind = get_args(hint)
        return kind, type(None) in get_args(inner), ()
    if get_origin(hint) in (Union, types.UnionType):
        [inner] = (one for one in get_args(hint) if one is not type(None))
        kind, _, choices = _kind_of(inner)
        return kind, True, choices
    if get_origin(hint) is Literal:
        return "choice", False, get_args(hint)
    if get_origin(hint) is tuple:
        return "texts", False, ()
    kinds: dict[Any, Kind] = {bool: "switch", int: "integer", float: "number", str: "text"}
    return kinds[hint], False, ()
