"""Many short texts, answered by whole processes: the texts, and transformers' script."""

from __future__ import annotations

import csv
from itertools import islice, product
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
    ("The", "This", "Every", "Our", "A"),
    ("", " big", " small", " quiet", " poor", " famous", " young", " strange", " beautiful"),
    ("river", "harbour", "village", "teacher", "king", "ship", "bridge", "island"),
    ("is", "was", "comes from", "lies near", "belongs to"),
    ("", " in the north", " of the old town", " by the sea", " for a long time", " every year"),
)


def make_lines(mask: str, count: int = LINES) -> list[str]:
    """Sentences with a mask each, of 6 to 14 tokens in common vocabularies, none twice.

    Raises:
        UsageError: so many there aren't.
    """
    if not 1 <= count <= (most := prod(map(len, _WORDS))):
        raise UsageError(f"{count:,} lines were asked for; choose 1 to {most:,}.")
    some = (f"{a}{b} {c} {d} {mask}{e}." for a, b, c, d, e in product(*_WORDS))
    return list(islice(some, count))


def read_answers(path: Path) -> NDArray[np.float64]:
    """Probabilities (line, rank) of a table that either side wrote."""
    with path.open(newline="") as file:
        values = [float(row["probability"]) for row in csv.DictReader(file)]
    return np.array(values).reshape(-1, TOP_K)
