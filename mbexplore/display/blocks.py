"""What a view shows, as data: a small vocabulary that every renderer knows.

A block holds numbers and text, never markup, colours or positions. `terminal`, `figure`, `browser`
and `data` each render every kind. Importing this loads nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from mbexplore.display.numbers import count, decimals, fixed, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

Hue = Literal["global", "local", "signed", "plain"]
"""Blue and orange of the two kinds of layer, a scale for signed values, and grey."""

Selection: TypeAlias = Mapping[str, "int | str | None"]
"""What a click selects: a `layer`, `head` or `token`, or another parameter of the view."""


@dataclass(frozen=True)
class Block:
    """Anything that can be shown."""


@dataclass(frozen=True)
class Headline(Block):
    """The view's answer in one sentence."""

    text: str


@dataclass(frozen=True)
class Badge(Block):
    """Whether something was found to hold, in a few words.

    Attributes:
        text: "same top 5 as transformers".
        good: whether it holds.
    """

    text: str
    good: bool = True


@dataclass(frozen=True)
class Note(Block):
    """A quiet sentence: a caveat, how to read what stands above, what is not shown."""

    text: str


@dataclass(frozen=True)
class Row(Block):
    """Blocks beside each other, below each other where there is no room."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Column(Block):
    """Blocks below each other, as one cell of a row."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        value: the number or word itself, as files hold it.
        text: how it is shown; the value itself by default.
        bar: from 0 to 1, or from -1 for the hue "signed": drawn behind the text.
        hue: of the bar, or of the text where there is none.
        strong: whether it stands out.
        select: what a click on it selects.
    """

    value: str | int | float | bool | None
    text: str = ""
    bar: float | None = None
    hue: Hue = "plain"
    strong: bool = False
    select: Selection | None = None

    @property
    def shown(self) -> str:
        """How it is shown."""
        return self.text or ("" if self.value is None else str(self.value))


Value: TypeAlias = "Cell | str | int | float | None"


@dataclass(frozen=True)
class Table(Block):
    """A table.

    Attributes:
        columns: their names.
        rows: as many values each; anything but a `Cell` is shown as it is.
        title: above it.
        left: columns of words; those of numbers are aligned to the right.
        shares: columns of numbers that are shown as per cent.
        bars: columns with bars, the longest for the largest number.
        extra: columns for files only, by name: one value a row.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    title: str = ""
    left: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str | int | float | None]] = field(default_factory=dict)
    shares: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: Mapping[str, Iterable[Value]], title: str = "", **more: Any) -> Table:
        """A table of columns by their names; `more` are its other attributes."""
        return cls(tuple(columns), tuple(zip(*columns.values(), strict=True)), title, **more)

    @cached_property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows, every value as a cell; the numbers of a column are written alike."""
        rows = [[one if isinstance(one, Cell) else Cell(one) for one in row] for row in self.rows]
        columns = zip(self.columns, zip(*rows, strict=True), strict=False)
        return tuple(zip(*(self._written(*column) for column in columns), strict=True))

    def _written(self, name: str, column: tuple[Cell, ...]) -> list[Cell]:
        numbers = [one.value for one in column if isinstance(one.value, float)]
        most = max((abs(value) for value in numbers if isfinite(value)), default=0.0)
        places = decimals(most, 3)
        cells = []
        for cell in column:
            value, text, bar = cell.value, cell.text, cell.bar
            if isinstance(value, float) and bar is None and name in self.bars:
                bar = value / (most or 1.0)
            if not text and isinstance(value, float):
                signed = cell.hue == "signed"
                text = (
                    percent(value) if name in self.shares else fixed(value, places, signed=signed)
                )
            elif not text and isinstance(value, int) and not isinstance(value, bool):
                text = count(value)
            cells.append(replace(cell, text=text, bar=bar))
        return cells


@dataclass(frozen=True, eq=False)
class Heat(Block):
    """A small matrix in colour.

    Attributes:
        values: (rows, columns); NaN where there is nothing.
        rows: a label each, the first at the bottom where `upward`.
        columns: a label each.
        title: above it.
        row_axis: what the rows are: "layer".
        column_axis: what the columns are: "token".
        hue: of all cells, or of each row.
        low: value of the lightest colour; the least by default, minus `high` for "signed".
        high: value of the darkest; the most by default.
        log: whether colours are spaced by logarithms; all values are above 0 then.
        root: of a value's share, which its colour follows: faint ones show.
        unit: of the values: "nats".
        texts: a word in each cell, where there is room.
        select: the parameters that a click sets by its row and by its column.
        select_more: what a click sets beside these; "{row}" and "{column}" in a word stand for what
            the cell's row and column select.
        row_values: what each row selects; its index by default, nothing for None.
        column_values: what each column selects.
        row_hues: colour of each row's label.
        mark: row and column that are outlined; None for all of them.
        upward: whether the first row is at the bottom, as layers are everywhere.
        darkest_low: whether low values are the dark ones, as for ranks: 1 is best.
        scale: whether its colour scale is drawn; maps in a row that have the same one share it.
    """

    values: NDArray[np.floating]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    title: str = ""
    row_axis: str = ""
    column_axis: str = ""
    hue: Hue | tuple[Hue, ...] = "plain"
    low: float | None = None
    high: float | None = None
    log: bool = False
    root: int = 1
    unit: str = ""
    texts: tuple[tuple[str, ...], ...] | None = None
    select: tuple[str | None, str | None] = (None, None)
    select_more: Selection = field(default_factory=dict)
    row_values: tuple[int | None, ...] | None = None
    column_values: tuple[int | None, ...] | None = None
    row_hues: tuple[Hue, ...] | None = None
    mark: tuple[int | None, int | None] | None = None
    upward: bool = False
    darkest_low: bool = False
    scale: bool = True

    @property
    def bounds(self) -> tuple[float, float]:
        """Values of the lightest and the darkest colour (the other way round: `darkest_low`)."""
        import numpy as np

        finite = self.values[np.isfinite(self.values)]
        signed = self.hue == "signed"
        most = (float(abs(finite).max()) if signed else float(finite.max())) if finite.size else 1.0
        high = most if self.high is None else self.high
        least = -high if signed else float(finite.min()) if finite.size else 0.0
        low = least if self.low is None else self.low
        return low, high if high > low else low + 1.0

    def hue_of(self, row: int) -> Hue:
        """The hue of a row's cells."""
        return self.hue if isinstance(self.hue, str) else self.hue[row]

    @property
    def shades(self) -> NDArray[np.floating]:
        """How dark each cell is, from 0 to 1; 0 where there is nothing."""
        import numpy as np

        (low, high), values = self.bounds, self.values
        if self.log:
            low, high = max(low, 1e-30), max(high, 1e-30)
            low, high, values = np.log(low), np.log(high), np.log(np.maximum(values, low))
        shares = np.clip((values - low) / (high - low), 0.0, 1.0) ** (1 / self.root)
        return np.where(np.isfinite(values), 1 - shares if self.darkest_low else shares, 0.0)


