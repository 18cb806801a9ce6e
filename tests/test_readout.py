"""Answers as people write them: the token that the model would put in that place of the text."""

import pytest

import mbexplore
from mbexplore.analysis.attribute import attribute
from mbexplore.analysis.lens import lens
from mbexplore.analysis.target import find_token, follows_space
from mbexplore.errors import RangeError

START = "[MASK] is the capital of France."
WITHIN = "The capital of France is [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def test_the_models_own_answer_can_be_said(explorer):
    """Of every text, the likeliest token is found again by its plain word."""
    for text in (
        START,
        WITHIN,
        "He opened the (MASK), and left.",
        "un[MASK]able to go",
        "A-[MASK]",
    ):
        text = text.replace("(MASK)", "[MASK]")
        own = lens(explorer, text).target
        if own.token.strip().isalpha():
            assert lens(explorer, text, answer=own.token.strip()).target == own
        assert lens(explorer, text, answer=own.spelling).target == own


def test_both_spellings_can_be_said_and_the_target_says_which(explorer):
    bare, spaced = (find_token(explorer.tokenizer, f'"{word}"') for word in ("What", " What"))
    assert bare != spaced
    assert lens(explorer, START, answer="What").target.token_id == bare
    assert lens(explorer, START, answer=" What").target.token_id == spaced
    assert lens(explorer, WITHIN, answer="What").target.token_id == spaced
    assert lens(explorer, WITHIN, answer='"What"').target.token_id == bare
    assert lens(explorer, WITHIN, answer="What").target.spelling == '" What"'
    assert lens(explorer, START, answer="What").rows[-1].rank == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (START, False), (WITHIN, True), ("a b", False), ("(a [MASK]", True), ("([MASK] a", False),
        ("a\n[MASK]", True), ("a\t[MASK]", True),
    ],
)  # fmt: skip
def test_where_a_space_comes_before(explorer, text, expected):
    encoding = explorer.encode(text)
    place = encoding.mask_positions[0] if encoding.mask_positions else 1
    assert follows_space(encoding, place) == expected


def test_the_second_text_of_a_pair_starts_without_a_space(explorer):
    encoding = explorer.encode("Where is it?", pair=START)
    assert not follows_space(encoding, encoding.mask_positions[0])


def test_a_word_of_several_tokens_is_refused_whatever_its_spelling(explorer):
    for name in ("photosynthesis", '"photosynthesis"', " photosynthesis"):
        with pytest.raises(RangeError, match=r"tokens .* and an answer is one"):
            find_token(explorer.tokenizer, name)


def test_raw_embeddings_and_normed_ones_share_the_same_logit_out_differently(explorer):
    """Completeness holds for both, against the logits themselves."""
    normed, raw = (
        attribute(explorer, WITHIN, answer="Paris", steps=128, embeddings=kind)
        for kind in ("normed", "raw")
    )
    assert (normed.embeddings, raw.embeddings) == ("normed", "raw")
    assert normed.value == pytest.approx(raw.value, abs=1e-4)
    for found in (normed, raw):
        total = found.value - found.baseline_value
        assert sum(found.integrated) == pytest.approx(total, rel=0.01)
    assert max(abs(a - b) for a, b in zip(normed.integrated, raw.integrated, strict=True)) > 0.01
