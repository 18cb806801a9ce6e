"""The page on every kind of head: an answer, or one sentence that fits a page."""

import json

import pytest
from mbexplore_ui.controls import arguments_of
from mbexplore_ui.endpoints import Endpoints
from mbexplore_ui.sessions import Sessions

from mbexplore.display.numbers import percent
from mbexplore.views import REGISTRY
from tests.test_every_head import bare as bare  # a fixture
from tests.test_predict_heads import explorers as explorers  # a fixture

TEXT, OTHER = "Where do the men lie?", "Where do the birds lie?"
KINDS = ["labels", "any label", "number", "tokens", "answer", "choice"]
VIEWS = [view.name for view in REGISTRY.values() if view.reads == "text"]


@pytest.fixture(scope="module")
def endpoints(explorers, bare):
    models = explorers | {"bare": bare}
    return Endpoints(Sessions({one.info.name: one for one in models.values()}))


@pytest.fixture(scope="module")
def names(explorers, bare):
    return {kind: one.info.name for kind, one in (explorers | {"bare": bare}).items()}


def ask(endpoints, name, model, **given):
    given = {"other": OTHER, "steps": 4, "toward": OTHER, "away": TEXT} | given
    values = [given.get(one.name, one.default) for one in arguments_of(REGISTRY[name])]
    answer = endpoints.call(name, "me", model, TEXT, *values)
    json.dumps(answer, allow_nan=False)
    return answer


@pytest.mark.parametrize("kind", [*KINDS, "bare"])
@pytest.mark.parametrize("name", VIEWS)
def test_every_head_gets_an_answer_or_a_sentence(endpoints, names, kind, name):
    for token in (-1, 2):
        answer = ask(endpoints, name, names[kind], token=token)
        if "error" in answer:
            sentence = answer["error"]
            assert "--" not in sentence and sentence.endswith(".")
        else:
            assert answer["parts"] and answer["command"].startswith(f"mbexplore {name}")


def test_a_classifier_has_no_answer_for_a_mask(endpoints, names):
    session = endpoints.sessions.session("me", names["labels"], "Where do the [MASK] lie?")
    assert session.answers() == [""]  # for one that it came with there is only a sentence


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_without_a_head_is_that_of_ablation(endpoints, explorers, names, kind):
    whole, off = (
        endpoints.call("answers", "me", names[kind], TEXT, False, *parts)
        for parts in ((), ("1.0",))
    )
    assert ("error" in whole) == ("error" in off)
    if kind in ("labels", "any label"):
        [answer], after = off["answers"], explorers[kind].ablate(TEXT, parts=("1.0",)).data.after
        assert (
            off["without"] == ["head 1.0"] and answer["was"] == whole["answers"][0]["candidates"][0]
        )
        assert [(one["name"], one["percent"]) for one in answer["candidates"]] == [
            (one.token, percent(one.probability)) for one in after
        ]
