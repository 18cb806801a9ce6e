"""Attention and the model view in every form, on a small random model, against its weights."""

import csv
import io
import json
import re
import shlex
import struct
import warnings
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.links import arcs
from mbexplore.analysis.maps import THUMBNAIL, layer_map
from mbexplore.analysis.tile import tile
from mbexplore.checkpoints.model import save_model
from mbexplore.display.arcs_figure import CROWDED
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.blocks import Table
from mbexplore.display.data import walk
from mbexplore.display.figure import build_figure
from mbexplore.errors import OutputError
from mbexplore.explorer import Explorer, load
from mbexplore.session import Session
from mbexplore.views import REGISTRY
from mbexplore.views._attention import Attention
from mbexplore.views.attention import AttentionView
from mbexplore.views.model_view import ModelMapsView
from tests.cli_runner import run_cli
from tests.handbuilt import build_random, build_tokenizer

TEXT = "a b c [MASK] d e f a a b"
GLOBAL, LOCAL = 0, 1
VIEWS = {
    "a layer": AttentionView(layer=GLOBAL),
    "words of a part": AttentionView(
        layer=LOCAL, head=1, words=True, special=False, tokens="1:9", top=3
    ),
    "a query": AttentionView(layer=LOCAL, mean=True, token=4),
    "a rectangle": AttentionView(layer=GLOBAL, queries="2:9", keys="0:4"),
    "a band": AttentionView(layer=LOCAL, picture="band"),
    "a part of a band": AttentionView(layer=LOCAL, picture="band", head=1, queries="2:6"),
    "arcs": AttentionView(layer=GLOBAL, picture="arcs"),
    "arcs of a query": AttentionView(layer=LOCAL, picture="arcs", token=4, mass=0.9),
    "mean arcs": AttentionView(layer=GLOBAL, picture="arcs", mean=True),
    "every head": ModelMapsView(),
    "every mean": ModelMapsView(mean=True, words=True, special=False),
}


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "one"
    save_model(folder, build_random())
    build_tokenizer()._inner.save(str(folder / "tokenizer.json"))
    return load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def session(explorer):
    return Session(explorer, TEXT)


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT)


def run(explorer, *arguments):
    return run_cli("attention", TEXT, "-m", explorer.files.folder, *arguments)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_the_command_makes_the_same_answer_and_every_form_is_made(session, view):
    result = view.of(session)
    _, *arguments = shlex.split(result.command)
    assert json.loads(run_cli(*arguments, "--json").out) == json.loads(result.content("json"))
    for ending in result.formats:
        assert result.content(ending)
    rows = list(csv.reader(io.StringIO(result.content("csv").decode())))
    assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def test_a_mean_of_heads_names_no_head(session):
    result = VIEWS["a query"].of(session)
    assert "head" not in result.content("csv").decode().splitlines()[0].split(",")
    [links] = [one for one in walk(result.blocks) if isinstance(one, Table)]
    assert links.columns == ("query", "key", "offset", "weight")


def read(view, session):
    return np.load(io.BytesIO(view.of(session).content("npz")))


def test_files_hold_every_weight(session, recording):
    dense = recording.attention(GLOBAL).numpy()
    np.testing.assert_allclose(read(AttentionView(layer=GLOBAL), session)["weights"], dense)
    saved = read(AttentionView(layer=LOCAL, mean=True), session)
    band = recording.attention_band(LOCAL).mean(0, keepdim=True)
    np.testing.assert_allclose(saved["band"], band, atol=1e-7)
    assert saved["offsets"].tolist() == [-2, -1, 0, 1, 2]
    saved = read(VIEWS["words of a part"], session)
    zoom = build_axis(recording.encoding, (1, 9), words=True, hide_special=True)
    np.testing.assert_allclose(saved["weights"], layer_map(recording, LOCAL, 1, axis=zoom).weights)
    assert saved["queries"].tolist() == [list(span) for span in zoom.spans]
    saved = read(VIEWS["a rectangle"], session)
    np.testing.assert_allclose(saved["weights"], dense[:, 2:9, :4], atol=1e-7)
    saved = read(ModelMapsView(), session)
    for layer, weights in enumerate(saved["weights"]):
        np.testing.assert_allclose(weights, recording.attention(layer), atol=1e-7)
    assert saved["kinds"].tolist() == ["global", "local", "local"]
    saved = read(AttentionView(layer=LOCAL, picture="band"), session)
    np.testing.assert_allclose(saved["band"], recording.attention_band(LOCAL), atol=1e-7)
    saved = read(AttentionView(layer=GLOBAL, picture="arcs", token=3), session)
    found = dense[saved["head"], saved["query"], saved["key"]]
    np.testing.assert_allclose(saved["weight"], found, atol=1e-7)


