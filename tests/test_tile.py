"""Parts of maps, queries by keys, against sums and means written out, on random q and k."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.analysis import tile as analysis
from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.tile import links_of_row, tile
from tests.test_axis import GLOBAL, LOCAL, build_encoding, build_recording

bounds = st.tuples(st.integers(0, 30), st.integers(1, 30))


@st.composite
def parts(draw):
    """A recording, a layer, a head or the mean, and two axes cut from one text."""
    encoding = build_encoding(draw(st.lists(st.integers(1, 4), min_size=3, max_size=14)))
    words, seq = draw(st.booleans()), len(encoding)
    axes = []
    for start, size in (draw(bounds), draw(bounds)):
        start = min(start, seq - 2)
        axes.append(build_axis(encoding, (start, min(seq, start + size)), words=words))
    recording = build_recording(encoding, draw(st.integers(0, 99)))
    return recording, draw(st.sampled_from([GLOBAL, LOCAL])), draw(st.sampled_from([None, 1])), axes


def written_out(recording, layer, head, queries, keys):
    """The part as (heads or 1, queries, keys): sums over a place's keys, means over its queries."""
    dense = recording.attention(layer, head).numpy()
    dense = dense.mean(0, keepdims=True) if head is None else dense
    return np.stack([
        [[one[a:b, c:d].sum() / (b - a) for c, d in keys.spans] for a, b in queries.spans]
        for one in dense
    ])  # fmt: skip


def part_of(part, pixels, rows, links=0):
    """A tile of a drawn part, the mean where no head was drawn."""
    recording, layer, head, (queries, keys) = part
    with mock.patch.object(analysis, "ROWS", rows):
        return tile(recording, layer, head, queries, keys, pixels, mean=head is None, links=links)


@given(part=parts(), pixels=st.integers(1, 40), rows=st.integers(1, 40))
def test_a_tile_holds_the_maximum_of_every_square(part, pixels, rows):
    _, _, _, (queries, keys) = part
    dense = written_out(*part[:3], queries, keys)[0]
    found = part_of(part, pixels, rows)
    tall, wide = found.pool
    [weights] = found.weights
    for side, pool, size in zip((queries, keys), found.pool, weights.shape, strict=True):
        assert (size - 1) * pool < len(side) <= size * pool and size <= pixels
    for (row, column), weight in np.ndenumerate(weights):
        square = dense[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        assert weight == pytest.approx(square.max(), abs=1e-6)
    seen = [np.flatnonzero(row) for row in weights]
    edges = found.window() or [(0, weights.shape[1])] * len(seen)
    for (low, high), columns in zip(edges, seen, strict=True):
        assert (low == high) if len(columns) == 0 else (columns[0], columns[-1] + 1) == (low, high)


@given(part=parts(), pixels=st.integers(1, 40), fewer=st.integers(1, 20))
def test_a_shrunk_tile_is_the_tile_of_its_pool(part, pixels, fewer):
    _, _, _, (queries, keys) = part
    dense = written_out(*part[:3], queries, keys)[0]
    found = part_of(part, pixels, 256).shrink(fewer)
    tall, wide = found.pool
    assert max(found.weights.shape[1:]) <= fewer
    for (row, column), weight in np.ndenumerate(found.weights[0]):
        square = dense[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        assert weight == pytest.approx(square.max(), abs=1e-6)


@given(part=parts(), count=st.integers(0, 50), rows=st.integers(1, 40), data=st.data())
def test_links_of_a_tile_are_its_largest_weights(part, count, rows, data):
    recording, layer, head, (queries, keys) = part
    dense = written_out(recording, layer, head, queries, keys)[0]
    query = data.draw(st.none() | st.integers(0, len(queries) - 1))
    whole = part_of(part, 99, rows, links=count)
    if query is None:
        found = whole.links
    else:
        with mock.patch.object(analysis, "ROWS", rows):
            found = links_of_row(
                recording, layer, head, queries, keys, query, count, mean=head is None
            )
        read = whole.links_of(query, count)  # the same from the tile itself
        assert [x.weight for x in read] == pytest.approx([x.weight for x in found], abs=1e-7)
    asked = dense if query is None else dense[query : query + 1]
    expected = np.sort(asked[asked > 0])[::-1][:count]
    np.testing.assert_allclose([link.weight for link in found], expected, atol=1e-7)
    for link in found:
        assert link.head == (-1 if head is None else head)
        assert query is None or link.query == query
        assert dense[link.query, link.key] == pytest.approx(link.weight, abs=1e-7)
    assert len({(link.query, link.key) for link in found}) == len(found)


def test_all_heads_share_one_pass():
    encoding = build_encoding([1, 2, 3, 1, 2])
    recording, axis = build_recording(encoding, 7), build_axis(encoding)
    every = tile(recording, GLOBAL, None, axis, axis, 99, links=5)
    for head, weights in enumerate(every.weights):
        np.testing.assert_array_equal(
            weights, tile(recording, GLOBAL, head, axis, axis, 99).weights[0]
        )
    expected = np.sort(recording.attention(GLOBAL).numpy(), axis=None)[::-1][:5]
    np.testing.assert_allclose([link.weight for link in every.links], expected, atol=1e-7)
    assert tile(recording, GLOBAL, None, axis, axis, 4).links_of(0, 3) is None
