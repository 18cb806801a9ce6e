"""The page's views: what they show is what the analyses found, and looking runs no model."""

import json

import numpy as np
import pytest
from mbexplore_ui import parts
from mbexplore_ui.sessions import Sessions
from mbexplore_ui.views import VIEWS
from mbexplore_ui.views.common import signed

from mbexplore.analysis.lens import lens, lens_map
from mbexplore.analysis.neurons import token_neurons
from mbexplore.analysis.residual import residual_norms
from mbexplore.analysis.rope import score_contributions
from mbexplore.errors import ModelError, RangeError, TextError, UsageError
from mbexplore.explorer import load
from tests.handbuilt import build_explorer, build_random, build_tokenizer

BY_NAME = {view.name: view for view in VIEWS}
TEXT, OTHER = "a b c [MASK] d e f", "a b e [MASK] d e f"
PLACE = 4


@pytest.fixture
def sessions():
    return Sessions({"handbuilt": build_explorer(build_random()), "copier": build_explorer()})


@pytest.fixture(scope="module")
def explorer():
    return load("tiny", device="cpu")


@pytest.fixture
def desk(sessions):
    return sessions.desk("me", "handbuilt", TEXT)


def show(desk, name, **wishes):
    """A view's answer; it must be JSON, as the page gets it."""
    shown = BY_NAME[name].run(desk, wishes)
    json.dumps(list(shown.parts), allow_nan=False)
    return shown


def find(parts, kind, title=""):
    """The part of a kind whose title has these words, wherever it stands."""
    for part in parts:
        if part["kind"] == kind and title in part.get("title", ""):
            return part
        if found := find([*part.get("parts", []), *part.get("panes", [])], kind, title):
            return found
    return None


def column(table, name):
    """The texts of a table's column."""
    place = [one["name"] for one in table["columns"]].index(name)
    return [row[place]["text"] for row in table["rows"]]


def near(values):
    """As the page gets numbers: four digits of them."""
    return pytest.approx(np.asarray(values, dtype=float), rel=1e-3, abs=1e-9)


def test_the_lens_map_holds_layers_and_tokens(desk):
    shown = show(desk, "lens", token=2, all_tokens=True)
    whole, found = lens_map(desk.explorer, TEXT), lens(desk.explorer, TEXT, 2)
    heat = find(shown.parts, "heat")
    assert np.array(heat["values"]) == near(whole.rank)
    assert heat["texts"] == [list(row) for row in whole.top]
    assert heat["rows"] == ["embeddings", "layer 0", "layer 1", "layer 2"]
    assert (heat["hold"], heat["row_hold"]) == (["layer", "token"], [None, 0, 1, 2])
    assert heat["row_hues"] == ["plain", "global", "local", "local"]
    assert (heat["mark"], heat["log"], heat["low"]) == ([None, 2], True, 1)
    trail = show(desk, "lens", token=2).parts
    ranks = find(trail, "lines", "Rank of")
    assert [y for _, y in ranks["series"][0]["points"]] == [row.rank for row in found.rows]
    words = find(trail, "heat", "Top predictions")["texts"]
    assert [row[0].rpartition(" ")[0] for row in words] == [
        row.predictions[0].token for row in found.rows
    ]


def test_a_window_moves_along_a_long_text_under_a_map_of_it_all(sessions, monkeypatch):
    monkeypatch.setattr("mbexplore.display.browser.WIDE", 5)
    monkeypatch.setattr("mbexplore.display.browser.OVERVIEW", 4)
    desk = sessions.desk("me", "handbuilt", "a b c d e f g h [MASK] i")
    whole = lens_map(desk.explorer, desk.encoding).rank
    for token, first, start in (
        (0, -1, 0),
        (6, -1, 4),
        (11, -1, 7),
        (6, 0, 0),
        (2, 5, 5),
        (6, 99, 7),
    ):
        heat = find(show(desk, "lens", token=token, first=first, all_tokens=True).parts, "heat")
        assert heat["column_hold"] == list(range(start, start + 5))
        inside = start <= token < start + 5
        assert heat["mark"] == ([None, token - start] if inside else None)
        assert np.array(heat["values"]) == near(whole[:, start : start + 5])
        overview = heat["overview"]
        assert [overview[name] for name in ("start", "stop", "pool", "total")] == [
            start, start + 5, 3, 12,
        ]  # fmt: skip
        assert np.array(overview["values"]) == near(whole.reshape(len(whole), 4, 3).max(2))
        assert (heat["low"], heat["high"]) == (whole.min(), whole.max())  # of all, not of these
    monkeypatch.undo()
    assert find(show(desk, "lens", all_tokens=True).parts, "heat")["overview"] is None


