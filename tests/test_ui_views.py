"""The page's views: what they show is what the analyses found, and looking runs no model."""

import json

import numpy as np
import pytest
from mbexplore_ui import parts
from mbexplore_ui.sessions import Sessions
from mbexplore_ui.views import VIEWS
from mbexplore_ui.views.common import signed

from mbexplore.analysis.ablate import ablate_heads
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.compare import compare
from mbexplore.analysis.lens import lens, lens_map
from mbexplore.analysis.neurons import token_neurons
from mbexplore.analysis.patch import patch
from mbexplore.analysis.residual import residual_norms
from mbexplore.analysis.rope import score_contributions
from mbexplore.errors import RangeError, TextError, UsageError
from mbexplore.explorer import load
from tests.handbuilt import (
    COPY_HEAD,
    COPY_LAYER,
    build_explorer,
    build_random,
    build_tokenizer,
)

BY_NAME = {view.name: view for view in VIEWS}
TEXT, OTHER = "a b c [MASK] d e f", "a b e [MASK] d e f"
PLACE = 4
MINE = ("rope", "activations", "lens", "knockout", "patch", "attribute", "compare")


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
    shown = show(desk, "lens", token=2)
    whole, found = lens_map(desk.explorer, TEXT), lens(desk.explorer, TEXT, 2)
    heat = find(shown.parts, "heat")
    assert np.array(heat["values"]) == near(whole.rank)
    assert heat["texts"] == [list(row) for row in whole.top]
    assert heat["rows"] == ["embeddings", "layer 0", "layer 1", "layer 2"]
    assert (heat["hold"], heat["row_hold"]) == (["layer", "token"], [None, 0, 1, 2])
    assert heat["row_hues"] == ["plain", "global", "local", "local"]
    assert (heat["mark"], heat["log"], heat["low"]) == ([None, 2], True, 1)
    trail = find(shown.parts, "lines", "Rank of")
    assert [y for _, y in trail["series"][0]["points"]] == [row.rank for row in found.rows]
    words = find(show(desk, "lens", token=2, scope="held token").parts, "table")
    assert [cell.rpartition(" ")[0] for cell in column(words, "1.")] == [
        row.predictions[0].token for row in found.rows
    ]


def test_a_window_moves_along_a_long_text_under_a_map_of_it_all(sessions, monkeypatch):
    monkeypatch.setattr("mbexplore_ui.views.lens.MOST_TOKENS", 5)
    monkeypatch.setattr("mbexplore_ui.parts.OVERVIEW", 4)
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
        heat = find(show(desk, "lens", token=token, first=first).parts, "heat")
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
    assert find(show(desk, "lens").parts, "heat")["overview"] is None


def test_an_overview_keeps_what_is_farthest_from_nothing(monkeypatch):
    monkeypatch.setattr("mbexplore_ui.parts.OVERVIEW", 2)
    made = parts.heat(
        [[1.0, -3.0, 0.5, 2.0]], rows=["r"], columns=list("abcd"), window=slice(1, 3), hue="signed"
    )
    assert made["overview"]["values"] == [[-3.0, 2.0]] and made["values"] == [[-3.0, 0.5]]
    assert made["columns"] == ["b", "c"] and (made["low"], made["high"]) == (-3.0, 3.0)


@pytest.mark.parametrize("name", ["activations", "patch", "compare"])
def test_every_map_of_tokens_has_the_same_window(desk, monkeypatch, name):
    monkeypatch.setattr(f"mbexplore_ui.views.{name}.MOST_TOKENS", 4)
    needed = {"other": OTHER} | ({"answer": "b"} if name == "patch" else {})
    wishes = {} if name == "activations" else needed
    heat = find(show(desk, name, first=3, **wishes).parts, "heat")
    assert heat["column_hold"] == [3, 4, 5, 6] and heat["overview"]["total"] == 9


def test_patching_a_long_text_is_warned_of_at_once(desk, monkeypatch):
    wishes = {"other": OTHER, "answer": "b", "whole": False}
    assert find(show(desk, "patch", **wishes).parts, "note") is None
    monkeypatch.setattr("mbexplore_ui.views.patch.MOST_TOKENS", 4)
    assert "shorter pair" in find(show(desk, "patch", **wishes).parts, "note")["text"]


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


def test_many_masks_are_cut_to_the_first_and_it_is_said(explorer, monkeypatch):
    monkeypatch.setattr("mbexplore_ui.views.predict.MOST_MASKS", 2)
    desk = Sessions({"tiny": explorer}).desk("me", "tiny", "[MASK] a [MASK] b [MASK]")
    shown = show(desk, "predict", hugging_face=False)
    assert [p["kind"] for p in shown.parts] == ["heading", "row", "heading", "row", "note"]
    assert "first 2 of 3 masks" in shown.parts[-1]["text"]
    assert len(shown.view.payload()["masks"]) == 3


