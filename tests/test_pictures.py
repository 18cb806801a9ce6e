"""Pictures: what is drawn of data, and what a page tells of it when it is pointed at."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from mbexplore.plots.cells import find_cells
from mbexplore.plots.style import label_tokens
from mbexplore.views.picture_page import picture_page
from tests.test_attention_page import open_page


def drawn(figure):
    """The pixels of a picture, and its cells."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255, list(find_cells(figure))


def colour_at(pixels, x, y):
    return pixels[int(y * pixels.shape[0]), int(x * pixels.shape[1])]


def build_maps():
    """Heat maps laid out in every way, with their values told by their colours."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    figure.suptitle("maps")
    left, right = figure.subfigures(1, 2)
    values = np.random.default_rng(0).uniform(0.05, 1.0, (5, 7))
    ways = [
        {"origin": "lower", "aspect": "auto"},
        {"origin": "upper"},
        {"origin": "upper", "extent": (-3.5, 3.5, 12.0, -1.0), "aspect": "auto"},
        {"origin": "lower", "extent": (7.0, 0.0, 0.0, 5.0)},
    ]
    grid = [*left.subplots(2, 1), *right.subplots(2, 1)]
    for axes, way in zip(grid, ways, strict=True):
        axes.imshow(values, cmap="cividis", norm=LogNorm(0.05, 1.0), interpolation="nearest", **way)
    grid[1].invert_yaxis()
    grid[1].set_title("entropy (1 = all alike)")
    return figure, grid


def test_a_cell_lies_where_its_colour_is_drawn():
    figure, grid = build_maps()
    pixels, found = drawn(figure)
    assert len(found) == 4
    for axes, cells in zip(grid, found, strict=True):
        left, top, right, bottom = cells.box
        image = axes.images[0]
        for (row, column), value in np.ndenumerate(cells.values):
            x = left + (right - left) * (column + 0.5) / cells.values.shape[1]
            y = top + (bottom - top) * (row + 0.5) / cells.values.shape[0]
            expected = image.cmap(image.norm(value))[:3]
            np.testing.assert_allclose(colour_at(pixels, x, y), expected, atol=0.01)
    assert found[1].title == "entropy"


def test_a_cell_has_the_names_of_its_row_and_its_column():
    figure = Figure(layout="constrained")
    axes, other = figure.subplots(2, 1)
    tokens = tuple(f" {letter}" for letter in "abcdefg")
    image = axes.imshow(np.zeros((3, 4)), norm=Normalize(0, 1), origin="lower")
    label_tokens(axes, tokens, 2, "x", 2, 8)  # every second of them has a tick
    axes.set_yticks(range(3), ["one", "two", "three"])
    figure.colorbar(image, ax=axes).set_label("length (square-root scale)")
    other.imshow(np.array([[1.0, np.nan]]), norm=image.norm)
    other.set_xlabel("state (0: embeddings)")
    other.set_ylabel("layer")
    first, second = drawn(figure)[1]
    assert first.rows == ("three", "two", "one")
    ends = [("a 0", "b 1"), ("c 2", "d 3"), ("e 4", "f 5")]
    assert first.columns == (*(" \N{HORIZONTAL ELLIPSIS} ".join(pair) for pair in ends), "g 6")
    assert (second.rows, second.columns) == (("layer 0",), ("state 0", "state 1"))
    assert first.what == second.what == "length"


def test_a_bar_is_as_wide_as_its_chart():
    figure = Figure(layout="constrained")
    over, beside = figure.subplots(2, 1)
    over.barh(["x", "y", "z"], [3.0, 1.0, 2.0], color="red")
    over.invert_yaxis()
    over.set_xlim(0, 4)
    over.set_xlabel("tokens")
    beside.bar([0, 1], [-1.0, 4.0], color="red")
    beside.set_ylim(-2, 5)
    pixels, (first, second) = drawn(figure)
    assert (first.rows, first.what) == (("x", "y", "z"), "tokens")
    for cells, axes in ((first, over), (second, beside)):
        left, top, right, bottom = cells.box
        rows, columns = cells.values.shape
        for (row, column), value in np.ndenumerate(cells.values):
            for reach, is_bar in ((0.9 * value, True), (1.1 * value, False)):
                if rows > 1:
                    low, high = axes.get_xlim()
                    x = left + (right - left) * (reach - low) / (high - low)
                    y = top + (bottom - top) * (row + 0.5) / rows
                else:
                    low, high = axes.get_ylim()
                    x = left + (right - left) * (column + 0.5) / columns
                    y = bottom - (bottom - top) * (reach - low) / (high - low)
                assert (colour_at(pixels, x, y)[1] < 0.1) == is_bar  # red, on white


def test_a_page_tells_the_number_that_is_pointed_at(browser, tmp_path):
    figure, _ = build_maps()
    tab = open_page(browser, tmp_path, picture_page(figure, "x", "mbexplore activations"))
    assert tab.locator("h1").inner_text() == "maps"
    cells = list(find_cells(figure))
    box = tab.locator(".picture img").bounding_box()
    for each, (row, column) in zip(cells, [(0, 0), (4, 6), (2, 3), (3, 1)], strict=True):
        left, top, right, bottom = each.box
        x, y = left + (right - left) * (column + 0.5) / 7, top + (bottom - top) * (row + 0.5) / 5
        tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        *_, number = tab.locator(".picture-tip").inner_text().split()
        assert float(number) == pytest.approx(each.values[row, column], rel=1e-3)
    outline = tab.locator(".picture-cell").bounding_box()
    assert outline["width"] == pytest.approx((right - left) / 7 * box["width"], abs=1)
    tab.mouse.move(1, 1)
    assert not tab.locator(".picture-tip").is_visible()


def test_a_page_shows_its_picture_without_scripts_and_holds_no_markup_of_the_text():
    figure = Figure()
    figure.suptitle("a <b> text\nline $two")
    axes = figure.subplots()
    axes.imshow(np.zeros((1, 2)))
    label_tokens(axes, (" </script>", " <i>"), 1, "x", 5, 8)
    page = picture_page(figure, "x", "mbexplore rope '<u>'")
    assert not any(tag in page for tag in ("<b>", "<i>", "<u>")) and page.count("</script>") == 2
    assert '<div id="shown"><img alt="a &lt;b&gt; text" src="data:image/svg+xml;base64,' in page
    assert "line $two. Point at" in page
