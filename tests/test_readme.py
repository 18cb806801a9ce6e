"""What the README and the help show is what a reader gets: `python -m docs --write` renews it."""

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
import typer

import mbexplore
from docs import samples
from docs.blocks import FENCE, commands, output_of
from docs.numbers import differences, unproved
from mbexplore.cli import app
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.views import REGISTRY
from tests.browser import served
from tests.cli_runner import run_cli
from tests.test_family import RELATIVES

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
COMMANDS = commands(README.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command,shown", COMMANDS, ids=lambda value: str(value)[:40])
def test_a_command_prints_what_the_readme_shows(command, shown):
    """Words and numbers; see `docs.numbers` for what rounding may change."""
    assert shown
    assert differences(shown, output_of(command)) == []


def counted():
    """What the README says in numbers that no command there prints, counted again."""
    bugs, public = samples.faults()
    store = json.loads((ROOT / "assets" / "corpus" / "manifest.json").read_text(encoding="utf-8"))
    gallery = (ROOT / "docs" / "explanation" / "port-bugs.md").read_text(encoding="utf-8")
    row = next(line for line in gallery.splitlines() if "| No sliding window" in line)
    seq, hidden, heads = 8_192, RELATIVES["base"]["hidden_size"], 12
    with torch.device("meta"):
        base = ModernBertForMaskedLM(ModernBertConfig.base())
    size = sum(one.numel() * one.element_size() for one in base.parameters())
    return [
        f"{size / 1e6:.0f} MB",
        f"{len(samples.PROMPTS)} {bugs} {public} {store['texts']:,} {row}",
        f"{seq * hidden * 4 / 1e6:.1f} MB {seq * seq * heads * 4 / 1e9:.3f} GB",
    ]


FACTS = {
    "8,192": "ModernBERT's longest text",
    "3.10": "of Python, in pyproject.toml",
    "50": "harsh weights of tests/harsh.py",
    "4,096": "the longest text of tests/test_rounding.py",
    "0.93": "printed by demo.py, which tests/test_cli.py compares",
    "1.0e-5": "the same",
}


def test_the_numbers_of_its_prose_are_proved():
    """By an output that it shows, counted again here, or measured on a page of the docs."""
    text = README.read_text(encoding="utf-8")
    measured = (ROOT / "docs" / "reference" / "speed.md").read_text(encoding="utf-8")
    proofs = [*(fence["body"] for fence in FENCE.finditer(text)), *counted(), measured]
    assert unproved(text, proofs, FACTS) == []
    for right, wrong in (("lists 30", "lists 73"), ("takes 2.36 s", "takes 2.39 s")):
        assert right in text
        assert unproved(text.replace(right, wrong), proofs, FACTS)


def test_the_two_lines_stand_at_the_top():
    top = README.read_text()[:700]
    assert 'pip install -e . && mbexplore predict "The capital of France is [MASK]."' in top
    assert 'pip install -e ".[test]" && pytest' in top
    assert 'pip install -q -e ".[test]" && pytest' in (ROOT / ".ci" / "run").read_text()


def python_examples():
    """The README's Python, that of the page's endpoints first."""
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_python_examples_run(capsys):
    _, library, edit = python_examples()
    exec(compile(library, "README.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 4
    exec(compile(edit, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.filterwarnings("default")  # Gradio leaves event loops open
def test_the_endpoint_example_runs(capsys):
    code, *_ = python_examples()
    with served({"tiny": mbexplore.load("tiny", device="cpu")}) as (address, _):
        exec(compile(code.replace("http://127.0.0.1:7860", address), "README.md", "exec"), {})
    assert "Paris" in capsys.readouterr().out


def examples():
    """Every command with the examples of its help; those of views are run for their pages."""
    views = {view.command for view in REGISTRY.values()}
    for name, command in typer.main.get_command(app).commands.items():
        if name in views:
            continue
        found = re.findall(r"Example: mbexplore (.*?)(?:\n\n|$)", command.help, re.DOTALL)
        yield name, [" ".join(example.split()) for example in found]


@pytest.mark.parametrize("name,found", list(examples()), ids=lambda value: str(value)[:20])
def test_every_command_has_an_example_that_runs(name, found, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("The tide rises and the tide falls.\n" * 60)
    assert found
    # Their own tests give these what they need: a terminal, a hub, a browser.
    if name in ("explore", "download", "ui"):
        return
    for example in found:
        # What is minutes for a reader is seconds here.
        quick = re.sub(r"--minutes \d+", "--preset micro --steps 2", example)
        result = run_cli(*shlex.split(quick))
        assert result.code == 0, (example, result.err)


def test_files_of_the_tree_exist():
    tree = README.read_text().split("## What is where")[1]
    folder = ROOT
    for line in re.findall(r"^( *)([\w./]+) {2,}", tree, re.MULTILINE):
        folder = ROOT / "mbexplore" if line[0] else ROOT
        assert (folder / line[1]).exists(), line[1]


def test_the_version_is_in_the_changelog():
    assert f"## {mbexplore.__version__}" in (ROOT / "CHANGELOG.md").read_text()