@pytest.mark.parametrize("layer", [GLOBAL, LOCAL])
def test_json_and_csv_hold_the_map(session, recording, layer):
    dense = recording.attention(layer).numpy()
    result = AttentionView(layer=layer).of(session)
    plain = json.loads(result.content("json"))
    np.testing.assert_allclose(plain["weights"], dense, atol=1e-7)
    assert plain["pool"] == [1, 1]
    tokens = recording.encoding.tokens
    rows = list(csv.DictReader(io.StringIO(result.content("csv").decode())))
    read_back = np.zeros_like(dense)
    for row in rows:
        head, query, key = (int(row[name]) for name in ("head", "query", "key"))
        assert (row["query_token"], row["key_token"]) == (tokens[query], tokens[key])
        read_back[head, query, key] = float(row["weight"])
    np.testing.assert_allclose(read_back, dense, atol=1e-7)
    assert layer == GLOBAL or len(rows) == np.count_nonzero(dense)  # none outside the window


@pytest.fixture(scope="module")
def long():
    return Session(load("tiny", device="cpu"), "a b c d " * 150)


def test_a_long_text_is_pooled_but_for_files_of_numbers(long):
    session = long
    result = AttentionView(layer=GLOBAL, head=0, token=400).of(session)
    dense = session.recording("attention").attention(GLOBAL, 0).numpy()
    plain = json.loads(result.content("json"))
    assert plain["pool"] == [2, 2] and np.shape(plain["weights"]) == (1, 302, 302)
    assert plain["weights"][0][5][7] == pytest.approx(float(dense[0, 10:12, 14:16].max()), abs=1e-6)
    np.testing.assert_allclose(read(result.view, session)["weights"], dense, atol=1e-6)
    best = plain["links"][0]
    assert (
        best["weight"] == pytest.approx(float(dense[0, 400].max()), abs=1e-6)
        and best["query"] == 400
    )


# ---- what is computed, and how often


@pytest.fixture
def calls(monkeypatch):
    """How often weights are derived from queries and keys."""
    import mbexplore.recording as module

    made = []
    for name in ("attention_weights", "attention_band"):
        whole = getattr(module, name)

        def counted(*args, _whole=whole, **rest):
            made.append(args)
            return _whole(*args, **rest)

        monkeypatch.setattr(module, name, counted)
    return made


