"""Masking tokens of a text and putting back what was there, whatever letters they hold."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mbexplore
from mbexplore.errors import TextError
from mbexplore.masking import MASK, toggle_masks
from tests.handbuilt import build_tokenizer

PARIS = "The capital of France is [MASK]."
THUMB = "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-5}"
FAMILY = "\N{MAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
FLAG = "\N{REGIONAL INDICATOR SYMBOL LETTER F}\N{REGIONAL INDICATOR SYMBOL LETTER R}"
CAFE = "cafe\u0301"
PIECES = st.sampled_from(
    [
        "a", "b", " ", "\t", "\n", "[MASK]", CAFE, "e\u0301", "o\u0302\u0323", "\u0301", THUMB,
        FAMILY, FLAG, "\N{GRINNING FACE}", ".", "Paris", " Paris", "\u05d0\u05b8", "\u0e01\u0e33",
        "\u2764\ufe0f",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, min_size=1, max_size=8).map("".join)


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def toggle(encoding, *tokens, hidden=(), answers=()):
    spans = [(token, token + 1) for token in tokens]
    return toggle_masks(encoding, spans, list(hidden), lambda: list(answers))


def test_a_range_of_tokens_becomes_masks_and_comes_back(explorer):
    text, hidden = toggle(explorer.encode("The capital of France is Paris."), 4, 5, 6)
    assert text == "The capital of [MASK] [MASK] [MASK]."
    assert hidden == ["France", "is", "Paris"]
    back, none = toggle(explorer.encode(text), 6, 5, 4, hidden=hidden)
    assert (back, none) == ("The capital of France is Paris.", [])


def test_masks_come_and_go_one_by_one():
    tokenizer = build_tokenizer()

    def step(text, token, hidden=(), answers=()):
        return toggle(tokenizer.encode(text), token, hidden=hidden, answers=answers)

    assert step("a b [MASK] c", 2) == ("a [MASK] [MASK] c", ["b", ""])
    assert step("a [MASK] [MASK] c", 4, ["b", ""]) == ("a [MASK] [MASK] [MASK]", ["b", "", "c"])
    three = "a [MASK] [MASK] [MASK]"
    assert step(three, 2, ["b", "", "c"]) == ("a b [MASK] [MASK]", ["", "c"])
    assert step(three, 3, ["b", "", "c"], ["x", "d", "y"]) == ("a [MASK] d [MASK]", ["b", "c"])


def test_a_word_of_several_tokens_becomes_one_mask(explorer):
    encoding = explorer.encode("The fishermen wait.")
    text, hidden = toggle_masks(encoding, [(2, 5)], [], list)
    assert (text, hidden) == ("The [MASK] wait.", ["fishermen"])


def test_a_mask_that_nobody_hid_becomes_the_answer_or_stays(explorer):
    encoding = explorer.encode(PARIS)
    assert toggle(encoding, 6, answers=["Rome"]) == ("The capital of France is Rome.", [])
    for answers in ([], [""]):
        with pytest.raises(TextError, match="no answer yet"):
            toggle(encoding, 6, answers=answers)


def test_what_no_text_holds_cannot_be_masked(explorer):
    with pytest.raises(TextError, match=r"\[CLS\] at 0 is not in the text itself"):
        toggle(explorer.encode(PARIS), 0)


@pytest.mark.parametrize("piece", [CAFE, THUMB, FAMILY, FLAG, "\u2764\ufe0f", "\t"])
def test_no_token_leaves_a_part_of_a_letter_behind(explorer, piece):
    encoding = explorer.encode(f"A {piece} b.")
    spans = [(i, encoding.offsets[i]) for i in range(len(encoding))]
    own = [i for i, (start, stop) in spans if start < 2 + len(piece) and stop > 2]
    assert own
    for token in own:
        text, [hidden] = toggle(encoding, token)
        assert text.replace(MASK, hidden) == encoding.text
        for part in text.split(MASK):
            assert not part or not unicodedata.combining(part[0])
            assert not part.startswith(
                ("\u200d", "\ufe0f", "\N{EMOJI MODIFIER FITZPATRICK TYPE-5}")
            )
            assert not part.endswith("\u200d")


@given(TEXTS, st.data())
def test_a_mask_hides_whole_letters_and_toggling_it_gives_the_text_again(explorer, text, data):
    try:
        encoding = explorer.encode(text)
    except TextError:
        return
    there = encoding.mask_positions
    token = data.draw(st.integers(0, len(encoding) - 1))
    start, stop = encoding.offsets[token]
    if stop == start or token in there:
        return
    known = [f"word {n}" for n in range(len(there))]
    changed, hidden = toggle(encoding, token, hidden=known)
    assert len(hidden) == len(known) + 1 == changed.count(MASK)
    new = next(n for n, what in enumerate(hidden) if what not in known)
    assert [*hidden[:new], *hidden[new + 1 :]] == known
    before, after = changed.split(MASK)[: new + 1], changed.split(MASK)[new + 1 :]
    first, last = MASK.join(before), MASK.join(after)
    assert first + hidden[new] + last == text  # nothing else has moved
    assert len(first) <= start or not text[len(first) : start].strip()
    assert len(text) - len(last) >= stop
    if last and not last.startswith(MASK):
        assert not unicodedata.combining(last[0]) and last[0] not in "\u200d\ufe0f"
    again = explorer.encode(changed)
    assert len(again.mask_positions) == len(hidden)
    back, rest = toggle(again, again.mask_positions[new], hidden=hidden)
    assert (back, rest) == (text, known)
