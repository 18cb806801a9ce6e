"""Foreign text where it is made printable: sentences, names, JSON."""

import json

from hypothesis import given
from hypothesis import strategies as st

from mbexplore.errors import ModelError
from mbexplore.text import json_line, quoted, said, said_at, shortened, shown

ANY = st.text(st.characters(), max_size=40)  # lone surrogates too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY, inner, max_size=4),
)
UNSAFE = {*map(chr, [*range(32), *range(127, 160), *range(0x202A, 0x202F)]), "\u2066", "\ud800"}


@given(ANY)
def test_what_is_shown_can_be_written_and_holds_no_control(text):
    safe = shown(text)
    safe.encode("utf-8")
    assert not UNSAFE & set(safe) and "\u2028" not in safe
    assert shown(safe) == safe
    if text.isascii() and text.isprintable():
        assert safe == text


@given(VALUES)
def test_json_is_what_any_parser_and_terminal_takes(payload):
    line = json_line(payload)
    line.encode("utf-8")
    assert not UNSAFE & set(line)

    def refuse(constant):
        raise AssertionError(constant)

    def finite(value):
        if isinstance(value, float) and value - value != 0:
            return None
        if isinstance(value, dict):
            return {key: finite(one) for key, one in value.items()}
        return [finite(one) for one in value] if isinstance(value, list) else value

    assert json.loads(line, parse_constant=refuse) == finite(payload)


@given(VALUES)
def test_any_value_is_quoted_short(value):
    assert len(quoted(value)) < 1_000 and shown(quoted(value)) == quoted(value)


def test_values_that_break_a_repr():
    deep = []
    for _ in range(10**5):
        deep = [deep]
    assert quoted(deep) == "[[[[...]]]]"
    assert quoted(10**5000) == "a number of thousands of digits"
    assert quoted("abc") == "'abc'"
    while deep:  # by hand: Python itself would take it apart by recursion
        deep = deep.pop()


def test_a_sentence_keeps_its_beginning_and_its_remedy():
    error = ModelError(f"The name {'x' * 10**7} is too long; choose another.\x1b[31m")
    assert str(error).startswith("The name xxx") and len(str(error)) < 1_100
    assert str(error).endswith("; choose another.\\x1b[31m")
    assert str(ModelError("short.")) == "short." and ModelError("short.").args == ("short.",)


@given(st.text(max_size=300), st.integers(20, 200))
def test_a_shortened_text_has_at_most_that_many_characters(text, most):
    short = shortened(text, most)
    assert len(short) <= most and (short == text) == (len(text) <= most)


def test_a_mark_is_quoted_in_a_sentence():
    tokens = (" Paris", ",", " .", "[SEP]", " 1964", "é")
    assert list(map(said, tokens)) == ["Paris", "','", "'.'", "[SEP]", "1964", "é"]
    assert said_at(tokens, 1) == "',' (1)"
