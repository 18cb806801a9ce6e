"""Packed texts against the same texts run alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mbexplore
from mbexplore.network.packing import packs, run_packed

LENGTHS = [3, 70, 1, 40, 200, 12, 33]


@pytest.fixture(scope="module")
def model():
    return mbexplore.load("tiny", device="cpu").model


@pytest.fixture(scope="module")
def texts(model):
    generator = torch.Generator().manual_seed(0)
    high = model.config.vocab_size
    return [torch.randint(5, high, (n,), generator=generator).tolist() for n in LENGTHS]


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 60))
def test_every_text_lies_in_one_row_that_is_full_enough(lengths, most):
    groups = list(packs(lengths, most))
    assert [place for group in groups for place in group] == list(range(len(lengths)))
    filled = [sum(lengths[place] for place in group) for group in groups]
    assert all(n <= most or len(group) == 1 for n, group in zip(filled, groups, strict=True))
    following = [lengths[group.stop] for group in groups[:-1]]
    assert all(n + more > most for n, more in zip(filled, following, strict=False))


@pytest.mark.parametrize("most", [1, 110, 4096])
def test_packed_texts_get_what_they_get_alone(model, texts, most):
    packed = list(run_packed(model, texts, most=most))
    assert [len(logits) for logits in packed] == LENGTHS
    for text, logits in zip(texts, packed, strict=True):
        with torch.inference_mode():
            alone = model(torch.tensor([text]))[0]
        most_apart = 3e-6 * float(alone.abs().max())  # float32 sums in another order
        torch.testing.assert_close(logits, alone, rtol=0, atol=most_apart)


@pytest.mark.parametrize("most", [110, 4096])
def test_rows_of_packed_texts_are_those_rows(model, texts, most):
    rows = [[0, 2], [69], [0], [], [5, 100, 199], [11], [1]]
    packed = run_packed(model, texts, rows, most)
    for text, wanted, logits in zip(texts, rows, packed, strict=True):
        with torch.inference_mode():
            whole = model(torch.tensor([text]))[0]
        most_apart = 3e-6 * float(whole.abs().max())
        torch.testing.assert_close(logits, whole[wanted], rtol=0, atol=most_apart)


def test_an_encoder_gives_hidden_states(model, texts):
    for text, states in zip(texts, run_packed(model.encoder, texts), strict=True):
        with torch.inference_mode():
            alone = model.encoder(torch.tensor([text]))[0]
        torch.testing.assert_close(states, alone, rtol=0, atol=2e-5)


def test_no_texts_are_no_work(model):
    assert list(run_packed(model, [])) == []


def test_many_texts_are_answered_in_one_call_as_alone():
    explorer = mbexplore.load("tiny", device="cpu")
    texts = ["Paris is a [MASK].", "The [MASK] of [MASK] is Rome. " * 9, "A dog is an [MASK]."]
    answers = list(explorer.fill_masks_many(texts, top_k=2))
    for text, answer in zip(texts, answers, strict=True):
        alone = explorer.fill_masks(text, top_k=2)
        assert answer.encoding == alone.encoding
        torch.testing.assert_close(answer.logits, alone.logits, rtol=0, atol=5e-5)
        assert [len(mask.predictions) for mask in answer.masks] == [2] * len(alone.masks)
