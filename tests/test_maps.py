"""Pictures' data and strongest links against the dense map."""

import pytest
import torch

import mbexplore
from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.maps import layer_map
from mbexplore.analysis.tile import tile
from mbexplore.display.fonts import drawable, token_label

TEXT = "The river runs from the mountains to the sea, and the road follows it down. " * 9


@pytest.fixture(scope="module")
def recording():
    return mbexplore.load("tiny", device="cpu").record(TEXT, keep=("attention",))


@pytest.mark.parametrize("layer", [3, 4])
@pytest.mark.parametrize("pixels", [1000, 60, 25])
def test_pooled_pictures_hold_every_maximum(recording, layer, pixels):
    dense = recording.attention(layer)
    seq = len(recording)
    drawn = layer_map(recording, layer, pixels=pixels)
    pool, size = drawn.pool, drawn.weights.shape[-1]
    assert size <= pixels and (pool == 1) == (seq <= pixels)
    expected = torch.zeros(4, size, size)
    for row in range(size):
        for column in range(size):
            square = dense[:, row * pool : (row + 1) * pool, column * pool : (column + 1) * pool]
            expected[:, row, column] = square.amax(dim=(1, 2))
    torch.testing.assert_close(torch.from_numpy(drawn.weights), expected)


def strongest(recording, layer, head, count):
    axis = build_axis(recording.encoding)
    return tile(recording, layer, head, axis, axis, len(axis), links=count).links


@pytest.mark.parametrize("layer", [3, 4])
@pytest.mark.parametrize("head", [None, 2])
def test_strongest_links_are_the_largest_of_the_dense_map(recording, layer, head):
    dense = recording.attention(layer, head)
    links = strongest(recording, layer, head, 30)
    expected = dense.flatten().topk(30).values
    torch.testing.assert_close(torch.tensor([link.weight for link in links]), expected)
    first = 0 if head is None else head
    for link in links:
        assert float(dense[link.head - first, link.query, link.key]) == pytest.approx(link.weight)
    assert len({(link.head, link.query, link.key) for link in links}) == 30


def test_no_links_and_more_links_than_there_are():
    short = mbexplore.load("tiny", device="cpu").record("Hello.", keep=("attention",))
    assert strongest(short, 0, None, 0) == ()
    assert len(strongest(short, 0, None, 10_000)) == 4 * len(short) ** 2


def test_labels_can_be_drawn():
    assert drawable("a\x1bb") == "a\N{WHITE SQUARE}b"
    assert token_label(" word") == "word"
    assert len(token_label("w" * 40)) == 14
