"""Links, arcs and bands against the dense map, on random q and k."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.links import arcs
from mbexplore.errors import RangeError
from tests.test_axis import GLOBAL, LOCAL, build_encoding, build_recording, merged

SIZES = [2, 1, 3, 1, 1, 2, 4, 1, 2, 2]


@pytest.fixture(scope="module")
def recording():
    return build_recording(build_encoding(SIZES))


def dense_of(recording, layer, axis, mean=False):
    dense = recording.attention(layer).numpy()
    return merged(dense.mean(0, keepdims=True) if mean else dense, axis.spans)


@given(mass=st.floats(0.05, 1.0), seed=st.integers(0, 30), layer=st.sampled_from([GLOBAL, LOCAL]),
       words=st.booleans())  # fmt: skip
def test_arcs_are_the_fewest_links_that_carry_the_mass(mass, seed, layer, words):
    recording = build_recording(build_encoding(SIZES), seed)
    axis = build_axis(recording.encoding, words=words)
    dense = dense_of(recording, layer, axis)
    found = arcs(recording, layer, axis=axis, mass=mass)
    assert found.total == len(found.links)
    for head in range(2):
        for row in range(len(axis)):
            weights = [x.weight for x in found.links if (x.head, x.query) == (head, row)]
            largest = np.sort(dense[head, row])[::-1]
            np.testing.assert_allclose(weights, largest[: len(weights)], atol=1e-9)
            assert sum(weights) >= mass - 1e-9
            assert sum(weights[:-1]) < mass + 1e-9


@given(bounds=st.tuples(st.integers(0, 9), st.integers(10, 21)), words=st.booleans(),
       layer=st.sampled_from([GLOBAL, LOCAL]), hide=st.booleans())  # fmt: skip
def test_arcs_of_a_part_are_those_of_the_whole_text_between_its_tokens(bounds, words, layer, hide):
    recording = build_recording(build_encoding(SIZES))
    options = {"words": words, "hide_special": hide}
    whole = build_axis(recording.encoding, **options)
    part = build_axis(recording.encoding, bounds, **options)
    first = whole.spans.index(part.spans[0])
    expected = [
        (link.head, link.query - first, link.key - first, pytest.approx(link.weight, abs=1e-7))
        for link in arcs(recording, layer, axis=whole).links
        if 0 <= link.query - first < len(part) and 0 <= link.key - first < len(part)
    ]
    found = arcs(recording, layer, axis=part)
    assert found.total == len(found.links)
    assert sorted((x.head, x.query, x.key, x.weight) for x in found.links) == sorted(
        expected, key=lambda link: link[:3]
    )


def test_words_are_apart_by_their_tokens():
    axis = build_axis(build_encoding(SIZES), words=True)
    assert [axis.token_distance(0, key) for key in range(5)] == [s for s, _ in axis.spans[:5]]
    assert axis.token_distance(4, 1) == axis.starts[1] - axis.starts[4] < 0


def test_too_many_arcs_leave_each_head_its_strongest(recording, monkeypatch):
    all_of_them = arcs(recording, GLOBAL)
    monkeypatch.setattr("mbexplore.analysis.links.MOST_ARCS", 5)
    few = arcs(recording, GLOBAL)
    assert few.total == all_of_them.total > len(few.links) == 10
    for head in range(2):
        expected = [link for link in all_of_them.links if link.head == head][:5]
        assert [link for link in few.links if link.head == head] == expected


def test_a_mass_is_a_share(recording):
    with pytest.raises(RangeError, match=r"mass is 1\.5; choose more than 0, and 1 at most"):
        arcs(recording, GLOBAL, mass=1.5)


@pytest.mark.parametrize("hide", [True, False])
@pytest.mark.parametrize("bounds", [None, (4, 12)])
@pytest.mark.parametrize("mean", [True, False])
def test_a_band_is_the_map_straightened(recording, hide, bounds, mean):
    axis = build_axis(recording.encoding, bounds, hide_special=hide)
    dense = recording.attention(LOCAL).numpy()
    dense = dense.mean(0, keepdims=True) if mean else dense
    shown, words, seq = axis.starts.tolist(), recording.encoding.words, len(recording)
    expected = np.zeros((len(dense), len(shown), 9))  # half_window 4
    by_offset = [[] for _ in range(9)]
    at_edges = []
    for query in range(seq):
        edges = [query + side for side in (-4, 4) if 0 <= query + side < seq]
        at_edges += [dense[:, query, edges].sum(1)] if edges else []
        for column, key in enumerate(range(query - 4, query + 5)):
            if 0 <= key < seq:
                by_offset[column].append(dense[:, query, key])
                if query in shown and not (hide and words[key] is None):
                    expected[:, shown.index(query), column] = dense[:, query, key]
    found = band_map(recording, LOCAL, axis=axis, mean=mean)
    np.testing.assert_allclose(found.weights, expected, atol=1e-6)
    profile = np.stack([np.mean(each, axis=0) for each in by_offset], axis=1)
    np.testing.assert_allclose(found.profile, profile, atol=1e-6)
    assert found.profile_rows.tolist() == [len(each) for each in by_offset]
    np.testing.assert_allclose(found.edge, np.mean(at_edges, axis=0), atol=1e-6)
    assert found.edge_rows == len(at_edges)
    pooled = band_map(recording, LOCAL, pixels=3, axis=axis, mean=mean)
    squares = np.array_split(expected, range(pooled.pool, len(shown), pooled.pool), axis=1)
    np.testing.assert_allclose(pooled.weights, np.stack([s.max(1) for s in squares], 1), atol=1e-6)
    np.testing.assert_allclose(pooled.profile, found.profile)


def test_a_short_text_has_no_edge():
    short = build_recording(build_encoding([1]))
    found = band_map(short, LOCAL)
    assert found.offsets.tolist() == [-2, -1, 0, 1, 2]
    assert found.edge.tolist() == [0.0, 0.0] and found.edge_rows == 0
    assert found.profile_rows.tolist() == [1, 2, 3, 2, 1]
    sums = (found.profile * found.profile_rows).sum(1)
    np.testing.assert_allclose(sums, 3.0, atol=1e-6)  # all that three rows give


def test_no_band_of_words_or_of_a_global_layer(recording):
    with pytest.raises(RangeError, match="counts in tokens"):
        band_map(recording, LOCAL, axis=build_axis(recording.encoding, words=True))
    with pytest.raises(RangeError, match="Layer 0 is global and has no band"):
        band_map(recording, GLOBAL)
