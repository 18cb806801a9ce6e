"""What of a picture can be pointed at: the cells of its heat maps and its bars, with their numbers.

Reads a finished figure, so that no plot has to do anything for it. Where ticks are thinned, a plot
gives the names of all places as matplotlib's own `fmt_xdata` and `fmt_ydata`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.colorbar import Colorbar
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

Numbers = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Cells:
    """A part of a picture in cells of one size.

    Attributes:
        title: of the part.
        what: its numbers are.
        box: left, top, right and bottom as shares of the picture, from its upper left corner.
        rows: names, from the top; one of "" where cells are as tall as the part.
        columns: names, from the left; one of "" likewise.
        values: (rows, columns), not a number where a cell has none.
    """

    title: str
    what: str
    box: tuple[float, float, float, float]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Numbers


def find_cells(figure: Figure) -> Iterator[Cells]:
    """The cells of every heat map and bar chart of a figure that has been drawn."""
    seen = [axes for axes in figure.get_axes() if axes.get_visible()]
    images = [image for axes in seen for image in axes.images]
    scales = {id(each.norm): each.colorbar for each in images if each.colorbar is not None}
    for axes in seen:
        for image in axes.images:
            values = image.get_array()
            if values is not None and values.ndim == 2:  # colours tell no number
                yield _cells_of_image(axes, image, values, scales.get(id(image.norm)))
        for bars in axes.containers:
            if isinstance(bars, BarContainer) and len(bars) > 0:
                yield _cells_of_bars(axes, bars)


def _cells_of_image(
    axes: Axes, image: AxesImage, values: NDArray[Any], bar: Colorbar | None
) -> Cells:
    values = np.ma.filled(values.astype(np.float64), np.nan)
    left, right, bottom, top = image.get_extent()
    if image.origin == "lower":
        bottom, top = top, bottom  # the first row lies at `top`
    height, width = values.shape
    rows = _names(axes.yaxis, axes.fmt_ydata, _middles(top, bottom, height))
    columns = _names(axes.xaxis, axes.fmt_xdata, _middles(left, right, width))
    what = "" if bar is None else _plainly(bar.ax.get_ylabel())
    corners = _shares(axes, [(left, top), (right, bottom)])
    return _upright(_plainly(axes.get_title()), what, corners, rows, columns, values)


def _cells_of_bars(axes: Axes, bars: BarContainer) -> Cells:
    """A cell a bar, as wide as the chart: a short bar is pointed at as easily as a long one."""
    across = bars.orientation == "horizontal"
    boxes = [bar.get_bbox() for bar in bars.patches]
    middles = [(box.y0 + box.y1 if across else box.x0 + box.x1) / 2 for box in boxes]
    half = (middles[-1] - middles[0]) / (2 * len(middles) - 2) if len(middles) > 1 else 0.5
    ends = middles[0] - half, middles[-1] + half
    values = np.array(bars.datavalues, dtype=np.float64)
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    if across:
        names, what = _names(axes.yaxis, axes.fmt_ydata, middles), _plainly(axes.get_xlabel())
        corners = _shares(axes, [(x0, ends[0]), (x1, ends[1])])
        return _upright(_plainly(axes.get_title()), what, corners, names, ("",), values[:, None])
    names, what = _names(axes.xaxis, axes.fmt_xdata, middles), _plainly(axes.get_ylabel())
    corners = _shares(axes, [(ends[0], y1), (ends[1], y0)])
    return _upright(_plainly(axes.get_title()), what, corners, ("",), names, values[None])


def _upright(
    title: str,
    what: str,
    corners: Numbers,
    rows: tuple[str, ...],
    columns: tuple[str, ...],
    values: Numbers,
) -> Cells:
    """Cells from the upper left, wherever on the picture the first of them is drawn."""
    (left, top), (right, bottom) = corners.tolist()
    if bottom < top:
        top, bottom, rows, values = bottom, top, rows[::-1], values[::-1]
    if right < left:
        left, right, columns, values = right, left, columns[::-1], values[:, ::-1]
    return Cells(title, what, (left, top, right, bottom), rows, columns, values)


def _middles(first: float, last: float, count: int) -> list[float]:
    step = (last - first) / count
    return [first + (i + 0.5) * step for i in range(count)]


def _names(axis: Axis, name: Callable[[float], str] | None, places: list[float]) -> tuple[str, ...]:
    """What each place is called: as the plot says, as its tick says, or by its number."""
    label, ticks = _plainly(axis.get_label_text()), axis.get_major_formatter()
    if name is not None:
        return tuple(map(name, places))
    is_named = isinstance(ticks, FuncFormatter | StrCategoryFormatter)
    said = [ticks(place) if is_named else "" for place in places]
    return tuple(
        text.replace("\n", " ") or f"{label} {place:,.0f}".strip()
        for text, place in zip(said, places, strict=True)
    )


def _plainly(label: str) -> str:
    """A label without what it says of its scale: "norm (square-root scale)", "cos: orange -1"."""
    return re.split(r" \(|: ", label, maxsplit=1)[0]


def _shares(axes: Axes, points: list[tuple[float, float]]) -> Numbers:
    """Places in the data of axes as shares of the picture, from its upper left corner."""
    placed = (axes.transData - axes.figure.transFigure).transform(points)
    return np.stack((placed[:, 0], 1 - placed[:, 1]), axis=1)
