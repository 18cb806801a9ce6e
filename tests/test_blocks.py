"""Heat maps in a terminal: what is printed is decoded again."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rich.console import Console

from mbexplore.display.half_blocks import HALF, SHADES, Blocks, fit, max_pool
from mbexplore.display.palette import ON_BLACK, ramp

COLOURS = ramp(ON_BLACK["global"])
pictures = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    elements=st.floats(0, 1, width=32),
)


def decode(lines, rows):
    """The level of every value, from the colours of the half blocks."""
    places = {colour: i for i, colour in reversed(list(enumerate(COLOURS)))}
    levels = []
    for line in lines:
        upper, lower = [], []
        for segment in line:
            assert set(segment.text) == {HALF}
            above, below = segment.style.color, segment.style.bgcolor
            upper += [places[tuple(above.triplet)]] * len(segment.text)
            lower += [below and places[tuple(below.triplet)]] * len(segment.text)
        levels += [upper, lower]
    return np.array(levels[:rows], dtype=int)


@given(pictures)
def test_every_value_is_a_half_block_of_its_colour(values):
    lines = Blocks(values, COLOURS).lines()
    assert len(lines) == -(-len(values) // 2)
    wanted = np.rint(values * 255).astype(int)
    shown = decode(lines, len(values))
    same = {level: COLOURS.index(COLOURS[level]) for level in range(256)}
    np.testing.assert_array_equal(shown, np.vectorize(same.get)(wanted))


@given(pictures)
def test_without_colour_a_shade_shows_the_larger_of_two_rows(values):
    lines = Blocks(values, COLOURS).lines(colour=False)
    for i, line in enumerate(lines):
        text = "".join(segment.text for segment in line)
        larger = values[2 * i : 2 * i + 2].max(axis=0)
        assert [SHADES.index(shade) for shade in text] == np.rint(larger * 4).astype(int).tolist()
        assert all(segment.style is None for segment in line)


@given(pictures, st.integers(1, 20), st.integers(1, 20))
def test_a_picture_fits_and_keeps_its_maximum(values, columns, lines):
    shown = fit(values, columns, lines)
    assert shown.shape[1] <= columns and -(-len(shown) // 2) <= lines
    assert shown.max() == values.max()


def test_a_small_picture_is_doubled_and_a_large_one_pooled():
    small = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(fit(small, 40, 40), small.repeat(2, 0).repeat(2, 1))
    large = np.arange(25.0).reshape(5, 5)
    np.testing.assert_array_equal(max_pool(large, 2), [[6, 8, 9], [16, 18, 19], [21, 23, 24]])


@pytest.mark.parametrize(
    ("system", "mark"), [("truecolor", "38;2;"), ("256", "38;5;"), ("standard", "\x1b[")]
)
def test_a_terminal_gets_the_colours_it_has(system, mark):
    printed = io.StringIO()
    console = Console(
        file=printed, force_terminal=True, color_system=system, width=20, no_color=False
    )
    console.print(Blocks(np.eye(4), COLOURS))
    lines = printed.getvalue().splitlines()
    assert len(lines) == 2 and all(mark in line for line in lines)
    assert ("38;2;" in printed.getvalue()) == (system == "truecolor")


def test_no_color_prints_shades_alone():
    printed = io.StringIO()
    Console(file=printed, force_terminal=True, no_color=True, width=20).print(
        Blocks(np.eye(4), COLOURS)
    )
    assert printed.getvalue() == "██  \n  ██\n"