COMMANDS = {
    "a table": [],
    "json": ["--json"],
    "a query": ["--token", "c"],
    "csv": ["-o", "map.csv"],
    "a picture": ["-o", "map.png"],
    "a page": ["--head", "1", "-o", "map.html"],
    "arrays": ["-o", "map.npz"],
    "a band": ["--layer", "1", "--head", "1", "--picture", "band", "-o", "map.html"],
    "arcs": ["--picture", "arcs", "-o", "map.svg"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_command_computes_its_map_once(explorer, arguments, calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(explorer, *arguments).code == 0
    assert len(calls) == 1


@pytest.mark.parametrize("picture", ["map", "band", "arcs"])
def test_a_click_computes_its_map_once_and_only_if_it_was_not_seen(explorer, picture, calls):
    from mbexplore_ui.controls import arguments_of
    from mbexplore_ui.endpoints import Endpoints
    from mbexplore_ui.sessions import Sessions

    endpoints = Endpoints(Sessions({"one": explorer}))

    def count(name="attention", **given):
        before = len(calls)
        values = [given.get(one.name, one.default) for one in arguments_of(REGISTRY[name])]
        assert "error" not in endpoints.call(name, "me", "one", TEXT, *values)
        return len(calls) - before

    layer = {"layer": LOCAL, "picture": picture}
    assert count("model-view") == 3  # a map of each layer
    assert count("model-view") == 0
    assert count(**layer, head=0) == 1
    assert count(**layer, head=1) == 1  # the pointer over another head
    assert count(**layer, head=1) == 0  # a click on it
    assert count(**layer, head=1, token=3) == 0  # a click on a row


def test_a_row_of_a_pooled_map_is_the_only_thing_computed_anew(long, calls):
    session = Session(long.explorer, long.encoding, recording=long.recording("attention"))
    assert AttentionView(head=0).of(session).data.tile.pool == (2, 2)
    blocks = len(calls)
    assert AttentionView(head=0, token=400).of(session).data.links[0].query == 400
    assert len(calls) == blocks + 1
    assert blocks == 3  # 603 rows, 256 at a time


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        (["attention", "--layer", "2"], {2}),
        (["attention", "--layer", "2", "--picture", "arcs"], {2}),
        (["attention", "--layer", "1", "--picture", "band"], {1}),
        (["model-view"], {0, 1, 2}),
    ],
)
def test_no_more_layers_are_recorded_than_are_shown(explorer, arguments, layers, monkeypatch):
    kept, record = [], Explorer.record

    def spy(self, *rest, **settings):
        kept.append(record(self, *rest, **settings))
        return kept[-1]

    monkeypatch.setattr(Explorer, "record", spy)
    name, *rest = arguments
    assert run_cli(name, TEXT, "-m", explorer.files.folder, *rest).code == 0
    [recording] = kept
    assert {int(name.split(".")[1]) for name in recording.values if "." in name} == layers


# ---- mistakes


BAD = {
    "no such layer": (["--layer", "3"], 1, "There is no layer 3; choose 0 to 2."),
    "no such head": (["--head", "7"], 1, "There is no head 7; choose 0 to 1."),
    "no such picture": (["--picture", "pie"], 2, "is 'pie'; choose map, band, arcs."),
    "mean of one": (["--mean", "--head", "1"], 2, "head 1 has no effect"),
    "a band of words": (["--layer", "1", "--picture", "band", "--words"], 2, "no effect"),
    "a global band": (["--picture", "band"], 1, "Layer 0 is global and has no band"),
    "no range": (["--tokens", "5"], 1, "'5' is no token range; write A:B"),
    "a range outside": (["--tokens", "5:99"], 1, "5:99 is empty or outside the text; "
                        "choose tokens of 0 to 11"),
    "an empty range": (["--tokens", "5:5"], 1, "5:5 is empty"),
    "both cuts": (["--tokens", "1:5", "--keys", "0:3"], 2, "cuts both sides of a map"),
    "only special": (["--tokens", "0:1", "--no-special"], 1, "special ones only"),
    "no such word": (["--token", "zebra"], 1, "no token or word 'zebra'; the nearest is"),
    "a hidden query": (["--token", "0", "--no-special"], 1, "Token 0 is not among those shown"),
    "a query cut off": (["--token", "9", "--tokens", "0:4"], 1, "Token 9 is not among those"),
    "the mass of a map": (["--mass", "0.9"], 2, "mass 0.9 has no effect without picture arcs"),
    "too much mass": (["--picture", "arcs", "--mass", "2"], 1, "mass is 2.0; choose 0.01 to 1.0"),
    "a format": (["-o", "map.gif"], 1, "map.gif ends in '.gif'; choose one of .png"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "sentence"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_sentence(explorer, arguments, code, sentence, calls):
    result = run(explorer, *arguments)
    assert sentence in result.err
    assert (result.code, result.out, calls) == (code, "", [])
    assert len(result.err.strip().splitlines()) == 1


def test_what_a_file_can_not_hold_is_refused_with_its_size(recording):
    encoding = replace(
        recording.encoding, ids=(1,) * 8192, tokens=(" a",) * 8192, words=(0,) * 8192
    )
    axis = build_axis(encoding)
    twelve = tile(recording, GLOBAL, None, *[build_axis(recording.encoding)] * 2, 5)
    twelve = replace(twelve, queries=axis, keys=axis, weights=twelve.weights[[0, 1] * 6])
    found = Attention(recording, 0, "global", 1e4, None, tuple(range(12)), False, None, twelve)
    with pytest.raises(OutputError) as refused:
        found.dense()
    sentence = str(refused.value)
    assert "12 maps of 8,192 x 8,192 tokens would take 3.0 GiB" in sentence
    assert "one head or a part of the text" in sentence
    with pytest.raises(OutputError, match="A table of 805,306,368 weights"):
        found.table()


# ---- pictures


def drawn_pixels(figure):
    """Dots of every picture in a figure at 150 to the inch, and the picture's own size."""
    figure.set_dpi(150)
    FigureCanvasAgg(figure).draw()
    for axes in figure.get_axes():
        for image in axes.get_images():
            box = image.get_window_extent()
            yield (box.height, box.width), image.get_array().shape[:2]


def tile_of(recording, layer, head=None):
    axis = build_axis(recording.encoding)
    return tile(recording, layer, head, axis, axis, 512)


@pytest.mark.parametrize("heads", [1, 2, 12])
def test_no_pixel_is_lost_in_drawing(explorer, heads):
    """Where a picture had more pixels than dots, a spike could fall between two dots."""
    recording = explorer.record("a b c d " * 15, keep=("attention",))
    found = tile_of(recording, LOCAL)
    found = replace(found, heads=tuple(range(heads)), weights=found.weights[([0, 1] * 6)[:heads]])
    sizes = list(drawn_pixels(build_figure([AttentionMap(found, found.names)])))
    sizes = [dots for dots, size in sizes if size == (62, 62)]
    assert len(sizes) == heads
    assert min(min(dots) for dots in sizes) >= (512 if heads == 1 else 256)
    maps = layer_map(recording, LOCAL, pixels=THUMBNAIL)
    maps = replace(maps, heads=tuple(range(heads)), weights=maps.weights[([0, 1] * 6)[:heads]])
    view = ModelView(tuple(replace(maps, layer=layer) for layer in range(6)))
    sizes = [dots for dots, size in drawn_pixels(build_figure([view])) if size == (62, 62)]
    assert len(sizes) == 6 * heads and min(min(dots) for dots in sizes) >= THUMBNAIL


def test_layers_run_upward_and_every_map_says_its_largest(session, recording):
    figure = ModelMapsView().of(session).figure()
    FigureCanvasAgg(figure).draw()
    [axes] = [each for each in figure.get_axes() if each.get_images()]
    heights = {label.get_text(): label.get_window_extent().y0 for label in axes.get_yticklabels()}
    assert heights["2 local"] > heights["1 local"] > heights["0 global"]
    written = [text.get_text() for text in axes.texts]
    for layer in range(3):
        for weights in recording.attention(layer):
            assert f"{float(weights.max()):.2f}" in written


SCRIPTS = {
    "Japanese and formulas": "\N{HIRAGANA LETTER A}\N{CJK UNIFIED IDEOGRAPH-6C34} $x_1$",
    "Arabic and escapes": "\N{ARABIC LETTER BEH}\N{ARABIC LETTER AIN} \x1b[31m",
    "emoji": "\N{PARTY POPPER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{WOMAN}",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_any_script_is_drawn_without_a_warning(text):
    session = Session(load("tiny", device="cpu"), text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in (
            AttentionView(layer=1, head=0, picture="band"),
            AttentionView(layer=0, head=0, picture="arcs", token=1),
            AttentionView(layer=0, head=0),
        ):
            png = view.of(session).content("png")
            assert struct.unpack(">II", png[16:24])[0] > 300


def lines_of(figure):
    """For each panel the opacity, width and ends of its arcs, the last on top."""
    for axes in figure.axes:
        for drawn in axes.collections:
            assert isinstance(drawn, LineCollection)
            ends = np.array([path.vertices[[0, -1], 0] for path in drawn.get_paths()])
            yield axes, drawn.get_colors()[:, 3], np.array(drawn.get_linewidths()), ends


def test_few_arcs_are_drawn_as_they_are_and_a_thicket_fades(explorer, monkeypatch):
    recording = explorer.record("a b c d e f g h " * 7, keep=("attention",))
    with monkeypatch.context() as patched:
        patched.setattr("mbexplore.analysis.links.MOST_ARCS", 3)
        few = arcs(recording, GLOBAL)
    for _, opacity, _, _ in lines_of(build_figure([Arcs(few)])):
        assert len(opacity) == 3 and opacity.min() >= 0.12
    thicket = arcs(recording, GLOBAL, mass=0.9)
    found = list(lines_of(build_figure([Arcs(thicket)])))
    assert len(found) == len(thicket.heads)
    for head, (axes, opacity, widths, ends) in enumerate(found):
        inches = float(np.clip(0.26 * len(thicket.axis) + 1.0, 6.0, 14.0))
        per_token = inches / np.ptp(axes.get_xlim())
        ink = widths / 72 * np.abs(np.diff(ends, axis=1)[:, 0]) * per_token
        assert float(opacity @ ink) <= 1.05 * CROWDED * inches * 1.8
        assert (np.diff(opacity) >= 0).all()  # the strongest on top and as dark as ever
        strongest = max(link.weight for link in thicket.links if link.head == head)
        most = max(link.weight for link in thicket.links)
        assert opacity[-1] == pytest.approx(0.12 + 0.88 * (strongest / most) ** 0.75, rel=1e-3)


def test_arcs_lead_from_query_to_key(session, recording):
    found = arcs(recording, GLOBAL, 1, mass=0.2)
    [(_, _, _, ends)] = lines_of(build_figure([Arcs(found)]))
    drawn = {tuple(pair) for pair in ends.round().astype(int).tolist()}
    assert drawn == {(link.query, link.key) for link in found.links}
    [(_, _, _, ends)] = lines_of(build_figure([Arcs(found, mark=3)]))
    drawn = {tuple(pair) for pair in ends.round().astype(int).tolist()}
    assert drawn == {(link.query, link.key) for link in found.links if link.query == 3} != set()


# ---- terminals


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


PICTURED = {
    "a layer": ["attention", "-l", "1"],
    "every head": ["model-view"],
    "a band": ["attention", "-l", "1", "--picture", "band"],
    "the mean of a part": ["attention", "-l", "0", "--queries", "2:9"],
}


@pytest.mark.parametrize("arguments", PICTURED.values(), ids=PICTURED)
def test_a_map_is_printed_on_a_terminal_alone(explorer, arguments, request):
    name, *rest = arguments

    def printed(*more):
        return run_cli(name, TEXT, "-m", explorer.files.folder, *rest, *more).out

    assert "square-root" not in printed()  # what colours mean
    terminal = request.getfixturevalue("terminal")
    assert re.search("\x1b\\[[0-9;]*48;5;", printed())  # a ground in colour
    assert "\x1b" not in printed("--json")
    terminal.setenv("NO_COLOR", "1")
    plain = printed()
    assert "\N{UPPER HALF BLOCK}" not in plain and "\N{BLACK SQUARE}" not in plain
    assert "\N{FULL BLOCK}\N{FULL BLOCK}" in plain or "\N{DARK SHADE}" in plain
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in plain.splitlines()]
    assert max(map(len, lines)) <= 90


@pytest.mark.parametrize("layer", [GLOBAL, LOCAL])
def test_a_small_map_is_printed_as_numbers(explorer, recording, layer, terminal):
    out = run(explorer, "-l", str(layer), "--head", "1", "--token", "5").out
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in out.splitlines()]
    [line] = [line for line in lines if line.startswith("d 5") and "\u25b8" in line]
    numbers = line.partition("\u25b8")[2].split()
    weights = recording.attention(layer, 1)[0, 5].tolist()
    for text, weight in zip(numbers, weights, strict=True):
        assert (
            weight == 0
            if text == "\N{MIDDLE DOT}"
            else float(text) == pytest.approx(weight, abs=0.006)
        )
    assert any("square-root colour scale" in line for line in lines)


@pytest.mark.parametrize("picture", ["map", "arcs"])
def test_links_of_a_query_are_its_weights(session, recording, picture):
    mass = {"mass": 1.0} if picture == "arcs" else {}
    result = AttentionView(layer=GLOBAL, picture=picture, token="c", top=30, **mass).of(session)
    links = json.loads(result.content("json"))["links"]
    links = [link for link in links if link["query"] == 3]
    dense = recording.attention(GLOBAL)[:, 3]
    expected = sorted(dense.flatten().tolist(), reverse=True)
    assert [link["weight"] for link in links] == pytest.approx(expected)
    for link in links:
        assert float(dense[link["head"], link["key"]]) == pytest.approx(link["weight"])