@dataclass(frozen=True)
class Series:
    """One curve of `Lines`: y over x, or over 0, 1, 2, ..."""

    name: str
    y: tuple[float, ...]
    x: tuple[float, ...] | None = None
    hue: Hue = "plain"
    dashed: bool = False
    dots: bool = False

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        """(x, y) of each point."""
        x = range(len(self.y)) if self.x is None else self.x
        return tuple((float(a), float(b)) for a, b in zip(x, self.y, strict=True))


@dataclass(frozen=True)
class Lines(Block):
    """Curves over one axis.

    Attributes:
        series: the curves.
        title: above them.
        x: what the axis is.
        y: likewise.
        log_x: whether it is logarithmic.
        log_y: likewise.
        ticks: names of x = 0, 1, 2, ...; None for numbers.
        marks: upright lines, by name.
        levels: level lines, by name.
        y_down: whether low values are at the top, as for ranks.
    """

    series: tuple[Series, ...]
    title: str = ""
    x: str = ""
    y: str = ""
    log_x: bool = False
    log_y: bool = False
    ticks: tuple[str, ...] | None = None
    marks: Mapping[str, float] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    y_down: bool = False


@dataclass(frozen=True)
class Bars(Block):
    """Level bars, one a row, each with its number.

    Attributes:
        labels: of the bars.
        values: their lengths.
        title: above them.
        unit: of the values; "%" shows shares as per cent.
        hue: of the bars; "signed" for values of both signs.
        high: the value of a full bar, the same beside each other; the largest by default.
        theirs: values of the other side, drawn as rings; None where it has none.
        theirs_name: what the other side is.
        ours_name: what shares are; by default probabilities, or mbexplore's beside another's.
        strong: rows that stand out.
        select: what a click on each row selects.
    """

    labels: tuple[str, ...]
    values: tuple[float, ...]
    title: str = ""
    unit: str = ""
    hue: Hue = "global"
    high: float | None = None
    theirs: tuple[float | None, ...] | None = None
    theirs_name: str = ""
    ours_name: str = ""
    strong: frozenset[int] = frozenset()
    select: tuple[Selection, ...] | None = None

    @cached_property
    def full(self) -> float:
        """The value of a full bar."""
        every = [abs(v) for v in (*self.values, *(v for v in self.theirs or () if v is not None))]
        return self.high or max(every, default=0.0) or 1.0

    @cached_property
    def table(self) -> Table:
        """The bars as a table: their numbers are read as easily as their lengths."""
        signed, places = self.hue == "signed", decimals(self.full, 3)

        def cell(value: float | None, hue: Hue, strong: bool) -> Cell:
            if value is None:
                return Cell(None, strong=strong)
            text = percent(value) if self.unit == "%" else fixed(value, places, signed=signed)
            return Cell(value, text, value / self.full, hue, strong)

        rows: list[tuple[Value, ...]] = []
        for i, (label, value) in enumerate(zip(self.labels, self.values, strict=True)):
            strong = i in self.strong
            name = Cell(label, strong=strong, select=self.select[i] if self.select else None)
            theirs = () if self.theirs is None else (self.theirs[i],)
            others = (cell(one, "signed" if signed else "plain", strong) for one in theirs)
            rows.append((name, cell(value, self.hue, strong), *others))
        ours = self.ours_name or ("p" if self.theirs is None else "mbexplore")
        ours = ours if self.unit == "%" else self.unit
        names = ("", ours, *([] if self.theirs is None else [self.theirs_name]))
        return Table(names, tuple(rows), self.title, left=("",))


