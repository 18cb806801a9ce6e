"""The explorer's pure parts: where a key leads, what a line holds, what earlier texts are kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mbexplore.explore import state
from mbexplore.explore.drawing import clip
from mbexplore.explore.history import LONGEST, MOST, History
from mbexplore.explore.keys import KEYS
from mbexplore.explore.panes import pane_names
from mbexplore.explore.state import EXACT, Bounds, State, window_of
from mbexplore.explore.widgets import as_seen

KINDS = ("global", "local", "local", "global", "local")
TEXT = Bounds(
    KINDS, heads=2, tokens=7, words=((0, 1), (1, 3), (3, 6), (6, 7)), specials=frozenset({0, 6})
)
bounds = st.builds(
    Bounds,
    st.just(KINDS),
    st.integers(1, 16),
    st.integers(0, 9000),
    st.just(()),
    st.just(frozenset()),
)
states = st.builds(
    State,
    st.integers(-3, 30),
    st.integers(-3, 30),
    st.integers(-3, 9999),
    st.sampled_from(pane_names()),
    st.integers(-2, 20),
)


@given(states, bounds, st.integers(-50, 50))
def test_no_key_leaves_the_text_or_the_model(where, there, by):
    where = state.go(where, there)
    for what in ("layer", "head", "token", "zoom"):
        moved = state.step(where, there, what, by)
        assert moved == state.go(moved, there)
        assert 0 <= moved.layer < len(KINDS) and 0 <= moved.head < there.heads
        assert 0 <= moved.token < max(1, there.tokens) and 0 <= moved.zoom <= there.zooms


def test_heads_go_on_into_the_next_layer():
    where = State(layer=1, head=1)
    assert state.step(where, TEXT, "head", 1) == State(layer=2, head=0)
    assert state.step(State(layer=2), TEXT, "head", -1) == where
    assert state.step(State(layer=4, head=1), TEXT, "head", 1) == State(layer=4, head=1)


def test_words_are_gone_through_as_wholes_and_hidden_tokens_are_left_out():
    words = State(token=1, words=True)
    assert state.step(words, TEXT, "token", 1).token == 3
    assert state.step(State(token=4, words=True), TEXT, "token", -1).token == 1
    hidden = State(token=5, specials=False)
    assert state.step(hidden, TEXT, "token", 1).token == 5
    assert state.go(State(token=6), TEXT, specials=False) == State(token=5, specials=False)


def test_the_nearest_layer_of_a_kind_and_from_there_the_next():
    layers = [where.layer for where in steps(State(layer=1), "global", 4)]
    assert layers == [0, 3, 0, 3]
    assert [where.layer for where in steps(State(layer=0), "local", 4)] == [1, 2, 4, 1]


def steps(where, kind, count):
    for _ in range(count):
        where = state.nearest(where, TEXT, kind)
        yield where


@pytest.mark.parametrize("tokens", [1, 2, 7, 8, 9, 200, 2048, 8192])
def test_zoom_ends_at_figures(tokens):
    there = Bounds(KINDS, 2, tokens)
    spans = []
    for zoom in range(there.zooms + 1):
        start, stop = window_of(State(zoom=zoom, token=tokens // 2), there) or (0, tokens)
        spans.append(stop - start)
        assert 0 <= start <= tokens // 2 < stop <= tokens
    assert spans[0] == tokens and spans[-1] <= EXACT
    assert spans == sorted(spans, reverse=True)


@given(st.integers(1, 9000), st.data())
def test_a_zoomed_map_always_holds_the_chosen_token(tokens, data):
    there = Bounds(KINDS, 2, tokens)
    where = State(token=data.draw(st.integers(0, tokens - 1)), zoom=data.draw(st.integers(0, 20)))
    where = state.go(where, there)
    start, stop = window_of(where, there) or (0, tokens)
    assert 0 <= start <= where.token < stop <= tokens


LETTERS = st.text("ab \N{CJK UNIFIED IDEOGRAPH-6771}\N{HEBREW LETTER ALEF}e\u0301\N{GRINNING FACE}")


@given(LETTERS, st.integers(0, 12))
def test_cut_text_fits_its_cells(text, width):
    assert cell_len(clip(text, width)) <= width
    assert cell_len(clip(text, width, pad=True)) == width


@given(st.text())
def test_nothing_that_steers_a_terminal_is_seen(text):
    seen = as_seen(text)
    assert len(seen) == len(text)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c in "\u200e\u202e\u2066" for c in seen)


def test_every_key_has_a_place_of_its_own():
    names = [name for key in KEYS for name in key.key.split(",")]
    assert len(names) == len(set(names))


def test_history_over_runs(tmp_path):
    path = tmp_path / "deep" / "history.jsonl"
    first = History(path)
    for text in ("one", "two\nlines \x1b[31m", "two\nlines \x1b[31m", " ", "x" * (LONGEST + 1)):
        first.add(text)
    assert path.stat().st_mode & 0o777 == 0o600
    again = History(path)
    assert again.texts == ["one", "two\nlines \x1b[31m"]
    assert [again.step(by, "draft") for by in (-1, -1, -1, 1, 1, 1)] == [
        "two\nlines \x1b[31m", "one", None, "two\nlines \x1b[31m", "draft", None,
    ]  # fmt: skip


def test_history_survives_a_broken_file_and_a_full_one(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'"one"\n{"no": 1}\nbroken\n\xff\xfe\n"two"\n')
    assert History(path).texts == ["one", "two"]
    path.write_text("".join(f'"{n}"\n' for n in range(3 * MOST)))
    assert History(path).texts[-1] == str(3 * MOST - 1)
    assert len(path.read_text().splitlines()) == MOST


def test_history_without_a_file_or_where_none_can_be(tmp_path):
    for path in (None, tmp_path / "file" / "history.jsonl"):
        (tmp_path / "file").write_text("")
        history = History(path)
        history.add("one")
        assert history.step(-1, "") == "one"
