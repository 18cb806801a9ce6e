"""Every view in every form: the numbers in terminal, figure, browser and files are the same."""

import csv
import inspect
import io
import json
import math
import re
import shlex
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import typer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle

import mbexplore
from mbexplore.cli import app
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.blocks import (
    Badge,
    Bars,
    Headline,
    Heat,
    Lines,
    Note,
    Table,
    TokenStrip,
    walk,
)
from mbexplore.display.browser import to_parts
from mbexplore.display.numbers import decimals, fixed, percent, significant
from mbexplore.display.scatter_blocks import Scatter
from mbexplore.display.story_blocks import RouteGraph
from mbexplore.display.terminal import to_text
from mbexplore.errors import OutputError
from mbexplore.explorer import Explorer
from mbexplore.files import PICTURES
from mbexplore.session import Session
from mbexplore.text import shown
from mbexplore.views import REGISTRY
from mbexplore.views.result import FORMATS
from tests import public, typed
from tests.cli_runner import run_cli
from tests.drawn import overlapping, visible_texts

TEXT = "The capital of France is [MASK]."
TWIN = "The capital of Italy is [MASK]."
MODES = {
    "ablate": [
        {"parts": ("6.3", "4.mlp"), "blocked": ("France",), "contrast": "Rome"},
        {"parts": ("6.3",), "all_heads": True, "replacement": "mean"},
    ],
    "attention": [
        {"layer": 4, "head": 1, "token": "France"},
        {"layer": 4, "picture": "band"},
        {"layer": 6, "picture": "arcs", "token": 6},
    ],
    "attribute": [{"contrast": "Rome", "steps": 8}],
    "why": [{"counterfactual": TWIN, "answer": "Paris", "rival": "Rome"}],
    "compare": [{"layer": 2, "head": 1}],
    "mix": [{"layer": 4, "token": "France"}],
    "lens": [{"all_tokens": True}],
    "heads": [{"like": "3.1"}],
    "rope-score": [{"layer": 4, "head": 1, "token": "France", "key": 3}],
    "neurons": [{"layer": 4, "top_k": 3}],
    "pairs": [
        {"show": 0},
        {"path": None, "pairs": ("The tide rises. | The tide rise.", "A king sat. | A king sit.")},
    ],
    "probe": [
        {"path": None, "folds": 2, "examples": tuple(f"{x} | {x in 'ab'}" for x in "abcd")},
    ],
    "corpus": [
        {"corpus": None, "layer": 3, "head": 2, "examples": 2},
        {"corpus": None, "layer": 4, "neuron": 117, "examples": 2},
        {"corpus": None, "metric": "edge", "against": "distance"},
    ],
    "corpus-search": [
        {"corpus": None, "pattern": "query is lowercase, distance < 0", "kind": "local"},
        {"corpus": None, "word": "sea", "limit": 5},
    ],
    "score": [
        {"targets": ("Paris", "Rome", "fishermen"), "hf": False},
        {"sentence": True, "masking": "word", "hf": False},
        {"targets": ("teacher", "sailor"), "fill": ("name=John,Mary", "x=a,b"), "hf": False},
    ],
}
"""Parameters with which a view shows something else than it does by default."""
TEMPLATE = "{name} was a [MASK] in {x}."
DATA = Path(__file__).parent / "data"
PAIRS, LABELS = str(DATA / "pairs.jsonl"), str(DATA / "labels.csv")
ALONE = ("predict", "score", "likelihood")
BASE = {
    "corpus": {"corpus": None},
    "corpus-search": {"corpus": None, "metrics": ("previous>0.1", "entropy<0.9")},
    "compare": {"other": TWIN},
    "probe": {"path": LABELS, "folds": 2},
    "steer": {"toward": (TWIN,), "away": (TEXT,), "layer": 4},
} | {name: {"hf": False} for name in ALONE}
"""What a view needs, or does without here: transformers takes long to start."""
CASES = [(name, BASE.get(name, {})) for name in REGISTRY] + [
    (name, values) for name, every in MODES.items() for values in every
]
UNDRAWN = (Badge, Headline, Note, Table)
"""Blocks of which a picture has none, but for tables where there is nothing else."""
NUMBER = re.compile(r"[+\N{MINUS SIGN}-]?\d[\d,]*(?:\.\d+)?(?:e[\N{MINUS SIGN}+-]?\d+)?[%°]?")