def test_an_overview_keeps_what_is_farthest_from_nothing(monkeypatch):
    monkeypatch.setattr("mbexplore_ui.parts.OVERVIEW", 2)
    made = parts.heat(
        [[1.0, -3.0, 0.5, 2.0]], rows=["r"], columns=list("abcd"), window=slice(1, 3), hue="signed"
    )
    assert made["overview"]["values"] == [[-3.0, 2.0]] and made["values"] == [[-3.0, 0.5]]
    assert made["columns"] == ["b", "c"] and (made["low"], made["high"]) == (-3.0, 3.0)


@pytest.mark.parametrize("name", ["residual", "neurons"])
def test_every_map_of_tokens_has_the_same_window(desk, monkeypatch, name):
    monkeypatch.setattr("mbexplore.display.browser.WIDE", 4)
    heat = find(show(desk, name, first=3).parts, "heat")
    assert heat["column_hold"] == [3, 4, 5, 6] and heat["overview"]["total"] == 9


@pytest.mark.parametrize("measure", ["norms", "rollout", "value_zeroing"])
def test_mixing_follows_the_token_and_says_how_long_a_text_may_be(desk, monkeypatch, measure):
    wishes = {"layer": 1, "measure": measure}

    def queries(**more):
        links = find(show(desk, "attention", **wishes, **more).parts, "table")
        return {name.split()[-1] for name in column(links, "query")}

    assert queries(token=3) == {"3"} and len(queries()) > 1
    monkeypatch.setattr("mbexplore.analysis.context_mixing.MOST_TOKENS", 8)
    with pytest.raises(RangeError, match="give at most 8"):
        show(desk, "attention", layer=0, measure=measure)
    assert find(show(desk, "attention", layer=1).parts, "map")  # weights still are drawn


def test_a_band_says_what_lies_at_the_windows_edges(explorer):
    sessions = Sessions({"tiny": explorer})
    for text, words in (("a b c d e " * 8, "two edges"), (TEXT, "No two tokens are 16 apart")):
        shown = show(sessions.desk("me", "tiny", text), "attention", layer=4, picture="band")
        assert words in shown.head_line
        band = find(shown.parts, "map")
        assert {"\N{MINUS SIGN}1", "0", "+1"} <= {name for name, _ in band["columnPlaces"]}


def test_arcs_of_a_long_text_say_which_part_they_are(desk, monkeypatch):
    wishes = {"layer": 0, "picture": "arcs"}
    assert find(show(desk, "attention", **wishes).parts, "arcs")["part"] == ""
    monkeypatch.setattr("mbexplore.display.attention_browser.MOST_PLACES", 4)
    drawn = find(show(desk, "attention", token=5, **wishes).parts, "arcs")
    assert "tokens 3 to 6 of a text of 9;" in drawn["part"] and len(drawn["places"]) == 4
    assert all(0 <= end < 4 for query, key, *_ in drawn["links"] for end in (query, key))


def test_a_number_that_rounds_to_nothing_has_no_sign():
    assert [signed(x) for x in (1.5, -1.5, 0.001, -0.001)] == [
        "+1.50",
        "\N{MINUS SIGN}1.50",
        "0.00",
        "0.00",
    ]


@pytest.mark.parametrize("name", ["ablate", "patch", "attribute"])
def test_slow_work_tells_how_far_it_is_and_can_be_stopped(desk, monkeypatch, name):
    wishes = {"other": OTHER, "answer": "b"} if name == "patch" else {}
    moves = []
    monkeypatch.setattr(desk.progress, "move", lambda *move: moves.append(move))
    show(desk, name, **wishes)
    assert len(moves) > 1 or name == "attribute"
    assert all(0 < done <= total for done, total in moves) and moves[-1][0] == moves[-1][1]

    def stop(done, total):
        raise UsageError("Stopped.")

    monkeypatch.setattr(desk.progress, "move", stop)
    again = wishes | {"answer": "e"}
    with pytest.raises(UsageError, match="Stopped"):
        show(desk, name, **again)
    monkeypatch.undo()
    assert show(desk, name, **again).view  # and what was stopped is whole when asked again


@pytest.mark.parametrize("name", ["ablate", "patch", "attribute", "compare"])
def test_a_look_at_another_token_leaves_the_answer(sessions, monkeypatch, name):
    """Its mask stays explained: a click on a word computes nothing again."""
    desk = sessions.desk("me", "copier", TEXT)
    needed = {"other": OTHER} if name in ("patch", "compare") else {}
    first = show(desk, name, **needed)
    monkeypatch.setattr(type(desk.explorer.model), "__call__", None)
    monkeypatch.setattr(type(desk.explorer.model.encoder), "__call__", None)
    for token in (2, PLACE, 8):
        assert show(desk, name, token=token, **needed).view is first.view


def test_a_second_text_or_model_is_asked_for(desk):
    for name, sentence in (("patch", "add one of 9 tokens"), ("compare", "add a second text")):
        shown = show(desk, name)
        assert sentence in find(shown.parts, "note")["text"] and shown.view is None
    shown = show(desk, "compare", other_model="copier")
    assert [bars["title"] for bars in find(shown.parts, "row")["parts"]] == ["handbuilt"] * 2
    with pytest.raises(ModelError, match="'base' was not opened"):
        show(desk, "compare", other_model="base")


