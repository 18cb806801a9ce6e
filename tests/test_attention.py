"""The attention kernels against a brute-force dense map."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mbexplore.errors import RangeError
from mbexplore.network.attention import (
    attend,
    attention_band,
    attention_scores,
    attention_weights,
    mix_values,
)
from mbexplore.network.visibility import (
    BLOCK,
    FEW,
    Visibility,
    find_segments,
    key_span,
    packed_texts,
    visible,
)

half_windows = st.none() | st.integers(1, 70)
lengths = st.sampled_from([1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 200]) | st.integers(1, 300)
seeds = st.integers(0, 10_000)


def draw_qkv(seed, *shape, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, 6, generator=generator, dtype=torch.float64) for _ in range(count)]


def dense_weights(q, k, half_window, segments=None):
    """Softmax of all scores with the unseen ones at minus infinity: (batch, heads, seq, seq)."""
    seq = q.shape[2]
    distance = (torch.arange(seq)[:, None] - torch.arange(seq)).abs()
    near = distance <= (seq if half_window is None else half_window)
    if segments is not None:
        near = near & (segments[:, None, :, None] == segments[:, None, None, :])
    scores = q @ k.mT / q.shape[-1] ** 0.5
    return scores.masked_fill(~near, float("-inf")).softmax(-1)


@st.composite
def segmented(draw, seq):
    """Two rows of one batch: texts packed side by side, or padded on a side."""
    rows = []
    for _ in range(2):
        first, second = sorted([draw(st.integers(0, seq)), draw(st.integers(0, seq))])
        numbers = draw(st.sampled_from([(1, 0, 0), (0, 1, 1), (0, 1, 0), (1, 2, 3), (1, 2, 0)]))
        sizes = (first, second - first, seq - second)
        rows.append(
            [number for number, size in zip(numbers, sizes, strict=True) for _ in range(size)]
        )
    return torch.tensor(rows)


@settings(max_examples=60)
@given(st.data(), lengths, half_windows, seeds)
def test_attend_equals_the_dense_map_times_the_values(data, seq, half_window, seed):
    q, k, v = draw_qkv(seed, 2, 3, seq)
    segments = data.draw(st.none() | segmented(seq))
    expected = dense_weights(q, k, half_window, segments) @ v
    visibility = Visibility.build(q, half_window, segments)
    torch.testing.assert_close(attend(q, k, v, visibility), expected)
    scores = attention_scores(q, k, visibility)
    if half_window is not None:
        assert scores.shape == (2, 3, seq, 2 * half_window + 1)
    torch.testing.assert_close(mix_values(scores.softmax(-1), v, half_window), expected)


@settings(max_examples=40)
@given(st.data(), lengths, half_windows, seeds)
def test_attend_on_some_rows_equals_those_rows(data, seq, half_window, seed):
    q, k, v = draw_qkv(seed, 2, 3, seq)
    segments = data.draw(st.none() | segmented(seq))
    rows = torch.tensor(data.draw(st.lists(st.integers(0, seq - 1), min_size=1, max_size=9)))
    visibility = Visibility.build(q, half_window, segments)
    some = attend(q, k, v, visibility, rows)
    torch.testing.assert_close(some, attend(q, k, v, visibility)[:, :, rows])


@settings(max_examples=40)
@given(st.data(), lengths, half_windows, seeds)
def test_any_part_of_a_map_equals_the_dense_one(data, seq, half_window, seed):
    q, k = draw_qkv(seed, 3, seq, count=2)
    positions = st.none() | st.lists(st.integers(0, seq - 1), max_size=12).map(
        lambda chosen: torch.tensor(chosen, dtype=torch.long)
    )
    queries, keys = data.draw(positions), data.draw(positions)
    part = attention_weights(q, k, half_window=half_window, queries=queries, keys=keys)
    expected = dense_weights(q[None], k[None], half_window)[0]
    expected = expected if queries is None else expected[:, queries]
    expected = expected if keys is None else expected[:, :, keys]
    torch.testing.assert_close(part, expected)


@pytest.mark.parametrize("half_window", [None, 5, 80])
def test_neighbouring_columns_are_those_of_the_dense_map(half_window):
    q, k = draw_qkv(3, 3, 200, count=2)
    dense = dense_weights(q[None], k[None], half_window)[0]
    for rows in (range(200), range(30), range(80, 150), (199, 0, 100)):
        for first, stop in ((0, 200), (0, 3), (7, 9), (60, 140), (90, 200), (199, 200)):
            queries, keys = torch.tensor(rows), torch.arange(first, stop)
            part = attention_weights(q, k, half_window=half_window, queries=queries, keys=keys)
            torch.testing.assert_close(part, dense[:, queries][:, :, first:stop])


@settings(max_examples=20)
@given(lengths, st.integers(1, 70), seeds)
def test_the_band_is_the_dense_map_straightened(seq, half_window, seed):
    q, k = draw_qkv(seed, 3, seq, count=2)
    dense = dense_weights(q[None], k[None], half_window)[0]
    expected = torch.zeros(3, seq, 2 * half_window + 1, dtype=torch.float64)
    for i in range(seq):
        for j in range(max(0, i - half_window), min(seq, i + half_window + 1)):
            expected[:, i, j - i + half_window] = dense[:, i, j]
    torch.testing.assert_close(attention_band(q, k, half_window), expected)


@pytest.mark.parametrize("half_window", [None, 1, 5, 64, 200])
def test_rows_sum_to_one_and_nothing_lies_outside_the_window(half_window):
    q, k = draw_qkv(0, 3, 150, count=2)
    weights = attention_weights(q, k, half_window=half_window)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 150, dtype=torch.float64))
    if half_window is not None:
        distance = (torch.arange(150)[:, None] - torch.arange(150)).abs()
        assert weights[:, distance > half_window].eq(0).all()
        assert weights[:, distance <= half_window].gt(0).all()


@pytest.mark.parametrize("queries", [[], [3], None])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_a_half_precision_model_are_float32(dtype, queries):
    q, k = (x.to(dtype) for x in draw_qkv(0, 3, 10, count=2))
    queries = queries if queries is None else torch.tensor(queries, dtype=torch.long)
    assert attention_weights(q, k, queries=queries).dtype == torch.float32


@pytest.mark.parametrize("half_window", [None, 3, 40])
def test_packed_texts_attend_as_if_alone(half_window):
    q, k, v = draw_qkv(0, 1, 2, 150)
    segments = torch.tensor([[1] * 60 + [2] * 90])
    packed = attend(q, k, v, Visibility.build(q, half_window, segments))
    alone = [
        attend(*(x[:, :, text] for x in (q, k, v)), Visibility.build(q[:, :, text], half_window))
        for text in (slice(60), slice(60, None))
    ]
    torch.testing.assert_close(packed, torch.cat(alone, dim=2))


def test_a_local_layer_makes_no_map_of_the_whole_text(monkeypatch):
    scores = []

    def spy(q, k, v, **options):
        scores.append(q.shape[0] * q.shape[2] * k.shape[2])
        return torch.zeros_like(q)

    monkeypatch.setattr("mbexplore.network.attention.scaled_dot_product_attention", spy)
    q, k, v = draw_qkv(0, 1, 2, 1000)
    attend(q, k, v, Visibility.build(q, 10))
    assert sum(scores) <= (1000 + BLOCK) * (BLOCK + 2 * 10)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32])
def test_masks_and_segments_may_have_any_dtype(dtype):
    numbers = torch.tensor([[0] * 40 + [1] * 110])
    for found in (find_segments(numbers.to(dtype), None), find_segments(None, numbers.to(dtype))):
        assert found.dtype == torch.long and torch.equal(found, numbers)


def test_segments_of_padded_and_packed_rows():
    mask, texts = torch.tensor([[1, 1, 1, 0]]), torch.tensor([[7, 7, 9, 9]])
    found = find_segments(mask, texts)[0].tolist()
    assert found[:3] == [7, 7, 9] and found[3] not in (7, 9)
    assert find_segments(5 * mask, None).tolist() == mask.tolist()
    whole = torch.tensor([[3, 3], [4, 4]])  # a row a text: nothing to hide
    assert find_segments(whole, None) is find_segments(None, whole) is None
    assert find_segments(None, None) is None


def test_a_mask_of_other_axes_is_refused():
    """Passed over before, where it was uniform."""
    with pytest.raises(RangeError, match=r"attention_mask has the shape \(2, 1, 5, 5\); give"):
        find_segments(torch.ones(2, 1, 5, 5), None)
    with pytest.raises(RangeError, match=r"segment_ids has the shape \(5,\)"):
        find_segments(None, torch.arange(5))


@pytest.mark.parametrize(
    ("first", "last", "half_window", "span"),
    [(0, 0, None, (0, 9)), (0, 0, 2, (0, 3)), (4, 5, 2, (2, 8)), (8, 8, 3, (5, 9))],
)
def test_key_span_is_cut_at_the_ends_of_the_text(first, last, half_window, span):
    assert key_span(first, last, 9, half_window) == span


def test_a_query_that_sees_all_keys_needs_no_mask():
    assert visible(torch.arange(3), torch.arange(3), None) is None


@pytest.mark.parametrize(
    ("segments", "half_window", "found"),
    [
        (None, None, None),
        ([[1, 1, 2, 2, 2]], None, [(1, 2, None), (1, 3, None)]),
        ([[1, 1, 2, 2, 3, 3, 3]], 2, [(2, 2, None), (1, 3, None)]),
        # The ends of the last do not see each other.
        ([[1, 1, 2, 2, 2]], 1, [(1, 2, None), (1, 3, [[1, 1, 0], [1, 1, 1], [0, 1, 1]])]),
        ([[1] * 67 + [2]], 1, None),  # that many go in blocks
        ([[1, 1, 1, 0, 0]], None, [(1, 3, None), (1, 2, None)]),
        ([[1, 2, 1]], None, None),  # one text in two parts is no packed row
        ([[1, 1], [1, 0]], None, None),
    ],
)
def test_packed_texts_are_found_by_their_numbers(segments, half_window, found):
    segments = segments if segments is None else torch.tensor(segments)
    texts = packed_texts(segments, half_window)
    assert found == (texts and [
        (one.number, one.length, None if one.mask is None else one.mask.long().tolist())
        for one in texts
    ])  # fmt: skip


@pytest.mark.parametrize("half_window", [None, 4])
def test_packed_texts_read_keys_to_a_multiple_of_lanes_within_the_row(half_window):
    lengths = [1, 3, 3, 3, 16, 17, 17, 30, FEW + 1, 5, 5, 5, 5, 5]
    segments = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))[None]
    if half_window is not None:
        assert packed_texts(segments, half_window, has_lanes=True) is None  # the long one: blocks
        segments = segments[:, : sum(lengths[:8])]
    start, found = 0, []
    for number, length, keys, mask in packed_texts(segments, half_window, has_lanes=True):
        assert start + (number - 1) * length + keys <= segments.shape[1]
        near = visible(torch.arange(length), torch.arange(length), half_window)
        expected = torch.zeros(length, keys, dtype=torch.bool)
        expected[:, :length] = True if near is None else near
        assert expected.all() if mask is None else torch.equal(mask, expected)
        start += number * length
        found.append((number, length, keys))
    assert start == segments.shape[1]
    if half_window is None:
        assert found == [
            (1, 1, 16), (3, 3, 16), (1, 16, 16), (2, 17, 32), (1, 30, 32),
            (1, FEW + 1, FEW + 1), (2, 5, 16), (3, 5, 5),
        ]  # fmt: skip


def test_a_global_map_in_blocks_of_rows_is_the_dense_one(monkeypatch):
    q, k = draw_qkv(1, 3, 90, count=2)
    expected = dense_weights(q[None], k[None], None)[0]
    monkeypatch.setattr("mbexplore.network.attention.SCORES", 3 * 90 * 20)
    torch.testing.assert_close(attention_weights(q, k), expected)
    rows, columns = torch.tensor([80, 3, 41]), torch.arange(30, 60)
    part = attention_weights(q, k, queries=rows, keys=columns)
    torch.testing.assert_close(part, expected[:, rows][:, :, 30:60])