def name_of(case):
    name, values = case
    return "-".join((name, *values))


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def _is_needed(one):
    """Whether a view shows nothing without it: a second text."""
    return one.is_required or one.option.positional


class Cases:
    """The result of a case, computed once."""

    def __init__(self, explorer):
        self.explorer, self.found = explorer, {}

    def __call__(self, case):
        if name_of(case) not in self.found:
            name, values = case
            view = REGISTRY[name]
            kinds = {"text": TWIN, "token": 0, "integer": 1, "model": "tiny", "file": PAIRS}
            needed = {one.name: kinds[one.kind] for one in view.parameters if _is_needed(one)}
            text = TEMPLATE if "fill" in values else TEXT
            texts = {"text": text, "texts": (TEXT, TWIN), "model": ()}[view.reads]
            session = Session(self.explorer, texts)
            self.found[name_of(case)] = view(**needed | values).of(session)
        return self.found[name_of(case)]


@pytest.fixture(scope="module")
def results(explorer):
    return Cases(explorer)


@pytest.fixture(params=CASES, ids=name_of)
def result(request, results):
    return results(request.param)


def of_kind(result, kind):
    return [block for block in walk(result.blocks) if isinstance(block, kind)]


def parts_of(parts):
    """The parts of a page, those inside rows too."""
    for part in parts:
        yield from parts_of(part.get("parts", ())) if "parts" in part else [part]


def says(text, value):
    """Whether a text shows a number, rounded to the digits that it shows."""
    for found in NUMBER.findall(text):
        digits = found.replace(",", "").replace("\N{MINUS SIGN}", "-").rstrip("%°")
        scale = {"%": 100.0, "°": math.degrees(1)}.get(found[-1], 1.0)
        mantissa, _, power = digits.partition("e")
        place = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
        if abs(float(digits) - value * scale) <= 0.5001 * place:
            return True
    return not math.isfinite(value)


def near(values):
    """As a browser gets numbers: four digits of them."""
    return pytest.approx(np.asarray(values, dtype=float), rel=1e-3, abs=1e-12, nan_ok=True)


def test_a_table_shows_its_numbers_rounded(result):
    for table in of_kind(result, Table):
        for cell in (cell for row in table.cells for cell in row):
            if isinstance(cell.value, float):
                assert says(cell.shown, cell.value), (cell.value, cell.shown)


def test_a_terminal_shows_every_cell_and_every_scale(result):
    text = " ".join(to_text(result.blocks, width=1000).split())
    for table in of_kind(result, Table):
        for cell in (cell for row in table.cells for cell in row):
            assert " ".join(shown(cell.shown).split()) in text
    for bars in of_kind(result, Bars):
        for value in bars.values:
            number = percent(value) if bars.unit == "%" else None
            places, signed = decimals(bars.full, 3), bars.hue == "signed"
            assert (number or fixed(value, places, signed=signed)) in text
    for lines in of_kind(result, Lines):
        for one in lines.series:
            y = [value for value in one.y if value == value]
            assert not y or f"{significant(y[0])} to {significant(y[-1])}" in text
    for block in of_kind(result, TokenStrip):
        assert significant(block.full) in text
    for block in of_kind(result, Scatter):
        points = block.points()
        for i in block.outermost():
            numbers = map(block.shown, (block.x, block.y), points[i])
            assert " ".join((block.names[i], *numbers)) in text
        assert block.mark is None or block.mark in block.outermost()
    for graph in of_kind(result, RouteGraph):
        assert all(edge.name in text for edge in graph.edges)


