"""Printed tables in terminals of any width."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mbexplore.display.blocks import Bars
from mbexplore.display.terminal import build_table, to_text

NUMBERS = ["-119", "0.960", "+12", "160,000"]


def build():
    table = build_table("layer", "key", "distance", "weight", "", "head", "theta",
                        left=("layer", "key", ""))  # fmt: skip
    for i in range(3):
        bar = Text("\N{FULL BLOCK}" * (i + 1))
        table.add_row(f"{i} global", "mountains 85", NUMBERS[0], NUMBERS[1], bar, NUMBERS[2],
                      NUMBERS[3])  # fmt: skip
    return table


def lines_of(table, width):
    text = io.StringIO()
    Console(file=text, width=width).print(table)
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [36, 40, 50, 60, 70, 80])
def test_numbers_stay_whole_where_a_terminal_is_narrow(width):
    lines = lines_of(build(), width)
    assert max(map(cell_len, lines)) <= width
    rows = [line for line in lines if NUMBERS[0] in line]
    assert len(rows) == 3 and all(number in row for row in rows for number in NUMBERS)
    letters = "".join("".join(line.split()) for line in lines)
    assert all(letters.count(letter) >= 3 for letter in "globalmountains85")  # folded, not cut
    assert ("\N{FULL BLOCK}" in letters) == (width >= 70)
    assert ("distance" in letters) == (width >= 50)


def test_where_there_is_room_a_table_is_as_rich_draws_it():
    table = build()
    wide = lines_of(table, 100)
    table.__class__ = Table
    assert wide == lines_of(table, 100)


def test_a_table_without_rows_or_without_room_is_printed_all_the_same():
    assert lines_of(build_table("head", "weight", "", left=("head",)), 8)
    assert max(map(cell_len, lines_of(build(), 16))) <= 16


def test_a_column_without_a_name_is_no_bar():
    bars = Bars(
        ("France 4", "is 5"), (5.02, 0.01), "Share of the logit", unit="integrated gradients",
        hue="signed", theirs=(2.38, -0.11), theirs_name="gradient x input",
    )  # fmt: skip
    for width in (40, 60, 80, 120):
        text = to_text([bars], width)
        assert "France 4" in text and "+5.02" in text and "+2.38" in text
