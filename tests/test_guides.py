"""Every view has three lines for a newcomer, in plain language, and the last one runs."""

import re

import pytest
import typer
from mbexplore_ui.controls import build_view, guide_of

import mbexplore
from mbexplore.cli import app
from mbexplore.session import Session
from mbexplore.views import REGISTRY
from mbexplore.views.guide import FRANCE
from mbexplore.views.result import guide_lines, try_command

NAMES = ("You see", "How to read it", "Try this")


@pytest.fixture(scope="module")
def tiny():
    return mbexplore.load("tiny", device="cpu")


@pytest.mark.parametrize("name", REGISTRY)
def test_a_view_has_three_lines_and_its_papers(name):
    view = REGISTRY[name]
    lines = view.guide.lines
    assert tuple(lines) == NAMES and len(set(lines.values())) == 3
    for term, line in lines.items():
        assert 4 <= len(line.split()) <= 34, (term, line)
        assert line[0].isupper() or line[0].isdigit() or line[0] == "["
        assert line.endswith(".") and not re.search(r"[_`{}<>]|\bN/A\b|TODO", line)
    assert all(paper.url.startswith("https://") for paper in view.papers)
    assert view.papers or name.startswith("corpus")


@pytest.mark.parametrize("name", REGISTRY)
def test_the_last_line_runs_and_shows_something_else(name, tiny):
    view, guide = REGISTRY[name], REGISTRY[name].guide
    other = guide.view or view
    tried = other(**guide.values)
    assert guide.view or guide.values or guide.texts
    texts = {"model": (), "text": guide.texts[:1], "texts": guide.texts}[other.reads]
    texts = texts or (() if other.reads == "model" else (FRANCE,))
    result = tried.of(Session(tiny, texts))
    assert result.headline and result.blocks[1:]
    assert result.command == try_command(view)  # which another test runs for every view


@pytest.mark.parametrize("name", REGISTRY)
def test_help_says_them(name):
    view = REGISTRY[name]
    command = typer.main.get_command(app)
    for part in view.command.split():
        command = command.commands[part]
    for term, line in guide_lines(view).items():
        assert f"{term}: {line}" in command.help
    assert "mbexplore " in guide_lines(view)["Try this"]


@pytest.mark.parametrize("name", [name for name, view in REGISTRY.items() if not view.needs_file()])
def test_the_page_sets_what_the_command_does(name):
    guide = guide_of(REGISTRY[name])
    view = build_view(REGISTRY[guide["view"]], guide["values"])
    assert view == REGISTRY[guide["view"]](**REGISTRY[name].guide.values)