def test_a_browser_gets_the_same_numbers(result):
    parts = list(parts_of(json.loads(json.dumps(to_parts(result.blocks), allow_nan=False))))
    by_kind = {kind: [part for part in parts if part["kind"] == kind] for kind in ("heat", "lines")}
    tables = [part for part in parts if part["kind"] == "table"]
    for table in of_kind(result, Table):
        assert [[cell.shown for cell in row] for row in table.cells] in [
            [[cell["text"] for cell in row] for row in part["rows"]] for part in tables
        ]
    for heat, part in zip(of_kind(result, Heat), by_kind["heat"], strict=True):
        values = [[math.nan if x is None else x for x in row] for row in part["values"]]
        first = part["column_hold"][0] if part["overview"] else 0
        seen = heat.values[:, first : first + len(part["columns"])]
        assert np.array(values) == near(seen)
        assert (part["low"], part["high"]) == near(heat.bounds)
        assert part["rows"] == list(heat.rows) and part["upward"] == heat.upward
    scatters = [part for part in parts if part["kind"] == "scatter"]
    for block, part in zip(of_kind(result, Scatter), scatters, strict=True):
        for name, values in block.measures.items():
            drawn = [math.nan if x is None else x for x in part["measures"][name]]
            assert np.array(drawn) == near([math.nan if x is None else x for x in values])
    for lines, part in zip(of_kind(result, Lines), by_kind["lines"], strict=True):
        for one, drawn in zip(lines.series, part["series"], strict=True):
            y = [math.nan if y is None else y for _, y in drawn["points"]]
            assert np.array(y) == near(one.y)


def test_blue_and_orange_curves_are_of_global_and_local_layers(result):
    for lines in of_kind(result, Lines):
        kinds = [one for one in lines.series if one.hue in ("global", "local")]
        if len({one.hue for one in kinds}) > 1:
            assert all(one.hue in one.name for one in kinds)


def test_a_browser_gets_the_same_weights(result):
    found = parts_of(json.loads(json.dumps(to_parts(result.blocks), allow_nan=False)))
    maps = [part for part in found if part["kind"] == "map"]
    drawn = [weights for block in of_kind(result, AttentionMap) for weights in block.tile.weights]
    for part, weights in zip(maps, drawn, strict=True):
        sent = np.frombuffer(b64decode(part["data"]), dtype="<f4").reshape(part["shape"])
        np.testing.assert_array_equal(sent, weights)


def test_a_figure_draws_the_same_numbers(result):
    figure = result.figure()
    every = [axes for part in [figure, *figure.findobj(type(figure))] for axes in part.axes]
    images = []
    for axes in {id(one): one for one in every}.values():
        layers = [np.ma.filled(one.get_array().astype(float), np.nan) for one in axes.images]
        if layers:  # a hue's rows each
            images.append((np.nanmax(layers, axis=0) if len(layers) > 1 else layers[0], axes))
    for heat in of_kind(result, Heat):
        [axes] = [
            axes
            for image, axes in images
            if image.shape == heat.values.shape
            and np.array_equal(image, heat.values, equal_nan=True)
            and (axes.get_title(loc="left") or axes.figure.get_suptitle()).startswith(
                heat.title[:20]
            )
        ][:1]
        bottom, top = axes.get_ylim()
        assert (bottom < top) == heat.upward
    curves = [line.get_ydata() for axes in every for line in axes.lines]
    for lines in of_kind(result, Lines):
        for one in lines.series:
            assert any(np.array_equal(y, one.y, equal_nan=True) for y in curves), one.name
    patches = (patch for axes in every for patch in axes.patches if isinstance(patch, Rectangle))
    widths = [patch.get_width() for patch in patches]
    for bars in of_kind(result, Bars):
        assert all(np.isclose(widths, value).any() for value in bars.values)
    texts = {text.get_text() for axes in every for text in axes.texts}
    for graph in of_kind(result, RouteGraph):
        assert {edge.label for edge in graph.edges} <= texts
    dots = [np.asarray(one.get_offsets()) for axes in every for one in axes.collections]
    dots = {tuple(place) for some in dots for place in some.tolist()}
    for block in of_kind(result, Scatter):
        assert set(block.points().values()) <= dots
    for block in of_kind(result, AttentionMap):
        for weights in block.tile.weights:
            drawn = (np.nan_to_num(image) for image, _ in images)
            assert any(np.array_equal(image, weights.astype(float)) for image in drawn)
    drawable = of_kind(
        result, (Heat, Lines, Bars, TokenStrip, Scatter, AttentionMap, Arcs, ModelView)
    )
    if not drawable:
        for table in of_kind(result, Table):
            assert {cell.shown for row in table.cells for cell in row if cell.bar} <= texts


