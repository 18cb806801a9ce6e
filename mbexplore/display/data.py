"""Blocks and data as files hold them: JSON, CSV and NPZ. The numbers are never rounded."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO, StringIO
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from mbexplore.display.blocks import Block, Cell, Heat, Table, walk
from mbexplore.text import json_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
"""Named arrays, as npz holds them."""


def to_plain(value: Any) -> Any:
    """Dataclasses, tuples and arrays as JSON has them; NaN and infinities as null."""
    import math

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(one) for one in value]
    if hasattr(value, "tolist"):  # arrays and tensors of any library
        return to_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def pick(found: Any, *paths: str, **named: str) -> dict[str, Any]:
    """Attributes by the last name of their path, "encoding.text", then some under other names."""
    every = {path.rpartition(".")[2]: path for path in paths} | named
    return {name: attrgetter(path)(found) for name, path in every.items()}


def to_json(value: Any) -> bytes:
    """One line of JSON."""
    return (json_line(to_plain(value)) + "\n").encode()


def arrays_of(found: Any) -> dict[str, NDArray[Any]]:
    """The arrays in a dataclass, named by where they are in its JSON, "norms.q"; {} for none.

    Beside them stand tokens, and of a tuple of dataclasses an array for each of their fields.
    """
    import numpy as np

    arrays = dict(_walk(found, ""))
    has_any = any(isinstance(one, np.ndarray) for one in arrays.values())
    return {name: np.asarray(one) for name, one in arrays.items()} if has_any else {}


def _walk(found: Any, path: str) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for field in dataclasses.fields(found) if dataclasses.is_dataclass(found) else ():
        value, name = getattr(found, field.name), path + field.name
        if isinstance(value, np.ndarray) or field.name.endswith("tokens"):
            yield name, value
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for one in dataclasses.fields(value[0]):
                column = [getattr(each, one.name) for each in value]
                if all(isinstance(each, int | float | str) for each in column):
                    yield f"{name}.{one.name}", column
        else:
            yield from _walk(value, f"{name}.")


def to_npz(arrays: Arrays) -> bytes:
    """Named arrays in one compressed file that numpy opens."""
    import numpy as np

    buffer = BytesIO()
    # The stubs take any keyword for `allow_pickle`, so the arrays go in as one mapping.
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def first_table(blocks: Iterable[Block]) -> Table | None:
    """The first table that is shown, or else the first matrix with a row for each cell."""
    every = list(walk(blocks))
    table = next((one for one in every if isinstance(one, Table)), None)
    heat = next((one for one in every if isinstance(one, Heat)), None)
    if table is not None:
        return table
    return None if heat is None else table_of(heat)


def table_of(heat: Heat) -> Table:
    """A matrix as a table with a row for each cell."""
    names = (heat.row_axis or "row", heat.column_axis or "column", heat.unit or "value")
    rows = tuple(
        (row, column, float(heat.values[r, c]))
        for r, row in enumerate(heat.rows)
        for c, column in enumerate(heat.columns)
    )
    return Table(names, rows)


def rows_of(table: Table) -> list[list[Any]]:
    """Header and rows of a table, with its columns for files."""
    header = [*table.columns, *table.extra]
    rows = [[one.value if isinstance(one, Cell) else one for one in row] for row in table.rows]
    for values in table.extra.values():
        for row, value in zip(rows, values, strict=True):
            row.append(value)
    return [header, *rows]


def to_csv(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as comma-separated values; line ends are those of Unix."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
