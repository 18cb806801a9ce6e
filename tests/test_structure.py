"""Imports go one way, and the command line starts without anything heavy."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = [
    "errors",
    "files text attention rope linear config",
    "palette weights fetch",
    "model",
    "heads",
    "recording packing hub tokenizer reference",
    "explorer",
    "analysis training verify published bench",
    "blocks plots web",
    "views",
    "cli ui demo explore",
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts.split()}
SOURCES = [
    ROOT / "demo.py",
    *(ROOT / "ui").glob("**/*.py"),
    *(ROOT / "mbexplore").glob("*/**/*.py"),
]
SOURCES += [path for path in (ROOT / "mbexplore").glob("*.py") if not path.stem.startswith("__")]


def part_of(module: str) -> str:
    """`mbexplore.analysis.lens` belongs to "analysis", `mbexplore_ui.app` to "ui"."""
    if module.split(".")[0] == "mbexplore_ui":
        return "ui"
    return module.removeprefix("mbexplore.").split(".")[0]


def imports_of(path: Path) -> set[str]:
    """Parts of mbexplore that a file imports, anywhere in it."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules += names if node.module == "mbexplore" else [node.module]
    ours = [module for module in modules if module.split(".")[0] in ("mbexplore", "mbexplore_ui")]
    return {part_of(module) for module in ours} & LEVEL.keys()


def part_graph() -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for path in SOURCES:
        if path.exists():
            part = path.relative_to(ROOT).with_suffix("").as_posix().removeprefix("mbexplore/")
            part = part.split("/")[0]
            graph.setdefault(part, set()).update(imports_of(path) - {part})
    return graph


def test_every_part_has_a_level():
    assert part_graph().keys() <= LEVEL.keys()


def test_no_part_imports_one_above_it():
    graph = part_graph()
    wrong = [(a, b) for a, parts in graph.items() for b in parts if LEVEL[a] < LEVEL[b]]
    assert not wrong


def test_no_circle_of_imports():
    TopologicalSorter(part_graph()).prepare()


def test_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, mbexplore.cli;"
        "print({'torch', 'transformers', 'gradio', 'matplotlib', 'textual'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
