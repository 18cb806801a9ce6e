"""What a newcomer meets first: the welcome, examples, doctor, and how to cite."""

import json
import re
import shlex

import pytest

from mbexplore import __version__
from mbexplore.cli.doctor import _advice
from mbexplore.cli.examples import EXAMPLES, command_of
from mbexplore.views import REGISTRY
from tests.cli_runner import run_cli
from tests.test_structure import ROOT


def test_mbexplore_alone_names_three_commands():
    found = run_cli()
    assert found.code == 0
    assert found.out.count("  mbexplore ") == 3
    assert "Usage" not in found.out


@pytest.mark.parametrize(
    "arguments", [one for one, _ in EXAMPLES if one not in (("ui",), ("verify",))], ids=command_of
)
def test_an_example_runs(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_cli(*shlex.split(command_of(arguments))[1:])
    assert found.code == 0, found.err
    assert found.out.strip()


def test_examples_are_commands():
    found = run_cli("examples", "--json")
    listed = json.loads(found.out)["examples"]
    assert [one["command"] for one in listed] == [command_of(one) for one, _ in EXAMPLES]
    assert all(one["why"] for one in listed)
    assert {"predict", "why", "ui"} <= {one[0] for one, _ in EXAMPLES}


def test_doctor_says_what_an_issue_needs():
    found = json.loads(run_cli("doctor", "--json").out)
    assert found["mbexplore"] == __version__
    assert found["bundled_model"] == "answers 'Paris'"
    assert {"torch", "device", "threads", "hub_cache", "load", "advice"} <= found.keys()
    shown = run_cli("doctor").out
    assert __version__ in shown


def test_doctor_advises():
    sound = {"load": 0.1, "cores": 2, "threads": 2, "oneDNN_products": True,
             "seconds_to_answer": 0.1, "bundled_model": "answers 'Paris'"}  # fmt: skip
    assert _advice(sound) == []
    for name, value, word in (
        ("load", 9.0, "load is 9.0"),
        ("threads", 8, "8 threads"),
        ("oneDNN_products", False, "oneDNN"),
        ("seconds_to_answer", 5.0, "5.0 s"),
        ("bundled_model", "answers 'Rome'", "verify"),
    ):
        [line] = _advice(sound | {name: value})
        assert word in line


def test_cite_prints_the_tool_and_the_papers_of_views():
    found = run_cli("cite", "lens").out
    assert "@software{mbexplore" in found
    assert "2412.13663" in found and "author = {{The mbexplore authors}}" in found
    for paper in REGISTRY["lens"].papers:
        assert paper.url in found
    everything = run_cli("cite").out
    keys = re.findall(r"^@\w+\{(\w+),", everything, re.MULTILINE)
    assert len(keys) == len(set(keys)) > 10
    assert everything.count("{") == everything.count("}")
    refused = run_cli("cite", "nothing")
    assert (refused.code, "There is no view" in refused.err) == (2, True)


def test_a_paper_as_bibtex():
    entry = REGISTRY["lens"].papers[0].bibtex
    assert entry.startswith("@misc{")
    assert "author = {" in entry


def test_the_citation_file_has_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {__version__}\n" in text
