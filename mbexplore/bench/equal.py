"""The model that is run on both sides, and whether they gave the same. Loads nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbexplore.errors import ModelError

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.3}
"""Largest difference between two answers to the same question, for values near 1."""


@dataclass(frozen=True)
class Model:
    """What is run: on our side and, for them to be equal work, on theirs."""

    name: str
    folder: Path
    mask: str
    their_folder: Path
    exported: Path | None = None

    def place(self, side: str) -> Path:
        """Where a side's weights are."""
        folder = {"ours": self.folder, "theirs": self.their_folder}.get(side, self.exported)
        assert folder is not None
        return folder


def check_equal(
    ours: NDArray[Any],
    theirs: NDArray[Any],
    what: str,
    tolerance: float = TOLERANCE["float32"],
) -> float:
    """The largest difference of two answers to the same question.

    Raises:
        ModelError: it is too large, or not a number: the work was not the same.
    """
    if ours.shape != theirs.shape:
        raise ModelError(
            f"The two sides of {what} gave {ours.shape} and {theirs.shape}, so their times would "
            "compare unequal work; run `mbexplore verify` on this model."
        )
    difference = float(np.abs(ours.astype(np.float64) - theirs).max())
    allowed = tolerance * max(1.0, float(np.sqrt(np.square(theirs.astype(np.float64)).mean())))
    if not difference <= allowed:
        raise ModelError(
            f"The two sides of {what} differ by {difference:.1e} (at most {allowed:.0e} is "
            "rounding), so their times would compare unequal work; run `mbexplore verify` on this "
            "model."
        )
    return difference
