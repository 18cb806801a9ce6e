"""Text to tokens: published ids, offsets, truncation, odd characters."""

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.checkpoints.hub import locate
from mbexplore.checkpoints.tokenizer import Tokenizer
from mbexplore.errors import ModelError, TextError

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"


@pytest.fixture(scope="module")
def tiny():
    return Tokenizer.from_folder(locate("tiny").folder)


@pytest.mark.skipif(not REFERENCE.exists(), reason="../shared/reference is not on this machine")
def test_published_ids(tmp_path):
    published = REFERENCE / "modernbert-tokenizer.json"
    (tmp_path / "tokenizer.json").write_bytes(published.read_bytes())
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", 50284)
    for vector in json.loads((REFERENCE / "tokenizer-vectors.json").read_text()):
        if vector["text"].strip():
            assert list(tokenizer.encode(vector["text"]).ids) == vector["ids"], vector["text"]


def test_the_mask_eats_the_space_before_it(tiny):
    encoding = tiny.encode("The capital of France is [MASK].")
    [mask] = encoding.mask_positions
    assert encoding.tokens[mask - 1] == " is"
    assert encoding.tokens[mask].strip() == "[MASK]"
    start, end = encoding.offsets[mask]
    assert encoding.text[start:end].strip() == "[MASK]"
    assert encoding.ids.count(tiny.mask_token_id) == 1


@given(text=st.text(min_size=1).filter(str.strip))
def test_any_text_becomes_tokens_of_equal_number(text):
    tokenizer = Tokenizer.from_folder(locate("tiny").folder)
    encoding = tokenizer.encode(text)
    parts = (encoding.tokens, encoding.offsets, encoding.words)
    assert all(len(part) == len(encoding) for part in parts)
    assert all(0 <= start <= end <= len(text) for start, end in encoding.offsets)
    assert encoding.full_length == len(encoding)


def test_bytes_of_a_cut_character_are_named(tiny):
    tokens = tiny.encode("\N{EGYPTIAN HIEROGLYPH A001}").tokens[1:-1]
    assert all(token.startswith("<0x") for token in tokens)


def test_a_long_text_is_refused_or_cut(tiny):
    text = "water " * 50
    with pytest.raises(TextError, match=r"has 5\d tokens and the model takes 20"):
        tiny.encode(text, limit=20)
    cut = tiny.encode(text, limit=20, truncate=True)
    assert len(cut) == 20 and cut.full_length > 50
    assert cut.ids[-1] == tiny.id_of("[SEP]") and cut.ids[0] == tiny.id_of("[CLS]")


PAIRS = [
    ("Where is the [MASK]?", "In the harbour, by\n the sea."),
    ("  one", "[MASK]"),
    ("\N{EGYPTIAN HIEROGLYPH A001}", "caf\N{LATIN SMALL LETTER E WITH ACUTE} [SEP] x"),
]


@pytest.mark.parametrize(("text", "pair"), PAIRS)
def test_a_pair_is_what_transformers_makes_of_it(tiny, text, pair):
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast(tokenizer_file=str(locate("tiny").folder / "tokenizer.json"))
    expected = theirs(text, pair, return_offsets_mapping=True)
    encoding = tiny.encode(text, pair=pair)
    assert list(encoding.ids) == expected["input_ids"]
    assert encoding.texts == (text, pair)
    of_second = [i for i, of in enumerate(expected.sequence_ids()) if of == 1]
    spelt = set(encoding.pair_positions)
    assert spelt <= set(of_second)
    for i, (start, end) in enumerate(expected["offset_mapping"]):
        source = pair if i in of_second else text
        assert encoding.text[slice(*encoding.offsets[i])] == source[start:end]


def test_words_of_a_pair_are_numbered_on(tiny):
    encoding = tiny.encode("one two", pair="three four")
    words = [word for word in encoding.words if word is not None]
    assert words == sorted(words) and set(words) == {0, 1, 2, 3}
    assert tiny.encode("one two").pair_positions == () and tiny.encode("one").texts == ("one",)


def test_a_long_pair_is_refused_or_cut_at_its_end(tiny):
    with pytest.raises(TextError, match="model takes 12"):
        tiny.encode("water", pair="water " * 20, limit=12)
    cut = tiny.encode("water", pair="water " * 20, limit=12, truncate=True)
    assert len(cut) == 12 and cut.is_cut and cut.ids[-1] == tiny.id_of("[SEP]")
    with pytest.raises(TextError, match="second text is empty"):
        tiny.encode("water", pair=" ")
    question = " ".join(["water"] * 9)  # with [CLS] and [SEP] eleven tokens
    with pytest.raises(TextError, match="Nothing is left of the second text within the 12 tokens"):
        tiny.encode(question, pair="water", limit=12, truncate=True)
    assert len(tiny.encode(question, pair="water", limit=13).pair_positions) == 1


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_text_is_refused(tiny, text):
    with pytest.raises(TextError, match="empty"):
        tiny.encode(text)


def test_a_text_that_leaves_no_token_is_refused():
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a"))
    inner.normalizer = tokenizers.normalizers.Replace("-", "")
    assert Tokenizer(inner, None).encode("a").ids == (0,)
    with pytest.raises(TextError, match="makes nothing of this text"):
        Tokenizer(inner, None).encode("--")


def test_a_broken_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="can't be read"):
        Tokenizer.from_folder(tmp_path)


def test_another_mask_token_is_found(tmp_path, tiny):
    source = locate("tiny").folder / "tokenizer.json"
    renamed = source.read_text(encoding="utf-8").replace("[MASK]", "<mask>")
    (tmp_path / "tokenizer.json").write_text(renamed, encoding="utf-8")
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.mask_token == "<mask>"
    assert tokenizer.encode("A <mask> here.").mask_positions


def with_another_mask(folder):
    """The bundled tokenizer with its mask called <mask>."""
    tiny = locate("tiny").folder
    content = (tiny / "tokenizer.json").read_text(encoding="utf-8")
    (folder / "tokenizer.json").write_text(content.replace('"[MASK]"', '"<mask>"'))
    return Tokenizer.from_folder(folder)


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is [MASK].",
        "[MASK][MASK] and\n [MASK], caf\u00e9 [MASK]",
        "[MASK]",
        "No mask at all.",
        "Both: [MASK] and <mask>.",
    ],
)
def test_a_mask_of_another_name_is_written_as_usual(tmp_path, tiny, text):
    other = with_another_mask(tmp_path)
    assert (other.mask_token, other.id_of("[MASK]")) == ("<mask>", None)
    ours, usual = other.encode(text), tiny.encode(text.replace("<mask>", "[MASK]"))
    assert ours.text == text
    assert (ours.ids, ours.mask_positions) == (usual.ids, usual.mask_positions)
    if "<mask>" not in text:
        assert ours.offsets == usual.offsets
    for position in ours.mask_positions:
        start, end = ours.offsets[position]
        assert text[start:end].strip() in ("[MASK]", "<mask>")


@given(parts=st.lists(st.text(alphabet="ab c\n\u00e9", max_size=6), min_size=2, max_size=5))
def test_offsets_are_those_of_the_text_that_was_given(tmp_path_factory, parts):
    tokenizer = with_another_mask(tmp_path_factory.mktemp("other"))
    text = "[MASK]".join(parts)
    usual = Tokenizer.from_folder(locate("tiny").folder).encode(text)
    encoding = tokenizer.encode(text)
    assert encoding.offsets == usual.offsets and encoding.ids == usual.ids
