"""Merged and cut axes against sums and means written out, on maps of random q and k."""

from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.analysis import maps
from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.maps import layer_map, map_rows
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.recording import Recording
from tests.handbuilt import handbuilt_config

GLOBAL, LOCAL = 0, 1


def build_encoding(sizes):
    """A text of words of so many tokens each, with a special token at both ends."""
    words = [None, *(word for word, size in enumerate(sizes) for _ in range(size)), None]
    seq = len(words)
    letters = "x" * (seq - 2)
    offsets = ((0, 0), *((i, i + 1) for i in range(seq - 2)), (0, 0))
    tokens = ("[CLS]", *letters, "[SEP]")
    return Encoding(letters, (1,) * seq, tokens, offsets, tuple(words), (), seq)


def build_recording(encoding, seed=0):
    """Random q and k for every layer of the model made by hand: 0 global, 1 and 2 local."""
    config, made = handbuilt_config(), torch.Generator().manual_seed(seed)
    shape = (config.num_attention_heads, len(encoding), 16)
    values = {
        f"layers.{layer}.{name}": 1.5 * torch.randn(shape, generator=made, dtype=torch.float64)
        for layer in range(config.num_hidden_layers)
        for name in ("rot_q", "rot_k")
    }
    return Recording(encoding, config, values, None)


def merged(dense, spans):
    """Sums over keys and means over queries, one weight at a time."""
    result = np.zeros((len(dense), len(spans), len(spans)))
    for row, (a, b) in enumerate(spans):
        for column, (c, d) in enumerate(spans):
            for query in range(a, b):
                for key in range(c, d):
                    result[:, row, column] += dense[:, query, key] / (b - a)
    return result


sizes = st.lists(st.integers(1, 4), min_size=1, max_size=12)


@given(sizes=sizes, seed=st.integers(0, 99), layer=st.sampled_from([GLOBAL, LOCAL]),
       cut=st.tuples(st.integers(0, 20), st.integers(1, 20)), hide=st.booleans(),
       words=st.booleans(), mean=st.booleans())  # fmt: skip
def test_every_axis_is_what_it_says(sizes, seed, layer, cut, hide, words, mean):
    encoding = build_encoding(sizes)
    recording, seq = build_recording(encoding, seed), len(encoding)
    start = min(cut[0], seq - 2)
    stop = min(seq, start + 1 + cut[1])
    axis = build_axis(encoding, (start, stop), words=words, hide_special=hide)
    bounds = [0, *np.cumsum([1, *sizes, 1]).tolist()] if words else list(range(seq + 1))
    spans = [(a, b) for a, b in pairwise(bounds) if b > start and a < stop]
    spans = [(a, b) for a, b in spans if not hide or 0 < a < seq - 1]
    assert list(axis.spans) == spans
    dense = recording.attention(layer).numpy()
    expected = merged(dense.mean(0, keepdims=True) if mean else dense, spans)
    found = layer_map(recording, layer, axis=axis, mean=mean)
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    if start == 0 and stop == seq and not hide:
        np.testing.assert_allclose(found.weights.sum(-1), 1.0, atol=1e-5)


@given(sizes=sizes, seed=st.integers(0, 99), layer=st.sampled_from([GLOBAL, LOCAL]),
       pixels=st.integers(1, 20), words=st.booleans(), hide=st.booleans(),
       rows=st.integers(1, 30))  # fmt: skip
def test_a_pooled_picture_holds_the_maximum_of_every_square(
    sizes, seed, layer, pixels, words, hide, rows
):
    encoding = build_encoding(sizes)
    recording = build_recording(encoding, seed)
    axis = build_axis(encoding, words=words, hide_special=hide)
    dense = merged(recording.attention(layer).numpy(), axis.spans)
    with mock.patch.object(maps, "ROWS", rows):  # a picture is put together from several blocks
        found = layer_map(recording, layer, pixels=pixels, axis=axis)
    pool, size = found.pool, found.weights.shape[-1]
    assert size <= pixels and (size - 1) * pool < len(axis) <= size * pool
    for row in range(size):
        for column in range(size):
            square = dense[:, row * pool : (row + 1) * pool, column * pool : (column + 1) * pool]
            np.testing.assert_allclose(found.weights[:, row, column], square.max((1, 2)), atol=1e-6)
    for link, weights in zip(found.strongest, dense, strict=True):
        assert link.weight == pytest.approx(weights.max(), abs=1e-9)
        assert weights[link.query, link.key] == pytest.approx(link.weight, abs=1e-9)


@pytest.mark.parametrize("layer", [GLOBAL, LOCAL])
@pytest.mark.parametrize("words", [True, False])
def test_a_long_map_comes_in_blocks_that_fit_together(layer, words):
    encoding = build_encoding([3, 1, 2] * 60)
    recording = build_recording(encoding)
    axis = build_axis(encoding, (5, 340), words=words)
    whole = np.zeros((2, len(axis), len(axis)))
    blocks = 0
    for first, low, weights in map_rows(recording, layer, axis=axis, multiple=50):
        _, rows, columns = weights.shape
        whole[:, first : first + rows, low : low + columns] = weights
        blocks += 1
    dense = recording.attention(layer).numpy()
    np.testing.assert_allclose(whole, merged(dense, axis.spans), atol=1e-9)
    assert blocks == (1 if words else 2)


@pytest.mark.parametrize("words", [True, False])
def test_the_window_is_where_weights_are(words):
    encoding = build_encoding([2, 1, 3, 1, 1, 2, 4, 1])
    recording = build_recording(encoding)
    axis = build_axis(encoding, words=words)
    found = layer_map(recording, LOCAL, axis=axis)
    for row, (low, high) in enumerate(found.window()):
        seen = np.flatnonzero(found.weights[0, row])
        assert (seen[0], seen[-1] + 1) == (low, high)
    assert layer_map(recording, GLOBAL, axis=axis).window() is None


def test_an_axis_knows_its_places():
    axis = build_axis(build_encoding([2, 3, 1]), words=True, hide_special=True)
    assert axis.spans == ((1, 3), (3, 6), (6, 7))
    assert axis.labels == ("xx", "xxx", "x")
    assert axis.size == "3 words"
    assert build_axis(build_encoding([2, 3, 1]), (1, 5)).size == "4 tokens (tokens 1:5)"
    assert [axis.index_of(token) for token in range(1, 7)] == [0, 0, 1, 1, 1, 2]
    with pytest.raises(RangeError, match="Token 0 is not among those shown"):
        axis.index_of(0)
    with pytest.raises(RangeError, match="special ones only"):
        build_axis(build_encoding([2]), (0, 1), hide_special=True)
