"""The story of `why`: every number of every phrase is what the view that it leads to gives."""

import json
import re
import shlex

import pytest
from mbexplore_ui.controls import build_view

from mbexplore.display.numbers import percent, significant
from mbexplore.display.terminal import to_text
from mbexplore.session import Session
from mbexplore.views import REGISTRY
from mbexplore.views.why import WhyView
from tests.cli_runner import run_cli
from tests.handbuilt import build_explorer
from tests.test_why import OTHER, TEXT, build_redundant

PARIS = "The capital of France is [MASK]."
KEYS = "The keys to the cabinet [MASK] old."
NUMBER = re.compile(r"[+\N{MINUS SIGN}]?\d+(?:,\d{3})*(?:\.\d+)?(?:e\N{MINUS SIGN}?\d+)?%?")
STORIES = {
    "the model's own answer": (PARIS, {}),
    "a named rival": (PARIS, {"rival": "Rome"}),
    "a named answer": (PARIS, {"answer": "Rome"}),
    "a given counterfactual": (PARIS, {"counterfactual": "The capital of Italy is [MASK]."}),
    "transformers beside it": (PARIS, {"hf": True}),
    "no explanation": (KEYS, {}),
}


@pytest.fixture(scope="module", params=sorted(STORIES))
def told(request, tiny):
    text, asked = STORIES[request.param]
    session = Session(tiny, text)
    return session, WhyView(**asked).of(session)


def leaves(value):
    """Numbers and words of a JSON value, and the names of heads that it has."""
    if isinstance(value, dict):
        if {"layer", "head"} <= value.keys():
            yield f"{value['layer']}.{value['head']}"
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from leaves(one)
    elif not isinstance(value, bool) and value is not None:
        yield value


def written(value):
    """Every way in which a story may write a value."""
    if isinstance(value, str):
        yield from NUMBER.findall(value)
    elif isinstance(value, int):
        yield from (str(value), str(value - 1))  # a state is after the layer before it
    else:
        for one in (value, -value, 1 - value):
            yield from (percent(one), percent(round(one, 2) + 0.0, 0), f"{one:.2f}")
            yield from (significant(one, 2), significant(one), significant(one, signed=True))


def shown_by(proof, session):
    """All numbers that the view of a proof gives."""
    asked = session if proof.text == session.texts[0] else session.beside(proof.text)
    result = build_view(REGISTRY[proof.view], proof.settings).of(asked)
    assert result.command == proof.command
    plain = json.loads(result.content("json"))
    return {text for value in leaves(plain) for text in written(value)}, result


def test_every_number_is_that_of_the_view_it_leads_to(told):
    session, result = told
    wrong, changed, found = [], 0, 0
    for sentence in result.data.story:
        assert sentence.text.strip() and sentence.text.endswith(".")
        for phrase in sentence.phrases:
            numbers, _ = shown_by(phrase.proof, session)
            for number in NUMBER.findall(re.sub(r" \(\d+\)", "", phrase.text)):
                if number not in numbers:
                    wrong.append((phrase.text, number, phrase.proof.command))
                if "." in number:  # another number is not found there: the test can fail
                    other = re.sub(r"\d(?=\D*$)", lambda m: str((int(m[0]) + 3) % 10), number)
                    changed, found = changed + 1, found + (other in numbers)
    assert wrong == []
    assert changed > 8 and found < changed / 2


def test_a_figure_that_a_phrase_names_is_there_and_shows_the_number(told):
    _, result = told
    titles = {getattr(block, "title", None) for block in walk_all(result)}
    for sentence in result.data.story:
        for phrase in sentence.phrases:
            if phrase.proof.figure:
                assert phrase.proof.view == "why" and phrase.proof.figure in titles
                shown = to_text(result.blocks, width=200)
                whole = [n for n in NUMBER.findall(phrase.text) if n.endswith("%")]
                assert all(n in shown or n[:-1] in shown for n in whole), phrase.text


def walk_all(result):
    from mbexplore.display.blocks import walk

    return list(walk(result.blocks))


def test_one_rival_leads(told):
    """Headline, attribution and patching compare the answer with the same other one."""
    _, result = told
    found = result.data.why
    if found.route is None:
        return
    assert found.route.other == found.rival == found.counterfactual.target
    name = found.rival.token.strip()
    assert name in result.headline
    [whence] = [one.text for one in result.data.story if "rather than" in one.text]
    assert f"rather than {name} most" in whence
    assert found.evidence.value == pytest.approx(found.route.clean_difference, abs=1e-3)


def test_the_commands_of_a_story_run(tiny):
    """Those of one story, as a reader would copy them."""
    result = WhyView(rival="Rome").of(Session(tiny, PARIS))
    commands = dict.fromkeys(command for one in result.data.story for command in one.elsewhere)
    assert len(commands) >= 6
    for command in commands:
        program, *arguments = shlex.split(command)
        done = run_cli(*arguments, "--json")
        assert (program, done.code) == ("mbexplore", 0), (command, done.err)
    plain = result.to_json()
    assert plain["shown_by"] == [list(one.commands) for one in result.data.story]


def test_a_backup_is_told_apart_on_the_route():
    from mbexplore.display.story_blocks import RouteGraph

    session = Session(build_explorer(build_redundant()), TEXT)
    result = WhyView(counterfactual="a b l [MASK] d").of(session)
    [graph] = [one for one in walk_all(result) if isinstance(one, RouteGraph)]
    assert sorted(edge.backup for edge in graph.edges) == [False, True]


def test_the_route_is_what_was_patched():
    """Of the copying model: one edge, from the token that is copied to the mask."""
    from mbexplore.display.story_blocks import RouteGraph

    session = Session(build_explorer(), TEXT)
    result = WhyView(counterfactual=OTHER).of(session)
    [graph] = [one for one in walk_all(result) if isinstance(one, RouteGraph)]
    [step], [edge] = result.data.why.route.steps, graph.edges
    columns = graph.nodes.column_values
    assert (columns[edge.key], columns[edge.query]) == (step.key, step.query)
    assert (edge.row, edge.name) == (step.layer, step.name)
    carried = result.data.why.route.carried
    for column, position in enumerate(columns):
        place = carried.positions.index(position)
        assert graph.nodes.values[:, column] == pytest.approx(carried.shares[:, place])
    text = to_text([graph], width=80)
    lines = [one for one in text.splitlines() if one.startswith("layer")]
    [line] = [one for one in lines if one.endswith(f" {edge.name}")]
    assert line.startswith(f"layer {step.layer}")
