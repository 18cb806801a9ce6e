"""Corpora, tokenizer, packing, masks and the schedule of the trainer."""

import lzma

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbexplore.errors import TextError, UsageError
from mbexplore.training.corpus import (
    CorpusSpec,
    parse_corpus_spec,
    read_documents,
    read_words,
)
from mbexplore.training.packing import (
    Place,
    RowStream,
    TokenizedTexts,
    cut_pieces,
    draw_epoch,
    mask_rows,
    pack_rows,
    rank_part,
)
from mbexplore.training.recipe import Recipe, build_config, rate_factor
from mbexplore.training.tokenizer import SPECIAL_TOKENS, build_tokenizer, split_words

CLS, SEP, PAD, MASK = 1, 2, 3, 4


def texts_of(sizes, weights=None):
    """Documents whose tokens are all different, from 10 on."""
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    tokens = np.arange(10, 10 + starts[-1], dtype=np.int32)
    return TokenizedTexts(tokens, starts, np.array(weights or [1.0] * len(sizes)))


def stream_of(texts, length=16, place=None, seed=0):
    pieces = cut_pieces(texts, length)
    return RowStream(pieces, cls_id=CLS, sep_id=SEP, pad_id=PAD, seed=seed, place=place or Place())


@pytest.mark.parametrize(
    ("argument", "weight", "lines"),
    [
        ("a.txt", 1.0, False),
        ("a.txt:3", 3.0, False),
        ("a.txt:0.5:lines", 0.5, True),
        ("a.txt:lines", 1.0, True),
        ("dir:x/a.txt", 1.0, False),
    ],
)
def test_corpus_argument(argument, weight, lines):
    spec = parse_corpus_spec(argument)
    assert (spec.weight, spec.lines) == (weight, lines)
    assert str(spec.path) == argument.removesuffix(":lines").removesuffix(f":{weight:g}")


def test_a_file_with_a_colon_in_its_name_is_found(tmp_path):
    path = tmp_path / "a:2"
    path.write_text("One line.")
    assert parse_corpus_spec(str(path)) == CorpusSpec(path)


@pytest.mark.parametrize("weight", ["0", "-1", "many", "nan"])
def test_a_weight_that_is_none(weight):
    with pytest.raises(TextError, match="weight"):
        parse_corpus_spec(f"a.txt:{weight}")


def test_documents_and_lines(tmp_path):
    path = tmp_path / "a.txt.xz"
    path.write_bytes(lzma.compress(b"One.\nTwo.\n\n\nThree.\n"))
    assert read_documents(CorpusSpec(path)) == [["One.", "Two."], ["Three."]]
    assert read_documents(CorpusSpec(path, lines=True)) == [["One."], ["Two."], ["Three."]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing.txt", None, "no file"),
        ("empty.txt", b" \n\n", "holds no text"),
        ("latin.txt", "café".encode("latin-1"), "not UTF-8"),
        ("broken.xz", b"not xz", "not a complete xz"),
        ("cut.xz", lzma.compress(b"text " * 1000)[:-20], "not a complete xz"),
    ],
)
def test_a_bad_corpus_is_told_in_one_sentence(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TextError, match=words) as caught:
        read_documents(CorpusSpec(path))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_as_corpus(tmp_path):
    with pytest.raises(TextError, match="can't be read"):
        read_documents(CorpusSpec(tmp_path))


def test_words_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# capitals\nParis\nRome # Italy\n\nParis\n")
    assert read_words(path) == ["Paris", "Rome"]
    path.write_text("New York\n")
    with pytest.raises(TextError, match="not one word"):
        read_words(path)


@pytest.fixture(scope="module")
def tokenizer():
    texts = [f"The number {n} is followed by the number {n + 1}." for n in range(500)]
    return build_tokenizer(texts, 420, ["Ouagadougou", "zinc"])


def test_tokenizer_behaves_as_modernbert(tokenizer):
    encode = tokenizer.encode
    assert encode("The number").tokens[0] == "[CLS]"
    assert encode("The number").tokens[-1] == "[SEP]"
    assert encode("a", "b").tokens.count("[SEP]") == 2
    masked = encode("The [MASK] is", add_special_tokens=False)
    assert masked.ids == encode("The[MASK] is", add_special_tokens=False).ids  # eats its space
    assert masked.ids.count(tokenizer.token_to_id("[MASK]")) == 1
    assert encode("Cafe\u0301").ids == encode("Caf\u00e9").ids  # NFC
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(5))
    text = "Tab\tüñ 漢字 🙂 end "
    assert tokenizer.decode(encode(text).ids) == text


def test_listed_words_are_one_token(tokenizer):
    assert split_words(tokenizer, ["Ouagadougou", "zinc"]) == []
    assert split_words(tokenizer, ["Antananarivo"]) == ["Antananarivo"]


def test_words_that_cannot_fit_the_vocabulary():
    with pytest.raises(TextError, match="--vocab-size"):
        build_tokenizer(["some text"], 270, ["Ouagadougou", "Antananarivo"], rounds=2)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.integers(4, 40))
def test_pieces_hold_every_token_once(sizes, length):
    texts = texts_of(sizes)
    pieces = cut_pieces(texts, length)
    assert pieces.sizes.max() <= length - 2
    assert pieces.sizes.min() >= 1
    parts = [
        texts.tokens[start : start + size]
        for start, size in zip(pieces.starts, pieces.sizes, strict=True)
    ]
    assert np.array_equal(np.concatenate(parts), texts.tokens)


