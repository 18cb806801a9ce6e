"""Which tokens of two texts stand for each other: all, or the common beginning and end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError


@dataclass(frozen=True)
class Alignment:
    """Positions of two texts that stand for each other, rising.

    Attributes:
        first: in the first text.
        second: in the second.
        is_whole: whether these are all tokens of both.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    is_whole: bool

    def __len__(self) -> int:
        return len(self.first)

    @property
    def indices(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Both as arrays."""
        return np.array(self.first, dtype=np.intp), np.array(self.second, dtype=np.intp)

    def partner(self, position: int) -> int:
        """The position in the second text of a token of the first.

        Raises:
            RangeError: it has none.
        """
        if position not in self.first:
            raise RangeError(
                f"Token {position} of the first text has no counterpart in the second; choose a "
                "token of their common beginning or end."
            )
        return self.second[self.first.index(position)]


def align(first: Encoding, second: Encoding) -> Alignment:
    """Texts of equal length token by token; others by their common beginning and end."""
    a, b = first.ids, second.ids
    if len(a) == len(b):
        return Alignment(tuple(range(len(a))), tuple(range(len(a))), True)
    shorter = min(len(a), len(b))
    start = next((i for i in range(shorter) if a[i] != b[i]), shorter)
    stop = next((i for i in range(shorter - start) if a[-1 - i] != b[-1 - i]), shorter - start)
    ends = range(-stop, 0)
    return Alignment(
        (*range(start), *(len(a) + i for i in ends)),
        (*range(start), *(len(b) + i for i in ends)),
        False,
    )
