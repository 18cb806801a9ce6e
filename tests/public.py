"""What releases promise: names of commands and options, JSON keys, and Python names.

`python -m tests.public` writes the names of now into tests/data/public.json; see CONTRIBUTING.md.
"""

import inspect
import json
from pathlib import Path

import typer

import mbexplore
from mbexplore.cli import app
from mbexplore.explorer import Explorer, ModelInfo
from mbexplore.renamed import RENAMED
from mbexplore.views import REGISTRY
from mbexplore.views.methods import Methods

FILE = Path(__file__).parent / "data" / "public.json"


def commands(group=None, prefix=""):
    """The options and arguments of every command, by its name."""
    group = group or typer.main.get_command(app)
    found = {}
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            found |= commands(command, f"{prefix}{name} ")
            continue
        flags = [flag for one in command.params for flag in (*one.opts, *one.secondary_opts)]
        found[prefix + name] = sorted(flags)
    return found


def python_names():
    """Names of the package, and the keywords of its functions and methods."""
    names = {name: [] for name in mbexplore.__all__}
    methods = dict(inspect.getmembers(Explorer, inspect.isfunction))
    methods |= {view.method: Methods()[view.method] for view in REGISTRY.values()}
    for owner, functions in (("", {"load": mbexplore.load}), ("Explorer.", methods)):
        for name, function in functions.items():
            if not name.startswith("_"):
                names[owner + name] = [
                    p for p in inspect.signature(function).parameters if p != "self"
                ]
    for kind in (mbexplore.Recording, mbexplore.Result, ModelInfo):
        public = [name for name in dir(kind) if not name.startswith("_")]
        names[kind.__name__] = sorted({*public, *getattr(kind, "__dataclass_fields__", ())})
    return names


def names_of_now():
    """All promised names but those of JSON, which `json_keys` finds in a result."""
    return {"commands": commands(), "python": python_names()}


def json_keys(result):
    """The keys of a result's JSON, those of its parts too: "masks.predictions.token"."""

    def walk(value, prefix):
        if isinstance(value, list):
            value = value[0] if value else None
        if not isinstance(value, dict):
            return
        for key, inner in value.items():
            if key.isidentifier():  # others are names of tokens, heads or files
                yield prefix + key
                yield from walk(inner, f"{prefix}{key}.")

    return sorted(set(walk(result.to_json(), "")))


def missing(promised, there):
    """Promised names that are gone and whose old form doesn't work either."""
    old = {one.old for one in RENAMED}
    gone = [name for name in promised if name not in there and name not in old]
    for name in promised:
        gone += [f"{name} {one}" for one in promised[name]
                 if one not in there.get(name, ()) and one not in old]  # fmt: skip
    return gone


def promised():
    """The names that were written last."""
    return json.loads(FILE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    from tests.test_every_view import BASE, Cases

    keys = {name: json_keys(Cases(mbexplore.load("tiny", device="cpu"))((name, BASE.get(name, {}))))
            for name in REGISTRY}  # fmt: skip
    FILE.write_text(json.dumps(names_of_now() | {"json": keys}, indent=1) + "\n", encoding="utf-8")
