"""Many short texts, answered by whole processes: the texts, and transformers' script."""

from __future__ import annotations

import csv
import random
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbexplore.errors import UsageError

LINES = 10_000
TOP_K = 5
BATCH = 32
"""Texts of a batch on transformers' side."""

SCRIPT = f"""
import csv, sys, torch
from transformers import pipeline
options = dict(top_k={TOP_K}, batch_size={BATCH}, dtype=torch.float32)
fill = pipeline("fill-mask", model=sys.argv[1], **options)
lines = open(sys.argv[2]).read().splitlines()
with open(sys.argv[3], "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["line", "probability"])
    for number, found in enumerate(fill(lines)):
        writer.writerows([number, one["score"]] for one in found)
"""
"""How a user of transformers answers many texts, in float32 whatever the file stores."""

_WORDS = (
    ("", "now ", "today ", "in the end ", "when the rain had stopped, "),
    ("the ", "this ", "every ", "our ", "a "),
    ("", "big ", "small ", "quiet ", "poor ", "famous ", "young ", "strange ", "beautiful "),
    ("river ", "harbour ", "village ", "teacher ", "king ", "ship ", "bridge ", "island "),
    ("is ", "was ", "comes from ", "lies near ", "belongs to "),
    ("{mask}",),
    ("", " in the north", " of the old town", " by the sea", " for a long time", " every year"),
    (".", "!", ", they say.", ", but only the oldest of them would say so."),
)  # fmt: skip


def make_lines(mask: str, count: int = LINES) -> list[str]:
    """Sentences with a mask each, none twice, short and long ones mixed as in a book.

    7 to 33 tokens in the bundled model's vocabulary, 17 in the mean.

    Raises:
        UsageError: so many there aren't.
    """
    if not 1 <= count <= (most := prod(map(len, _WORDS))):
        raise UsageError(f"{count:,} lines were asked for; choose 1 to {most:,}.")
    numbers = random.Random(0).sample(range(most), count)
    return [_line(number).format(mask=mask) for number in numbers]


def _line(number: int) -> str:
    words = []
    for some in _WORDS:
        number, place = divmod(number, len(some))
        words.append(some[place])
    line = "".join(words)
    return line[0].upper() + line[1:]


def read_answers(path: Path) -> NDArray[np.float64]:
    """Probabilities (line, rank) of a table that either side wrote."""
    with path.open(newline="") as file:
        values = [float(row["probability"]) for row in csv.DictReader(file)]
    return np.array(values).reshape(-1, TOP_K)
