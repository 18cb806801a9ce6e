"""Pictures: what is drawn of data, read back from the figure."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from mbexplore.analysis.links import arcs
from mbexplore.plots.arcs import CROWDED, plot_arcs
from mbexplore.recording import record
from tests.handbuilt import build_random, build_tokenizer

GLOBAL = 0


@pytest.fixture(scope="module")
def recording():
    letters = ["a", "b", "c", "d", "e", "f", "g", "h"] * 8
    return record(build_random(), build_tokenizer().encode(" ".join(letters)), keep=("attention",))


def lines_of(figure):
    """For each head the opacity, width and ends of its arcs, the last on top."""
    for axes in figure.axes:
        for drawn in axes.collections:
            assert isinstance(drawn, LineCollection)
            ends = np.array([path.vertices[[0, -1], 0] for path in drawn.get_paths()])
            yield axes, drawn.get_colors()[:, 3], np.array(drawn.get_linewidths()), ends


def test_few_arcs_are_drawn_as_they_are_and_a_thicket_fades(recording):
    few = arcs(recording, GLOBAL, most=3)
    for _, opacity, _, _ in lines_of(plot_arcs(few, "small")):
        assert len(opacity) == 3 and opacity.min() >= 0.12
    thicket = arcs(recording, GLOBAL)
    found = list(lines_of(plot_arcs(thicket, "small")))
    assert len(found) == len(thicket.heads)
    for head, (axes, opacity, widths, ends) in enumerate(found):
        inches = axes.get_figure().get_figwidth() / 2
        per_token = inches / np.ptp(axes.get_xlim())
        ink = widths / 72 * np.abs(np.diff(ends, axis=1)[:, 0]) * per_token
        assert float(opacity @ ink) <= 1.05 * CROWDED * inches * 1.9
        assert (np.diff(opacity) >= 0).all()  # the strongest on top and as dark as ever
        strongest = max(link.weight for link in thicket.links if link.head == head)
        most = max(link.weight for link in thicket.links)
        assert opacity[-1] == pytest.approx(0.12 + 0.88 * (strongest / most) ** 0.75, rel=1e-3)


def test_arcs_lead_from_query_to_key(recording):
    found = arcs(recording, GLOBAL, 1, mass=0.2)
    [(_, _, _, ends)] = lines_of(plot_arcs(found, "small"))
    drawn = {tuple(pair) for pair in ends.round().astype(int).tolist()}
    assert drawn == {(link.query, link.key) for link in found.links}