@given(st.lists(st.integers(3, 32), max_size=200))
def test_packing_loses_nothing_and_fits(sizes):
    rows = pack_rows(sizes, 32)
    assert sorted(text for row in rows for text in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[text] for text in row) <= 32 for row in rows)
    # Two rows that would fit in one are never left apart.
    fill = sorted(sum(sizes[text] for text in row) for row in rows)
    assert len(fill) < 2 or fill[0] + fill[1] > 32 or min(sizes) > 32 - fill[0]


def test_rows_are_nearly_full():
    random = np.random.default_rng(0)
    sizes = random.integers(5, 40, 3000).tolist()
    rows = pack_rows(sizes, 128)
    assert sum(sizes) / (128 * len(rows)) > 0.99


def test_an_epoch_shows_every_token_once():
    texts = texts_of([5, 40, 3, 14, 14, 60])
    ids, segments = stream_of(texts).take(12)
    stream = stream_of(texts)
    seen = []
    while stream.place.epoch == 0 and stream.place.block == 0:
        row = stream.take(1)[0][0]
        if stream.place.epoch or stream.place.block:
            break
        seen.extend(row[row >= 10].tolist())
    assert sorted(seen) == texts.tokens.tolist()
    assert ((ids == PAD) == (segments == 0)).all()


def test_segments_number_whole_texts():
    ids, segments = stream_of(texts_of([3, 5, 4, 2, 6, 9, 1])).take(4)
    for row, numbers in zip(ids, segments, strict=True):
        for number in range(1, numbers.max() + 1):
            text = row[numbers == number]
            assert text[0] == CLS
            assert text[-1] == SEP
            assert (np.diff(text[1:-1]) == 1).all()  # one piece, in order


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 5))
def test_a_stream_goes_on_where_it_stopped(taken, seed):
    texts = texts_of([7, 30, 9, 4, 50, 21, 13])
    whole = stream_of(texts, seed=seed)
    if taken:
        whole.take(taken)
    rest = stream_of(texts, place=whole.place, seed=seed)
    for ours, theirs in zip(rest.take(9), whole.take(9), strict=True):
        assert np.array_equal(ours, theirs)


def test_weights_say_how_often_a_text_is_seen():
    pieces = cut_pieces(texts_of([4] * 3000, [2.0] * 1000 + [0.25] * 2000), 16)
    drawn = np.bincount(draw_epoch(pieces, 0, 0), minlength=3000)
    assert (drawn[:1000] == 2).all()
    assert 0.2 < drawn[1000:].mean() < 0.3
    assert not np.array_equal(draw_epoch(pieces, 0, 0), draw_epoch(pieces, 0, 1))


def test_a_tiny_corpus_of_small_weight_still_gives_rows():
    stream = stream_of(texts_of([4], [0.01]))
    assert (stream.take(3)[0] >= 10).any()


def test_masks_are_drawn_anew_and_at_the_rate():
    ids, segments = stream_of(texts_of([2000]), length=64).take(30)
    special = [0, CLS, SEP, PAD, MASK]
    draws = [
        mask_rows(ids, segments, rate=0.3, mask_id=MASK, special_ids=special, seed=[0, step])
        for step in range(2)
    ]
    for batch in draws:
        flat = batch.input_ids.ravel()
        assert (flat[batch.positions] == MASK).all()
        assert np.array_equal(ids.ravel()[batch.positions], batch.labels)
        assert (batch.labels >= 10).all()
        untouched = np.delete(np.arange(flat.size), batch.positions)
        assert np.array_equal(flat[untouched], ids.ravel()[untouched])
        assert 0.26 < len(batch.labels) / (ids >= 10).sum() < 0.34
    assert not np.array_equal(draws[0].positions, draws[1].positions)


def test_the_parts_of_the_processes_are_the_batch():
    ids, segments = stream_of(texts_of([300]), length=16).take(8)
    batch = mask_rows(ids, segments, rate=0.3, mask_id=MASK, special_ids=[CLS, SEP, PAD], seed=[0])
    parts = [rank_part(batch, rank, 2) for rank in range(2)]
    assert sorted(np.concatenate([part.labels for part in parts])) == sorted(batch.labels)
    for part in parts:
        assert (part.input_ids.ravel()[part.positions] == MASK).all()


def test_the_trapezoid():
    recipe = Recipe(warmup_steps=10, decay_part=0.4)
    assert rate_factor(recipe, 0, 0.0) == pytest.approx(0.1)
    assert rate_factor(recipe, 9, 0.1) == 1.0
    assert rate_factor(recipe, 500, 0.6) == 1.0
    assert rate_factor(recipe, 700, 0.8) == pytest.approx(0.5)
    assert rate_factor(recipe, 999, 1.0) == 0.0
    assert rate_factor(recipe, 1001, 1.2) == 0.0


def test_an_unknown_preset():
    with pytest.raises(UsageError, match="tiny"):
        build_config("huge", {}, 100)


def test_fingerprint_changes_with_the_texts():
    assert texts_of([5, 6]).fingerprint != texts_of([6, 5]).fingerprint
    assert texts_of([5, 6]).fingerprint != texts_of([5, 6], [1.0, 2.0]).fingerprint
    assert texts_of([5, 6]).fingerprint == texts_of([5, 6]).fingerprint
