"""Parts of maps, queries by keys, against sums and means written out, on random q and k."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.analysis import tile as analysis
from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.tile import tile, tile_links
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
    """The part as (queries, keys): sums over the keys of a place, means over its queries."""
    dense = recording.attention(layer, head).numpy().mean(0)
    return np.array(
        [
            [dense[a:b, c:d].sum() / (b - a) for c, d in keys.spans]
            for a, b in queries.spans
        ]
    )  # fmt: skip


@given(part=parts(), pixels=st.integers(1, 40), rows=st.integers(1, 40))
def test_a_tile_holds_the_maximum_of_every_square(part, pixels, rows):
    recording, layer, head, (queries, keys) = part
    dense = written_out(recording, layer, head, queries, keys)
    with mock.patch.object(analysis, "ROWS", rows):
        found = tile(recording, layer, head, queries, keys, pixels)
    tall, wide = found.pool
    for side, pool, size in zip((queries, keys), found.pool, found.weights.shape, strict=True):
        assert (size - 1) * pool < len(side) <= size * pool and size <= pixels
    for (row, column), weight in np.ndenumerate(found.weights):
        square = dense[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
        assert weight == pytest.approx(square.max(), abs=1e-6)
    seen = [np.flatnonzero(row) for row in found.weights]
    edges = found.window() or [(0, found.weights.shape[1])] * len(seen)
    for (low, high), columns in zip(edges, seen, strict=True):
        assert (low == high) if len(columns) == 0 else (columns[0], columns[-1] + 1) == (low, high)


@given(part=parts(), count=st.integers(0, 50), rows=st.integers(1, 40), data=st.data())
def test_links_of_a_tile_are_its_largest_weights(part, count, rows, data):
    recording, layer, head, (queries, keys) = part
    dense = written_out(recording, layer, head, queries, keys)
    query = data.draw(st.none() | st.integers(0, len(queries) - 1))
    with mock.patch.object(analysis, "ROWS", rows):
        found = tile_links(recording, layer, head, queries, keys, count, query)
    asked = dense if query is None else dense[query : query + 1]
    expected = np.sort(asked[asked > 0])[::-1][:count]
    np.testing.assert_allclose([link.weight for link in found], expected, atol=1e-9)
    for link in found:
        assert link.head == (-1 if head is None else head)
        assert query is None or link.query == query
        assert dense[link.query, link.key] == pytest.approx(link.weight, abs=1e-9)
    assert len({(link.query, link.key) for link in found}) == len(found)
