"""Words at a mask against transformers and products of conditionals, and as people type them."""

import json
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mbexplore
from mbexplore.analysis.score import compare_with_transformers, score_many, score_targets
from mbexplore.errors import MbexploreError, RangeError, TextError, UsageError
from mbexplore.session import Session
from mbexplore.views.parameters import join_texts, split_texts
from mbexplore.views.score import ScoreView
from tests.cli_runner import run_again, run_cli
from tests.handbuilt import build_explorer, build_random

TEXT = "The capital of France is [MASK]."
WORDS = ("Paris", "Rome", "fishermen", "a harbour town")
KEYS = ["text", "pieces", "probability", "log_probability", "logit", "rank"]


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def theirs(explorer):
    """Log-probabilities (seq, vocab) of ids, by transformers."""
    model = explorer.reference._model

    def run(ids):
        with torch.inference_mode():
            return model(torch.tensor([ids])).logits[0].log_softmax(dim=-1)

    return run


def test_words_of_one_token_are_the_softmax_of_transformers(explorer):
    found = score_targets(explorer, TEXT, ("Paris", "Rome", "London"))
    encoding = explorer.encode(TEXT)
    with torch.inference_mode():
        output = explorer.reference._model(torch.tensor([encoding.ids])).logits
    logits = output[0, found.position]
    order = logits.argsort(descending=True).tolist()
    for one in found.targets:
        token = explorer.tokenizer.encode(f" {one.text}").ids[1]
        assert one.pieces == (f" {one.text}",)
        assert one.probability == pytest.approx(float(logits.softmax(-1)[token]), rel=1e-4)
        assert one.log_probability == pytest.approx(float(logits.log_softmax(-1)[token]), abs=1e-4)
        assert one.logit == pytest.approx(float(logits[token]), abs=1e-4)
        assert one.rank == order.index(token) + 1
        share = one.probability
        odds = torch.logit(torch.tensor(share, dtype=torch.float64))
        assert one.log_odds == pytest.approx(float(odds), abs=1e-6)


def pieces_of(explorer, word):
    return list(explorer.tokenizer.encode(f" {word}").ids[1:-1])


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_the_product_of_conditionals_from_left_to_right(explorer, theirs, word):
    ids, place = list(explorer.encode(TEXT).ids), 6
    pieces, mask = pieces_of(explorer, word), ids[place]
    total = 0.0
    for i, piece in enumerate(pieces):
        grown = [*ids[:place], *pieces[:i], *[mask] * (len(pieces) - i), *ids[place + 1 :]]
        total += float(theirs(grown)[place + i, piece])
    [found] = score_targets(explorer, TEXT, [word]).targets
    assert found.log_probability == pytest.approx(total, abs=2e-4)
    assert len(found.pieces) == len(pieces)
    assert (found.rank is None) == (found.logit is None) == (len(pieces) > 1)


@pytest.mark.parametrize("word", WORDS[2:])
def test_the_likeliest_piece_first_is_one_of_all_orders(explorer, theirs, word):
    ids, place = list(explorer.encode(TEXT).ids), 6
    pieces, mask = pieces_of(explorer, word), ids[place]
    grown = [*ids[:place], *[mask] * len(pieces), *ids[place + 1 :]]

    def walk(order):
        """Conditionals of the pieces in this order, and whether each was the likeliest then."""
        now, shares, greedy = list(grown), [], True
        for step, i in enumerate(order):
            log_p = theirs(now)
            left = {j: float(log_p[place + j, pieces[j]]) for j in order[step:]}
            shares.append(left[i])
            greedy &= left[i] == max(left.values())
            now[place + i] = pieces[i]
        return sum(shares), greedy

    sums = [walk(order) for order in permutations(range(len(pieces)))]
    [expected] = [total for total, greedy in sums if greedy]
    [found] = score_targets(explorer, TEXT, [word], order="confidence").targets
    assert found.log_probability == pytest.approx(expected, abs=2e-4)


def test_many_texts_get_what_each_gets_alone(explorer):
    texts = [TEXT, "She is a [MASK].", "[MASK] rises and [MASK] falls.", TEXT]
    for order in ("left-to-right", "confidence"):
        together = list(score_many(explorer, texts, WORDS, order=order))
        for text, found in zip(texts, together, strict=True):
            alone = score_targets(explorer, text, WORDS, order=order)
            for one, other in zip(found.targets, alone.targets, strict=True):
                assert one.pieces == other.pieces
                assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)


def test_a_word_is_spelt_as_it_would_stand_there(explorer):
    for text, pieces in (("It is [MASK].", (" red",)), ('("[MASK]', ("red",))):
        [found] = score_targets(explorer, text, ["red"]).targets
        assert "".join(found.pieces) == "".join(pieces)
    [quoted] = score_targets(explorer, "It is [MASK].", ['"red"']).targets
    assert "".join(quoted.pieces) == "red"


def test_hugging_face_is_asked_the_same(explorer):
    for order in ("left-to-right", "confidence"):
        found = score_targets(explorer, TEXT, WORDS, order=order)
        other = compare_with_transformers(explorer, found)
        assert [one.pieces for one in other.targets] == [one.pieces for one in found.targets]
        assert other.max_abs_difference < 1e-3
        assert [one.rank for one in other.targets[:2]] == [one.rank for one in found.targets[:2]]


