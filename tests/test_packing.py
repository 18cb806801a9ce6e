"""Packed texts against the same texts run alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mbexplore
from mbexplore.hooks import hooked
from mbexplore.network.attention import attend
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.network.packing import packs, run_packed
from mbexplore.network.visibility import BLOCK, Visibility
from tests.handbuilt import handbuilt_config

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


@st.composite
def packed_rows(draw):
    """A half window, lengths of texts around what goes another way through it, and their numbers.

    The same number twice is one text in two parts, which no length tells.
    """
    half_window = draw(st.sampled_from([None, 0, 1, 5, 16]))
    reach = half_window or 8
    edges = [1, 2, reach, reach + 1, reach + 2, BLOCK, BLOCK + 1, BLOCK + 2 * reach]
    near = st.sampled_from([max(1, edge) for edge in (*edges, BLOCK + 2 * reach + 1)])
    lengths = draw(st.lists(near, min_size=1, max_size=4))
    numbers = list(range(len(lengths)))
    if draw(st.booleans()):
        numbers = draw(st.lists(st.integers(0, 2), min_size=len(lengths), max_size=len(lengths)))
    return half_window, lengths, numbers


@settings(max_examples=60, deadline=None)
@given(packed_rows(), st.integers(0, 3))
def test_packed_attention_is_that_of_every_query_by_itself(row, seed):
    """In float64 to 1e-10, with gradients, and of some queries alone."""
    half_window, lengths, numbers = row
    segments = torch.tensor(numbers).repeat_interleave(torch.tensor(lengths))[None]
    generator, seq = torch.Generator().manual_seed(seed), segments.shape[1]
    wide = {"dtype": torch.float64, "generator": generator}
    q, k, v, weights = (torch.randn(1, 2, seq, 4, **wide) for _ in range(4))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    places = torch.arange(seq)
    seen = segments.mT == segments
    if half_window is not None:
        seen = seen & ((places[:, None] - places).abs() <= half_window)
    exact = (q @ k.mT / 2).masked_fill(~seen, float("-inf")).softmax(dim=-1) @ v
    visibility = Visibility.build(q, half_window, segments)
    some = places[seed::7]
    found, of_some = attend(q, k, v, visibility), attend(q, k, v, visibility, some)
    pairs = [(found, exact), (of_some, exact[:, :, some])]
    pairs += zip(
        *(torch.autograd.grad((z * weights).sum(), inputs) for z in (found, exact)), strict=True
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_edits_of_packed_texts_are_those_of_each_alone(dtype):
    """Of q and z the fast kernel goes on; scores and pattern are made where they are edited."""
    torch.manual_seed(0)
    model = ModernBertForMaskedLM(handbuilt_config()).to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.0 if parameter.dim() == 1 else 10.0)  # so that queries tell keys apart
    half_window = model.config.local_attention // 2
    lengths = [half_window, half_window + 1, half_window + 2, half_window + 2, 40, 1]
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(4, 16, (n,), generator=generator).tolist() for n in lengths]
    edits = {"q": 2.0, "k": 0.5, "v": 3.0, "z": 0.5, "scores": 2.0, "pattern": 0.25}
    for name, factor in edits.items():
        taps = {f"layers.{layer}.{name}": lambda x, factor=factor: x * factor for layer in range(3)}
        with torch.no_grad(), hooked(model, taps):
            packed = list(run_packed(model, texts))
            alone = [model(torch.tensor([text]))[0] for text in texts]
        for one, other in zip(packed, alone, strict=True):
            near = 1e-10 if dtype == torch.float64 else 0.02 * float(other.abs().max())
            torch.testing.assert_close(one, other, rtol=0, atol=near)


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