def test_a_number_that_rounds_to_nothing_has_no_sign():
    assert [signed(x) for x in (1.5, -1.5, 0.001, -0.001)] == [
        "+1.50",
        "\N{MINUS SIGN}1.50",
        "0.00",
        "0.00",
    ]


def test_the_knockout_map_stands_beside_the_prediction_it_changes(sessions):
    desk = sessions.desk("me", "copier", TEXT)
    wishes = {"layer": COPY_LAYER, "head": COPY_HEAD}
    shown = show(desk, "knockout", **wishes)
    heat = find(shown.parts, "heat")
    effects = ablate_heads(desk.explorer, TEXT)
    assert np.array(heat["values"]) == near(effects.logit)
    assert (heat["hold"], heat["mark"]) == (["layer", "head"], [COPY_LAYER, COPY_HEAD])
    bullets = [[text.endswith("\N{BULLET}") for text in row] for row in heat["texts"]]
    assert np.argwhere(bullets).tolist() == [[COPY_LAYER, COPY_HEAD]]
    with_it, without = (find(shown.parts, "table", t) for t in ("With every", "Without head"))
    assert column(with_it, "token")[0] == "c" and with_it["rows"][0][0]["strong"]
    assert column(without, "token")[0] == "[MASK]"
    strongest = find(shown.parts, "table", "changes it most")["rows"][0]
    assert strongest[0]["hold"] == {"layer": COPY_LAYER, "head": COPY_HEAD}
    quick = show(desk, "knockout", **wishes, **BY_NAME["knockout"].quick)
    assert find(quick.parts, "heat") is None and find(quick.parts, "table", "Without head 1.0")


def test_slow_work_is_done_once_for_a_text(desk, monkeypatch):
    show(desk, "knockout"), show(desk, "attribute"), show(desk, "patch", other=OTHER, answer="b")
    for name in ("knockout.ablate_heads", "attribute.attribute", "patch.patch"):
        monkeypatch.setattr(f"mbexplore_ui.views.{name}", None)
    show(desk, "knockout", layer=2, head=1, token=1)
    show(desk, "attribute", token=1)
    show(desk, "patch", other=OTHER, answer="b", token=3, layer=1)


@pytest.mark.parametrize("name", ["knockout", "patch", "attribute"])
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


def test_the_patching_maps_are_the_shares_restored(desk):
    assert find(show(desk, "patch").parts, "note")["text"].startswith("Write a second text of 9")
    shown = show(desk, "patch", other=OTHER, answer="b", other_answer="c", token=3, layer=1)
    found = patch(desk.explorer, TEXT, OTHER, answer="b", other="c")
    titles = {
        "Residual stream": found.residual, "Attention output": found.attention,
        "MLP output": found.mlp, "Heads": found.heads,
    }  # fmt: skip
    for title, values in titles.items():
        assert np.array(find(shown.parts, "heat", title)["values"]) == near(values)
    stream = find(shown.parts, "heat", "Residual stream")
    assert stream["columns"][3] == "c | e" and stream["mark"] == [2, 3]
    assert (stream["low"], find(shown.parts, "heat", "Heads")["hold"]) == (
        -stream["high"], ["layer", "head"],
    )  # fmt: skip
    with pytest.raises(TextError, match=r"9 tokens \(.*\) and 3 \(.*\); choose words"):
        show(desk, "patch", other="[MASK]")


def test_attribution_colours_the_text(desk):
    shown = show(desk, "attribute", contrast="f", steps=8)
    found = attribute(desk.explorer, TEXT, contrast="f", steps=8)
    strip = find(shown.parts, "strip")
    assert np.array(strip["values"]) == near(found.integrated)
    assert strip["mark"] == PLACE
    largest = int(np.argmax(np.abs(found.integrated)))
    assert find(shown.parts, "table", "Largest")["rows"][0][0]["hold"] == {"token": largest}
    assert "less that of f" in shown.head_line


