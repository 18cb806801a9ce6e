"""The page on every kind of head: an answer, or one sentence that fits a page."""

import json

import pytest
from mbexplore_ui.app import answers, describe_model, in_page
from mbexplore_ui.sessions import Sessions
from mbexplore_ui.views import VIEWS

from mbexplore.analysis.classify import classify
from mbexplore.analysis.lens import lens
from mbexplore.errors import MbexploreError, TextError
from tests.test_every_head import bare as bare  # a fixture
from tests.test_predict_heads import explorers as explorers  # a fixture

BY_NAME = {view.name: view for view in VIEWS}
TEXT, OTHER = "Where do the men lie?", "Where do the birds lie?"
KINDS = ["labels", "any label", "number", "tokens", "answer", "choice"]
ASKING = ["predict", "lens", "ablate", "patch", "attribute", "compare"]


@pytest.fixture(scope="module")
def sessions(explorers, bare):
    models = explorers | {"bare": bare}
    return Sessions({explorer.info.name: explorer for explorer in models.values()})


@pytest.fixture(scope="module")
def names(explorers, bare):
    return {kind: one.info.name for kind, one in (explorers | {"bare": bare}).items()}


def show(desk, name, **wishes):
    needed = {"other": OTHER} if name in ("patch", "compare") else {}
    quick = {"steps": 4} if name == "attribute" else {}
    shown = BY_NAME[name].run(desk, needed | quick | wishes)
    json.dumps(list(shown.parts), allow_nan=False)
    return shown


@pytest.mark.parametrize("kind", [*KINDS, "bare"])
@pytest.mark.parametrize("name", ASKING)
def test_every_head_gets_an_answer_or_a_sentence(sessions, names, kind, name):
    desk = sessions.desk("me", names[kind], TEXT)
    try:
        for token in (-1, 2, 400):
            shown = show(desk, name, **{"token": token} if name != "predict" else {})
            assert shown.parts and shown.view
    except MbexploreError as error:
        assert (kind, name) != ("number", "attribute")
        sentence = in_page(str(error))
        assert "--" not in sentence and sentence.endswith(".")
        assert "`" not in sentence and (kind != "number" or "the Attribution tab" in sentence)
        same = name == "patch" and "there is no difference" in sentence
        assert same or kind in ("number", "answer", "choice", "bare")
        if kind in ("answer", "choice"):
            assert "as the second" in sentence
    assert answers(desk) == []


def test_labels_are_the_models(sessions, names, explorers):
    for kind in ("labels", "tokens"):
        shown = show(sessions.desk("me", names[kind], TEXT), "predict")
        text = json.dumps(list(shown.parts))
        found = classify(explorers[kind], (explorers[kind].encode(TEXT),))
        assert all(json.dumps(r.candidates[0].answer)[1:-1] in text for r in found.outputs)
        assert "Largest logit difference" in text
    held = show(sessions.desk("me", names["tokens"], TEXT), "lens", token=3)
    assert held.view.to_json()["tokens"]  # the map of every token
    expected = lens(explorers["tokens"], TEXT, 3).target
    assert expected.token in held.head_line


@pytest.mark.parametrize("kind", ["labels", "tokens"])
def test_patching_restores_a_label(sessions, names, explorers, kind):
    ours, other = explorers[kind].model.config.labels[:2]
    shown = show(
        sessions.desk("me", names[kind], TEXT), "patch", token=2, answer=ours, other_answer=other
    )
    expected = f"ogit of {ours} less {other}" if kind == "labels" else f"between {ours} and {other}"
    assert expected in shown.head_line


def test_answers_about_a_token_and_about_a_text_are_not_compared(sessions, names):
    desk = sessions.desk("me", names["tokens"], TEXT)
    with pytest.raises(MbexploreError, match="name no token"):
        show(desk, "compare", other_model=names["labels"])
    with pytest.raises(TextError, match="as the second"):
        show(desk, "compare", other_model=names["answer"])


def test_the_page_asks_for_no_token_where_the_whole_text_is_answered(explorers):
    for kind in ("labels", "tokens"):
        told = describe_model(kind, explorers[kind])
        assert told["answers_texts"] == (kind == "labels")
    of_token = {view.name: list(view.of_token) for view in VIEWS if view.of_token}
    assert of_token.keys() == set(ASKING) - {"predict"}
    for view in VIEWS:
        assert set(view.of_token) == {c["name"] for c in view.controls() if c["of_token"]}


def test_a_mask_in_a_classifiers_text_can_be_taken_back(sessions, names):
    assert answers(sessions.desk("me", names["labels"], "Where do the [MASK] lie?")) == [""]