def test_a_column_of_a_paper_holds_the_picture(result):
    figure = result.figure(style="paper", width="3.3in")
    FigureCanvasAgg(figure).draw()
    assert figure.get_figwidth() == pytest.approx(3.3)
    edge = figure.bbox
    for text, box in visible_texts(figure):
        assert text.get_fontsize() >= 6, text
        assert edge.x0 - 2 <= box.x0 and box.x1 <= edge.x1 + 2, text
        assert edge.y0 - 2 <= box.y0 and box.y1 <= edge.y1 + 2, text
    assert list(overlapping(figure)) == []


@pytest.mark.parametrize("name", REGISTRY)
def test_json_keys_are_promised(results, name):
    """A key that goes breaks programs: see tests/public.py and CONTRIBUTING.md."""
    there = public.json_keys(results((name, BASE.get(name, {}))))
    assert set(public.promised()["json"].get(name, ())) <= set(there)


def leaves(value):
    """Every number in JSON."""
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return {number for one in inside for number in leaves(one)}
    return {value} if isinstance(value, float) else set()


def find_key(value, name):
    """The value of a key, wherever it is in JSON."""
    if isinstance(value, dict) and name in value:
        return value[name]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for one in inside if (found := find_key(one, name)) is not None), None)


def test_files_hold_the_same_numbers(result):
    found = json.loads(result.content("json"))
    assert found == json.loads(json.dumps(result.to_json()))
    if "npz" in result.formats:
        for name, array in np.load(io.BytesIO(result.content("npz"))).items():
            listed = find_key(found, name)
            if array.dtype.kind == "f" and isinstance(listed, list):
                whole = np.array(listed, dtype=float)
                assert np.array_equal(whole, array.astype(float), equal_nan=True), name
    if "csv" not in result.formats:
        return
    header, *rows = csv.reader(io.StringIO(result.content("csv").decode()))
    table = result.table
    assert header == [*table.columns, *table.extra] and len(rows) == len(table.rows)
    for cells, row in zip(table.cells, rows, strict=True):
        for cell, written in zip(cells, row, strict=False):
            numeric = isinstance(cell.value, int | float) and not isinstance(cell.value, bool)
            expected = cell.value if numeric else "" if cell.value is None else str(cell.value)
            assert (float(written) if numeric else written) == pytest.approx(expected, nan_ok=True)
    numbers = [
        [c.value for c in col if isinstance(c.value, float)]
        for col in zip(*table.cells, strict=True)
    ]
    known = leaves(found)
    columns = [column for column in numbers if column]
    # Means and the like are in the table alone; what the analysis found is in both.
    assert not columns or any(set(column) <= known for column in columns)


def test_a_page_by_itself_holds_what_the_browser_gets(result):
    page = result.html()
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1]) == json.loads(json.dumps(to_parts(result.blocks)))
    assert "Made by" in page and not re.search(r"(src|href)=.https?:", page)


