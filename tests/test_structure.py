"""Imports go one way, and the command line starts without anything heavy."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEVELS = [
    "text sample renamed limits",
    "errors",
    "files reading process rows",
    "prompts partial",
    "network",
    "checkpoints",
    "hooks recording answers checks masking jobs",
    "recorder",
    "reference.huggingface",
    "explorer",
    "analysis reference",
    "session display training corpus pair_files",
    "bench",
    "views",
    "cli ui demo explore",
]
LEVEL = {part: level for level, parts in enumerate(LEVELS) for part in parts.split()}


def name_of(path: Path) -> str:
    """`mbexplore/analysis/lens.py` is "analysis.lens", `ui/app.py` is "ui.app"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "mbexplore" else parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {
    name_of(path): path
    for path in (
        ROOT / "demo.py",
        *(ROOT / "ui").rglob("*.py"),
        *(ROOT / "mbexplore").rglob("*.py"),
    )
}
FILES = {name: path for name, path in FILES.items() if name and name != "__main__"}


def level_of(name: str) -> int:
    """Of a file, or of the folder that it lies in."""
    while name and name not in LEVEL:
        name = name.rpartition(".")[0]
    return LEVEL[name]


def imported_by(name: str) -> set[str]:
    """Files of ours that a file imports, anywhere in it but for the type checker alone."""
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: list[str] = []
    package = name if FILES[name].stem == "__init__" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name.removeprefix("mbexplore.") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) + 1 - node.level]
                module = ".".join([*above, module]).strip(".")
            module = module.removeprefix("mbexplore").removeprefix(".").replace("_ui", "ui")
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            found += [one if one in FILES else module for one in names]
    return {one for one in found if one in FILES and one != name}


GRAPH = {name: imported_by(name) for name in FILES}


def test_no_file_imports_one_above_it():
    wrong = [(a, b) for a, files in GRAPH.items() for b in files if level_of(a) < level_of(b)]
    assert not wrong


def test_no_circle_of_imports():
    TopologicalSorter(GRAPH).prepare()


def test_the_graph_sees_imports():
    assert "analysis.lens" in GRAPH["views.lens"]
    assert any(name.startswith("ui.") for name in GRAPH["ui.app"])


def test_files_and_functions_are_short_enough_to_read():
    sources = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
    lines = {name: source.count("\n") for name, source in sources.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    functions = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in functions.items() if count > 60} == {}


def test_the_command_line_imports_nothing_heavy():
    code = (
        "import sys, mbexplore.cli;"
        "heavy = {'torch', 'transformers', 'gradio', 'matplotlib', 'textual', 'pyarrow', 'duckdb'};"
        "print(heavy & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