def test_the_mask_that_is_scored_can_be_chosen():
    explorer = build_explorer()  # copies the token before a mask
    for mask, word in ((0, "a"), (1, "c")):
        found = score_targets(explorer, "a [MASK] c [MASK]", list("abc"), mask)
        assert found.targets[found.likeliest_first[0]].text == word
        assert found.targets["abc".index(word)].rank == 1
    assert score_targets(explorer, "a [MASK] c [MASK]", "abc").position == 2
    with pytest.raises(RangeError, match=r"There is no mask 2 in 'a .*'; choose 0 to 1\."):
        score_targets(explorer, "a [MASK] c [MASK]", ["a"], 2)


@pytest.mark.parametrize(
    ("text", "words", "error", "sentence"),
    [
        ("a [MASK]", ["zzz"], RangeError, r"can't spell 'zzz' \(its pieces: '\[PAD\]'\)"),
        ("a [MASK]", ["[SEP]"], RangeError, r"can't spell '\[SEP\]'"),
        ("a [MASK]", ["[MASK]"], RangeError, r"can't spell '\[MASK\]'"),
        ("a b", ["a"], TextError, r"has no \[MASK\]; put \[MASK\] where a word is to be"),
        ("a <mask>", ["a"], TextError, r"put \[MASK\] .* in place of <mask>\."),
        ("a ___ b", ["a"], TextError, r"in place of ___\."),
        ("a [mask]", ["a"], TextError, r"in place of \[mask\]\."),
        ("b " * 61 + "[MASK]", ["a b c"], TextError, "has 66 tokens with the 3 of 'a b c' in it"),
    ],
)
def test_what_cant_be_scored_is_refused_in_a_sentence(text, words, error, sentence):
    with pytest.raises(error, match=sentence):
        score_targets(build_explorer(build_random()), text, words)


# ---- the view


def test_json_has_the_words_and_theirs(explorer):
    done = run_cli("score", TEXT, "--targets", "Paris, fishermen,Rome,Paris", "--json")
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert [one["text"] for one in answer["targets"]] == ["Paris", "fishermen", "Rome"]
    for ours, other in zip(answer["targets"], answer["hf_targets"], strict=True):
        assert list(ours) == list(other) == KEYS
        assert ours["log_probability"] == pytest.approx(other["log_probability"], abs=1e-3)
    assert answer["targets"][1]["rank"] is answer["targets"][1]["logit"] is None
    assert answer["hf"]["same_order"] and "hf_targets" not in json.loads(
        run_cli("score", TEXT, "--targets", "Paris", "--json", "--no-hf").out
    )


def test_words_come_from_a_file_too(explorer, tmp_path):
    (tmp_path / "words.txt").write_text("Rome\nNew York\n\na,b\n")
    expected = ["Paris", "Rome", "New York", "a,b"]
    for arguments in (
        ["--targets", "Paris", "--targets-file", tmp_path / "words.txt"],
        ["--targets", f"Paris,@{tmp_path / 'words.txt'}"],
        ["--targets", "Paris", "--targets", r"Rome,New York,a\,b"],
    ):
        done = run_cli("score", TEXT, *arguments, "--json", "--no-hf")
        assert done.code == 0, done.err
        assert [one["text"] for one in json.loads(done.out)["targets"]] == expected
    result = ScoreView(targets=tuple(expected), hf=False).of(Session(explorer, TEXT))
    assert [one["text"] for one in run_again(result)["targets"]] == expected


@given(st.lists(st.text(alphabet="ab, ;\\", min_size=1).map(str.strip).filter(bool)))
def test_texts_that_are_written_as_one_come_apart_again(texts):
    if not any(text.endswith("\\") for text in texts):
        assert split_texts(join_texts(texts, ","), ",") == tuple(texts)


def test_without_words_the_likeliest_tokens_are_scored(explorer):
    found = explorer.score(TEXT, hf=False).data.found
    [mask] = explorer.fill_masks(TEXT).masks
    assert [one.text for one in found.targets] == [one.token for one in mask.predictions]
    assert [one.rank for one in found.targets] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--targets", ","], "--targets names nothing"),
        (["--targets", "a", "--sentence"], "sentence and targets were both given"),
        (["--targets", "a", "--mask", "1", "--token", "6"], "given by number and by position"),
        (["--masking", "word"], "has no effect without sentence"),
        (["--mask", "2", "--targets", "a"], "There is no mask 2 in"),
        (["--template", "It is [MASK]."], "A TEXT and --template were both given"),
        (["--targets-file", "none.txt"], "none.txt can't be read"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(arguments, sentence):
    done = run_cli("score", TEXT, *arguments, "--no-hf")
    assert done.code in (1, 2) and sentence in done.err, done.err


@pytest.mark.filterwarnings("default")  # gradio's own
def test_the_page_takes_words_with_spaces(explorer):
    from mbexplore_ui.controls import build_view

    view = build_view(ScoreView, {"targets": "Paris, New York", "fill": "a=b,c; d=e"})
    assert (view.targets, view.fill) == (("Paris", "New York"), ("a=b,c", "d=e"))


def test_errors_are_of_the_family():
    assert issubclass(UsageError, MbexploreError)
