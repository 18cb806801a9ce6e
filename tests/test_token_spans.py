"""Words, positions and ranges to places in a text."""

import pytest

import mbexplore
from mbexplore.analysis.token_spans import (
    find_token_position,
    find_token_range,
    word_spans,
    word_texts,
)
from mbexplore.errors import RangeError

TEXT = "Zwingli preached in Zurich; the unfathomableness of it. The end"


@pytest.fixture(scope="module")
def encoding():
    return mbexplore.load("tiny", device="cpu").encode(TEXT)


def test_words_put_together_are_the_text(encoding):
    words = [word for word in word_texts(encoding) if word]
    assert "unfathomableness" in words and len(words) < len(encoding)
    assert "".join(words[1:-1]) == TEXT.replace(" ", "")
    spans = word_spans(encoding)
    assert [i for start, stop in spans for i in range(start, stop)] == list(range(len(encoding)))


def test_a_place_by_position_word_and_case(encoding):
    assert find_token_position(encoding, "3") == 3
    first = find_token_position(encoding, "unfathomableness")
    assert encoding.offsets[first][0] <= TEXT.index("unf") <= encoding.offsets[first][1]
    assert find_token_position(encoding, "the") < find_token_position(encoding, "The")
    assert find_token_position(encoding, "ZURICH") == find_token_position(encoding, "Zurich")
    assert find_token_position(encoding, encoding.tokens[0]) == 0


def test_a_word_that_is_not_there_names_the_nearest(encoding):
    with pytest.raises(RangeError, match="no token or word 'Zuric'; the nearest is 'Zurich'"):
        find_token_position(encoding, "Zuric")
    with pytest.raises(RangeError, match="no token 99"):
        find_token_position(encoding, "99")


def test_ranges(encoding):
    seq = len(encoding)
    assert find_token_range(encoding, "2:5") == (2, 5)
    assert find_token_range(encoding, ":") == (0, seq)
    for wrong in ("5", "5:5", "a:b", f"0:{seq + 1}", "-1:4"):
        with pytest.raises(RangeError):
            find_token_range(encoding, wrong)
