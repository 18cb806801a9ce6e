"""Heat maps in a terminal: what is printed is decoded again."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from rich.console import Console

from mbexplore.display.palette import colour_of
from mbexplore.display.terminal_heat import HALF, LEVELS, SHADES, pixel_lines

COLOURS = [colour_of("global", level / (LEVELS - 1), dark=True) for level in range(LEVELS)]
pictures = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    elements=st.floats(0, 1, width=32),
)


def lines_of(values, colour=True):
    return pixel_lines(values, "global", colour)


def decode(lines, rows):
    """The colour of every pixel, from those of the half blocks."""
    colours = []
    for line in lines:
        upper, lower = [], []
        for start, stop, style in line.spans:
            assert set(line.plain[start:stop]) == {HALF}
            upper += [style.color.name] * (stop - start)
            lower += [style.bgcolor and style.bgcolor.name] * (stop - start)
        colours += [upper, lower]
    return colours[:rows]


@given(pictures)
def test_every_pixel_is_a_half_block_of_its_colour(values):
    lines = lines_of(values)
    assert len(lines) == -(-len(values) // 2)
    wanted = np.rint(values * (LEVELS - 1)).astype(int)
    assert decode(lines, len(values)) == [[COLOURS[level] for level in row] for row in wanted]


@given(pictures)
def test_without_colour_a_shade_shows_the_larger_of_two_rows(values):
    lines = lines_of(values, colour=False)
    for i, line in enumerate(lines):
        larger = values[2 * i : 2 * i + 2].max(axis=0)
        shades = [SHADES.index(shade) for shade in line.plain]
        assert shades == np.rint(larger * 4).astype(int).tolist()
        assert not line.spans


@pytest.mark.parametrize(
    ("system", "mark", "share"),
    [("truecolor", "38;2;", 0.25), ("256", "38;5;", 0.5), ("standard", "\x1b[", 0.9)],
)  # of colours of their own: rich keeps the codes of a style for the terminal that it saw first
def test_a_terminal_gets_the_colours_it_has(system, mark, share):
    printed = io.StringIO()
    console = Console(
        file=printed, force_terminal=True, color_system=system, width=20, no_color=False
    )
    console.print(*lines_of(share + 0.1 * np.eye(4)), sep="\n")
    lines = printed.getvalue().splitlines()
    assert len(lines) == 2 and all(mark in line for line in lines)
    assert ("38;2;" in printed.getvalue()) == (system == "truecolor")


def test_no_color_prints_shades_alone():
    assert [line.plain for line in lines_of(np.eye(4), colour=False)] == ["██  ", "  ██"]
