"""The links of one token against its dense row, and on the command line."""

import json

import pytest

import mbexplore
from mbexplore.analysis.links import links_of_query
from mbexplore.errors import RangeError
from tests.cli_runner import run_cli

TEXT = "The river runs from the mountains to the sea, and the road follows it down. " * 4


@pytest.fixture(scope="module")
def recording():
    return mbexplore.load("tiny", device="cpu").record(TEXT, keep=("attention",))


@pytest.mark.parametrize(("layer", "head"), [(3, 2), (3, 0), (4, 1)])
def test_links_of_a_query_are_the_largest_of_its_row(recording, layer, head):
    found = links_of_query(recording, layer, 30, head, 15)
    dense = recording.attention(layer)
    every = [float(dense[head, 30, k]) for k in range(len(recording))]
    expected = sorted(every, reverse=True)[:15]
    assert [link.weight for link in found] == pytest.approx(expected, rel=1e-4)
    for link in found:
        assert (link.query, link.head) == (30, head)
        assert float(dense[link.head, 30, link.key]) == pytest.approx(link.weight, rel=1e-4)


def test_no_link_leaves_the_window(recording):
    found = links_of_query(recording, 4, 30, 0, 10_000)
    assert sorted(link.key for link in found) == list(range(14, 47))
    with pytest.raises(RangeError, match="no token 999"):
        links_of_query(recording, 4, 999, 0, 1)


def test_a_query_by_word_on_the_command_line():
    text = "Paris is the capital of France."
    asked = ("attention", text, "-l", 3, "--token", "France", "--top", 3)
    answer = json.loads(run_cli(*asked, "--json").out)
    assert len(answer["links"]) == 3
    assert {answer["tokens"][link["query"]].strip() for link in answer["links"]} == {"France"}
    refused = run_cli("attention", text, "--token", "Frank")
    assert refused.code == 1
    assert "no token or word 'Frank'; the nearest is 'France'" in refused.err