@dataclass(frozen=True)
class TokenStrip(Block):
    """The text, each token coloured by its value; a click selects the token.

    Attributes:
        tokens: of the text.
        values: one a token.
        title: above it.
        unit: of the values.
        hue: of the tokens.
        mark: the token that is outlined.
        high: the value of the darkest colour; the largest by default.
    """

    tokens: tuple[str, ...]
    values: tuple[float, ...]
    title: str = ""
    unit: str = ""
    hue: Hue = "signed"
    mark: int | None = None
    high: float | None = None

    @property
    def full(self) -> float:
        """The value of the darkest colour."""
        return self.high or max((abs(value) for value in self.values), default=0.0) or 1.0


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """Every block, those inside rows and columns too."""
    for block in blocks:
        if isinstance(block, Row | Column):
            yield from walk(block.blocks)
        else:
            yield block


def kinds_in(blocks: Iterable[Block]) -> tuple[Hue, ...]:
    """The kinds of layers that names of rows are coloured by, where there are both."""
    found = {hue for one in walk(blocks) if isinstance(one, Heat) for hue in one.row_hues or ()}
    kinds: tuple[Hue, ...] = ("global", "local")
    return kinds if found.issuperset(kinds) else ()


def share_scale(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """The blocks of a row; of maps on one colour scale the last one alone shows it."""
    heats = [one for one in blocks if isinstance(one, Heat)]
    scales = {(one.bounds, one.hue, one.log, one.unit, one.darkest_low) for one in heats}
    if len(heats) < len(blocks) or len(scales) != 1:
        return tuple(blocks)
    return (*(replace(one, scale=False) for one in heats[:-1]), heats[-1])


if TYPE_CHECKING:
    import numpy as np