def test_words_of_a_list_are_written_in_one_line(sessions):
    desk = sessions.desk("me", "copier", TEXT)
    shown = show(desk, "ablate", parts="1.0, 2.mlp 0.1", blocked="b")
    assert [*shown.view.view.parts] == ["1.0", "2.mlp", "0.1"]
    assert shown.view.view.blocked == ("b",)
    heat = find(show(desk, "ablate").parts, "heat")
    assert heat["hold_more"] == {"parts": "{row}.{column}", "all_heads": True}


def test_the_score_of_a_query_and_a_key(desk):
    shown = show(desk, "rope-score", layer=0, head=1, token=PLACE, key=2)
    found = score_contributions(desk.recording, 0, 1, PLACE, 2)
    running = find(shown.parts, "lines", "Contribution")["series"][1]["points"]
    assert running[-1][1] == near(found.score)
    assert f"weight {found.weight:.1%}" in shown.head_line
    links = find(shown.parts, "table", "attends to")
    weights = desk.recording.attention(0, 1, PLACE)[0, 0]
    assert links["rows"][0][0]["hold"] == {"key": int(weights.argmax())}
    strongest = f"({int(weights.argmax())})"
    assert strongest in show(desk, "rope-score", layer=0, head=1, token=PLACE).head_line
    with pytest.raises(RangeError, match="can't see token 8"):
        show(desk, "rope-score", layer=1, head=0, token=0, key=8)
    waves = find(show(desk, "rope").parts, "lines", "Wavelength")
    assert len(waves["series"]) == 1 and waves["levels"]  # one theta for both kinds here


def test_the_residual_stream_and_the_neurons(desk):
    norms = residual_norms(desk.recording)
    shown = show(desk, "residual", token=2)
    assert np.array(find(shown.parts, "heat")["values"]) == near(norms.residual)
    added = find(shown.parts, "lines", "each update")["series"]
    for one, values in zip(added, (norms.attention, norms.mlp), strict=True):
        assert [y for _, y in one["points"]] == near(values[:, 2])
    of_token = show(desk, "token-neurons", token=2, top_k=3)
    found = token_neurons(desk.explorer, desk.recording, 2, None, 3)
    names = column(find(of_token.parts, "table"), "neuron")
    assert names == [f"{one.layer}.{one.neuron}" for one in found.neurons]
    of_layer = show(desk, "neurons", layer=1, top_k=3)
    assert np.shape(find(of_layer.parts, "heat")["values"]) == (3, 9)


def test_looking_elsewhere_runs_nothing_again(desk):
    for layer, head, token in ((0, 0, 4), (1, 1, 2), (2, 0, 8)):
        show(desk, "lens", token=token)
        show(desk, "rope-score", layer=layer, head=head, token=token)
        show(desk, "residual", token=token)
        show(desk, "neurons", layer=layer, token=token)
        show(desk, "token-neurons", token=token)
        show(desk, "heads")
    assert desk.runs == 1


@pytest.mark.parametrize("name", ["ablate", "patch", "attribute"])
def test_without_a_mask_there_is_nothing_to_explain(sessions, name):
    desk = sessions.desk("me", "handbuilt", "a b c")
    with pytest.raises(TextError, match=r"has no \[MASK\]"):
        show(desk, name, other="a b d") if name == "patch" else show(desk, name)


def test_views_that_need_no_mask_work_without_one(sessions):
    desk = sessions.desk("me", "handbuilt", "a b c")
    for name in ("rope", "rope-score", "residual", "neurons", "token-neurons", "heads"):
        assert show(desk, name).parts


def test_parity_draws_every_layer_under_what_is_allowed(tmp_path, monkeypatch):
    build_random().save_pretrained(tmp_path)
    build_tokenizer()._inner.save(str(tmp_path / "tokenizer.json"))
    desk = Sessions({"one": load(str(tmp_path), device="cpu")}).desk("me", "one", TEXT)
    assert find(show(desk, "parity", **BY_NAME["parity"].quick).parts, "lines") is None
    moves = []
    monkeypatch.setattr(desk.progress, "move", lambda *move: moves.append(move))
    shown = show(desk, "parity")
    assert moves == [(1, 3), (2, 3), (3, 3)]
    assert shown.head_line.startswith("Every value is within its tolerance of transformers")
    for title in ("Hidden states", "Attention maps"):
        found, allowed = find(shown.parts, "lines", title)["series"]
        assert len(found["points"]) == len(allowed["points"]) == 3
        assert all(a[1] <= b[1] for a, b in zip(found["points"], allowed["points"], strict=True))
    names = column(find(shown.parts, "table"), "value")
    assert (names[0], names[-1]) == ("embeddings", "logits")