def test_its_command_gives_the_same_answer(result):
    program, *arguments = shlex.split(result.command)
    done = run_cli(*arguments, "--json")
    assert (program, done.code) == ("mbexplore", 0), done.err
    assert roughly(json.loads(done.out)) == roughly(json.loads(result.content("json")))


def roughly(value):
    """Numbers to five digits: what is recorded together may round otherwise."""
    if isinstance(value, dict):
        return {key: roughly(one) for key, one in value.items()}
    if isinstance(value, list):
        return [roughly(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def test_the_blocks_begin_with_an_answer(result):
    assert result.headline and result.headline[-1] in ".!?" and "\n" not in result.headline
    assert type(result.blocks[0]).__name__ == "Headline"


def test_a_head_that_a_cell_names_is_selected_by_a_click(result):
    """The page offers what cells select in the corpus, so none may only be written."""
    tables = [*of_kind(result, Table), *(bars.table for bars in of_kind(result, Bars))]
    for table in tables:
        for row in table.cells:
            for column, cell in zip(table.columns, row, strict=True):
                is_head = isinstance(cell.value, str) and re.fullmatch(r"\d+\.\d+", cell.value)
                if is_head and column != "neuron":
                    assert {"layer", "head"} <= set(cell.select or ()), (table.title, cell)


def test_every_format_is_made_and_others_are_refused(result):
    starts = {"html": b"<!doctype html>", "json": b"{", "npz": b"PK"}
    for ending in result.formats:
        if ending not in PICTURES:  # slow, and what `figure` gives
            assert result.content(ending).startswith(starts.get(ending, b""))
    for ending in {*FORMATS, "docx"} - {*result.formats}:
        with pytest.raises(OutputError, match=f"can't be saved as .{ending}"):
            result.content(ending)


def test_a_picture_is_what_its_ending_says(results):
    result = results(("token-neurons", {}))
    for ending, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert result.content(ending).startswith(start)


def test_methods_of_the_explorer_itself_go_before_those_of_views():
    taken = {name for name, view in REGISTRY.items() if view.method in vars(Explorer)}
    assert taken <= {"predict", "compare"}  # predictions alone, and beside transformers


@pytest.mark.parametrize("name", REGISTRY)
def test_a_view_is_a_method_with_its_parameters(explorer, name):
    view = REGISTRY[name]
    method = Explorer.methods[view.method].__get__(explorer)
    names = list(inspect.signature(method).parameters)
    assert {one.name for one in view.parameters} <= set(names)
    if view.method not in vars(Explorer):
        assert inspect.signature(getattr(explorer, view.method)) == inspect.signature(method)
    assert view.question in method.__doc__
    assert all(one.option.help in method.__doc__ for one in view.parameters)


def test_editors_see_every_view():
    assert typed.FILE.read_text(encoding="utf-8") == typed.source(), "run python -m tests.typed"


@pytest.mark.parametrize("name", REGISTRY)
def test_a_view_is_a_command_with_its_options(name):
    view = REGISTRY[name]
    command = typer.main.get_command(app)
    for part in view.command.split():
        command = command.commands[part]
    flags = {flag for one in command.params for flag in one.opts}
    assert {one.flag for one in view.parameters if not one.option.positional} <= flags
    assert view.question in command.help and view.question[-1] in ".?"
    assert all(one.option.help for one in view.parameters)


def test_every_view_has_a_tab_with_its_controls(explorer):
    from mbexplore_ui.component import describe

    tabs = {tab["name"]: tab for tab in describe({"tiny": explorer})["views"]}
    for name, view in REGISTRY.items():
        if view.needs_file():  # of the server's, which the page must not read
            assert name not in tabs
            continue
        controls = {control["name"] for control in tabs[name]["controls"]}
        assert {one.name for one in view.parameters if not one.option.local} == controls - {
            "first",
            "others",
        }
        assert (tabs[name]["title"], tabs[name]["about"]) == (view.title, view.question)
