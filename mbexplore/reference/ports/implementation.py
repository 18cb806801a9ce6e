"""What an implementation is to those who compare it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from numpy.typing import NDArray

from mbexplore.reference.ports.suite import Case

Precision = Literal["float32", "float16", "bfloat16", "int8"]
Arrays = Mapping[str, NDArray[Any]]
"""Values of a padded batch, by the names of `values` or by their usual ones."""


class Unable(Exception):
    """A case that an implementation can't be asked; the message says why."""


class Implementation:
    """The other side.

    Attributes:
        name: in words.
        precision: of its computation, as far as it says.
        own_case: what it was computed on, where it can't be asked anything else.
    """

    name: str
    precision: Precision = "float32"
    own_case: Case | None = None

    def run(self, case: Case) -> Arrays:
        """What it computes of a case.

        Raises:
            Unable: it can't be asked this case.
            ModelError: it fails, or gives something else.
        """
        raise NotImplementedError