def test_two_texts_and_two_models_stand_side_by_side(desk, sessions):
    assert find(show(desk, "compare").parts, "note")["text"].startswith("Write a second text")
    shown = show(desk, "compare", other=OTHER, layer=2, head=1, mean=False)
    explorer = desk.explorer
    found = compare((explorer, TEXT), (explorer, OTHER), layer=2, head=1)
    assert np.array(find(shown.parts, "heat", "residuals")["values"]) == near(
        found.residual_distance
    )
    assert np.array(find(shown.parts, "heat", "Attention")["values"]) == near(found.attention)
    assert f"{found.kl:.3f} nats" in shown.head_line
    models = show(desk, "compare", other_model="copier")
    tables = find(models.parts, "row")["parts"]
    copied = [p.token for p in compare((explorer, TEXT), (build_explorer(), TEXT))
              .second.predictions]  # fmt: skip
    assert [cell.removesuffix(" \N{BULLET}") for cell in column(tables[1], "token")] == copied
    uneven = show(desk, "compare", other="a [MASK]")
    assert find(uneven.parts, "heat") is None
    assert "9 and 4 tokens" in find(uneven.parts, "note")["text"]


def test_rope_takes_the_held_score_apart(desk):
    shown = show(desk, "rope", layer=0, head=1, token=PLACE, key=2)
    found = score_contributions(desk.recording, 0, 1, PLACE, 2)
    [shares] = find(shown.parts, "heat", "rotary pair")["values"]
    assert shares == near([one.contribution for one in found.contributions])
    assert sum(shares) == pytest.approx(found.score, abs=1e-2)
    assert f"weight {found.weight:.1%}" in shown.head_line
    links = find(shown.parts, "table", "looks at")
    weights = desk.recording.attention(0, 1, PLACE)[0, 0]
    assert links["rows"][0][0]["hold"] == {"key": int(weights.argmax())}
    strongest = f"({int(weights.argmax())})"
    assert strongest in show(desk, "rope", layer=0, head=1, token=PLACE).head_line
    hidden = show(desk, "rope", layer=1, head=0, token=0, key=8).head_line  # beyond its window
    assert "(8)" not in hidden
    waves = find(shown.parts, "lines", "turns once")
    assert len(waves["series"]) == 1 and waves["levels"]  # one theta for both kinds here


def test_activations_are_the_lengths_and_the_neurons(desk):
    norms = residual_norms(desk.recording)
    shown = show(desk, "activations", token=2)
    assert np.array(find(shown.parts, "heat")["values"]) == near(norms.residual)
    added = find(shown.parts, "lines", "adds")["series"]
    for one, values in zip(added, (norms.attention, norms.mlp), strict=True):
        assert [y for _, y in one["points"]] == near(values[:, 2])
    assert find(shown.parts, "lines", "adds")["x"]["ticks"] == ["layer 0", "layer 1", "layer 2"]
    of_token = show(desk, "activations", what="neurons at the token", token=2, count=3)
    found = token_neurons(desk.explorer, desk.recording, 2, None, 3)
    names = column(find(of_token.parts, "table"), "neuron")
    assert names == [f"{one.layer}.{one.neuron}" for one in found.neurons]
    of_layer = show(desk, "activations", what="neurons of the layer", layer=1, count=3)
    assert np.shape(find(of_layer.parts, "heat")["values"]) == (3, 9)


def test_looking_elsewhere_runs_nothing_again(desk):
    for layer, head, token in ((0, 0, 4), (1, 1, 2), (2, 0, 8)):
        show(desk, "lens", token=token)
        show(desk, "rope", layer=layer, head=head, token=token)
        show(desk, "activations", layer=layer, token=token, what="neurons of the layer")
        show(desk, "compare", layer=layer, head=head, token=token, other=OTHER)
    assert desk.runs == desk.beside(OTHER).runs == 1


@pytest.mark.parametrize("name", ["knockout", "patch", "attribute"])
def test_without_a_mask_there_is_nothing_to_explain(sessions, name):
    desk = sessions.desk("me", "handbuilt", "a b c")
    with pytest.raises(TextError, match="no mask to explain; click a word"):
        show(desk, name, other="a b d") if name == "patch" else show(desk, name)


def test_views_that_need_no_mask_work_without_one(sessions):
    desk = sessions.desk("me", "handbuilt", "a b c")
    for name in ("rope", "activations", "lens"):
        assert show(desk, name).parts


@pytest.mark.parametrize("name", MINE)
def test_every_view_names_its_command_and_its_wishes(desk, name):
    view = BY_NAME[name]
    needed = {"other": OTHER, "answer": "b"} if name == "patch" else {}
    needed |= {"other": OTHER} if name == "compare" else {}
    shown = show(desk, name, **needed)
    assert shown.view.command[0] in (name, "activations") and "json" in shown.view.formats
    assert set(view.labels) <= set(view.wishes) and set(view.quick) <= set(view.wishes)
    assert view.about.endswith(".") and view.show.__doc__


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
