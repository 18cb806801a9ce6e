"""Every form of every attention view: commands, files, refusals; on a small random model."""

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
from matplotlib.figure import Figure
from mbexplore.cli.attention_wish import SHARE
from mbexplore.plots.attention import picture_pixels, plot_layer_maps
from mbexplore.plots.model_view import plot_model_view
from mbexplore.views.attention_arcs import view_arcs
from mbexplore.views.attention_band import view_band
from mbexplore.views.attention_checks import check_dense

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.band import PIXELS
from mbexplore.analysis.links import MASS
from mbexplore.analysis.maps import THUMBNAIL, layer_map, model_maps
from mbexplore.analysis.token_spans import find_token_position
from mbexplore.display.half_blocks import SHADES
from mbexplore.display.palette import showing_root
from mbexplore.errors import OutputError, RangeError
from mbexplore.explorer import Explorer, load
from mbexplore.network.config import ModernBertConfig
from mbexplore.views.attention import view_map, view_model
from tests.cli_runner import run_cli
from tests.handbuilt import build_random, build_tokenizer

TEXT = "a b c [MASK] d e f a a b"
GLOBAL, LOCAL = 0, 1
BAR = "\u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"
"""From an eighth of a cell to a whole one."""
ROW = (
    rf"\s*(?P<head>\d)\s+c 3\s+\S+ (?P<key>\d+)\s+\S+\s+(?P<weight>[\d.]+)\s*(?P<bar>[{BAR}]*)\s*$"
)
FORMATS = ("png", "svg", "pdf", "html", "json", "npz", "csv")


@pytest.fixture(scope="module")
def explorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "one"
    build_random().save_pretrained(folder)
    build_tokenizer()._inner.save(str(folder / "tokenizer.json"))
    return load(str(folder), device="cpu")


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=("attention",))


@pytest.fixture(scope="module")
def zoom(recording):
    return build_axis(recording.encoding, (1, 9), words=True, hide_special=True)


def all_views(explorer, recording, zoom):
    part = build_axis(recording.encoding, (0, 8), hide_special=True)
    yield view_map(explorer, recording, GLOBAL)
    yield view_map(explorer, recording, LOCAL, 1, axis=zoom, links=3)
    yield view_map(explorer, recording, LOCAL, axis=zoom, mean=True, query=4)
    yield view_model(explorer, recording, model_maps(recording))
    yield view_model(explorer, recording, model_maps(recording, 1, axis=zoom))
    yield view_model(explorer, recording, model_maps(recording, mean=True))
    yield view_band(explorer, recording, LOCAL)
    yield view_band(explorer, recording, LOCAL, 1, axis=part)
    yield view_band(explorer, recording, LOCAL, mean=True)
    yield view_arcs(explorer, recording, GLOBAL)
    yield view_arcs(explorer, recording, LOCAL, query=4, axis=zoom, mass=0.5)
    yield view_arcs(explorer, recording, GLOBAL, 0, query=0)
    yield view_arcs(explorer, recording, GLOBAL, mean=True)


def test_every_command_makes_the_same_answer(explorer, recording, zoom):
    for view in all_views(explorer, recording, zoom):
        _, *arguments = shlex.split(view.command_line)
        answer = json.loads(run_cli(*arguments, "--json").out)
        assert answer == json.loads(view.content("json")), view.command_line


def test_every_view_has_every_form(explorer, recording, zoom):
    for view in all_views(explorer, recording, zoom):
        assert view.formats == FORMATS
        assert isinstance(view.draw(), Figure)
        assert b"mountAttention" in view.content("html") or "arcs" in view.name
        rows = list(csv.reader(io.StringIO(view.content("csv").decode())))
        assert len(rows) > 1 and len({len(row) for row in rows}) == 1


def read(view):
    return np.load(io.BytesIO(view.content("npz")))


def test_files_hold_every_weight(explorer, recording, zoom):
    dense = recording.attention(GLOBAL).numpy()
    np.testing.assert_allclose(read(view_map(explorer, recording, GLOBAL))["weights"], dense)
    saved = read(view_map(explorer, recording, LOCAL, mean=True))
    band = recording.attention_band(LOCAL).mean(0, keepdim=True)
    np.testing.assert_allclose(saved["band"], band, atol=1e-7)
    assert saved["offsets"].tolist() == [-2, -1, 0, 1, 2]
    saved = read(view_map(explorer, recording, LOCAL, axis=zoom))
    np.testing.assert_allclose(saved["weights"], layer_map(recording, LOCAL, axis=zoom).weights)
    assert saved["spans"].tolist() == [list(span) for span in zoom.spans]
    saved = read(view_model(explorer, recording, model_maps(recording)))
    for layer, weights in enumerate(saved["weights"]):
        np.testing.assert_allclose(weights, recording.attention(layer), atol=1e-7)
    assert saved["kinds"].tolist() == ["global", "local", "local"]
    saved = read(view_band(explorer, recording, LOCAL))
    np.testing.assert_allclose(saved["band"], recording.attention_band(LOCAL), atol=1e-7)
    saved = read(view_arcs(explorer, recording, GLOBAL, query=3))
    np.testing.assert_allclose(saved["rows"], dense[:, 3], atol=1e-7)
    found = dense[saved["head"], saved["query"], saved["key"]]
    np.testing.assert_allclose(saved["weight"], found, atol=1e-7)


def test_a_table_names_tokens_by_their_place_in_the_text(explorer, recording, zoom):
    view = view_map(explorer, recording, GLOBAL, 0, axis=zoom, links=4)
    rows = list(csv.DictReader(io.StringIO(view.content("csv").decode())))
    tokens = recording.encoding.tokens
    dense = recording.attention(GLOBAL, 0)[0]
    for row in rows:
        query, key = int(row["query"]), int(row["key"])
        assert (row["query_token"], row["key_token"]) == (tokens[query], tokens[key])
        assert float(row["weight"]) == pytest.approx(float(dense[query, key]))


def test_arcs_carry_as_much_here_as_anywhere():
    assert SHARE == MASS  # told twice, for the command line starts without torch


def run(explorer, *arguments):
    return run_cli("attention", TEXT, "-m", explorer.files.folder, *arguments)


BAD = {
    "a word": (["--layer", "x"], 2, "--layer 'x' is no layer; give a number from 0, or all."),
    "no such layer": (["--layer", "3"], 1, "There is no layer 3; choose 0 to 2."),
    "no such head": (["--layer", "all", "--head", "7"], 1, "There is no head 7; choose 0 to 1."),
    "no such view": (["--view", "pie"], 2, "no view 'pie'; choose map, band, arcs."),
    "all bands": (["--layer", "all", "--view", "band"], 2, "leave out --view, or name one layer"),
    "all of a query": (["--layer", "all", "--query", "a"], 2, "leave out --query, or name one"),
    "mean of one": (["--mean", "--head", "1"], 2, "--head 1 is one of them; give one of the two"),
    "a band of words": (["--layer", "1", "--view", "band", "--words"], 2, "counts in tokens"),
    "a band of a query": (["-l", "1", "--view", "band", "--query", "a"], 2, "ask for --view arcs"),
    "a global band": (["--view", "band"], 1, "Layer 0 is global and has no band"),
    "no range": (["--tokens", "5"], 1, "'5' is no token range; write A:B"),
    "a range outside": (["--tokens", "5:99"], 1, "5:99 is empty or outside the text; it has "
                        "tokens 0 to 11"),
    "an empty range": (["--tokens", "5:5"], 1, "5:5 is empty"),
    "only special": (["--tokens", "0:1", "--hide-special"], 1, "special ones only"),
    "no such word": (["--query", "zebra"], 1, "no token or word 'zebra'; the nearest is"),
    "a hidden query": (["--query", "0", "--hide-special"], 1, "Token 0 is not among those shown"),
    "a query cut off": (["--query", "9", "--tokens", "0:4"], 1, "Token 9 is not among those"),
    "the mass of a map": (["--mass", "0.9"], 2, "--mass is the share of a row that its arcs"),
    "the links of a band": (["-l", "4", "--view", "band", "--top", "5"], 2, "--top counts links"),
    "too much mass": (["--view", "arcs", "--mass", "2"], 1, "The mass is 2; choose more than 0"),
    "a format": (["-o", "map.gif"], 1, "map.gif ends in '.gif'; choose one of .png"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "sentence"), BAD.values(), ids=BAD)
def test_mistakes_are_told_before_the_model_runs(explorer, arguments, code, sentence, monkeypatch):
    monkeypatch.setattr(Explorer, "record", None)
    result = run(explorer, *arguments)
    assert sentence in result.err
    assert (result.code, result.out) == (code, "")
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "layers"),
    [
        (["--layer", "2"], {0, 2}),  # and the nearest of the other kind, for contrast
        (["--layer", "2", "--view", "arcs"], {2}),
        (["--layer", "1", "--view", "band"], {1}),
        (["--layer", "all"], {0, 1, 2}),
    ],
)
def test_no_more_layers_are_recorded_than_are_shown(explorer, arguments, layers, monkeypatch):
    kept, record = [], Explorer.record

    def spy(self, *rest, **wishes):
        kept.append(record(self, *rest, **wishes))
        return kept[-1]

    monkeypatch.setattr(Explorer, "record", spy)
    assert run(explorer, *arguments).code == 0
    [recording] = kept
    assert {int(name.split(".")[1]) for name in recording.values} == layers


def base_config():
    """The published base model's dimensions."""
    kinds = tuple("global" if i % 3 == 0 else "local" for i in range(22))
    return ModernBertConfig(
        vocab_size=50368, hidden_size=768, intermediate_size=1152, num_hidden_layers=22,
        num_attention_heads=12, layer_kinds=kinds, local_attention=128,
        global_rope_theta=160000.0, local_rope_theta=10000.0,
    )  # fmt: skip


def test_a_map_too_large_for_a_file_is_refused_with_its_size(recording):
    config = base_config()
    encoding = replace(
        recording.encoding, ids=(1,) * 8192, tokens=(" a",) * 8192, words=(0,) * 8192
    )
    whole, part = build_axis(encoding), build_axis(encoding, (0, 1024))
    with pytest.raises(OutputError) as refused:
        check_dense(config, 0, None, whole, False)
    sentence = str(refused.value)
    assert "12 maps of 8,192 x 8,192 tokens would take 3.0 GiB as .npz" in sentence
    for remedy in ("0.2 GiB with --head 0", "--tokens 0:1024", ".png"):
        assert remedy in sentence
    check_dense(config, 0, 3, whole, False)
    check_dense(config, 0, None, whole, True)
    check_dense(config, 0, None, part, False)
    check_dense(config, 1, None, whole, False)  # a band


def test_a_view_refuses_what_it_can_not_hold(explorer, recording):
    view = view_map(explorer, recording, GLOBAL)
    with pytest.raises(OutputError, match=r"attention-layer0 can't be saved as .gif"):
        view.content("gif")
    with pytest.raises(RangeError, match="no layer 9"):
        view_map(explorer, recording, 9)


def drawn_pixels(figure):
    """Dots of every picture in a figure at 150 to the inch, and the picture's own size."""
    figure.set_dpi(150)
    FigureCanvasAgg(figure).draw()
    for axes in figure.get_axes():
        for image in axes.get_images():
            box = image.get_window_extent()
            yield (box.height, box.width), image.get_array().shape[:2]


@pytest.mark.parametrize("form", ["map", "head", "all", "band"])
def test_no_pixel_is_lost_in_drawing(explorer, form):
    """Where a picture had more pixels than dots, a spike could fall between two dots."""
    recording = explorer.record("a b c d " * 15, keep=("attention",))
    long = build_axis(recording.encoding)
    if form == "map":
        pixels, view = picture_pixels(12), view_map(explorer, recording, LOCAL)
    elif form == "head":
        pixels, view = picture_pixels(1), view_map(explorer, recording, LOCAL, 0)
    elif form == "all":
        pixels = THUMBNAIL
        view = view_model(explorer, recording, model_maps(recording))
    else:
        pixels, view = PIXELS, view_band(explorer, recording, LOCAL)
    assert len(long) == 62
    sizes = [(dots, size) for dots, size in drawn_pixels(view.draw()) if max(size) == 62]
    assert sizes
    for dots, size in sizes:
        assert min(dots) >= pixels if form != "band" else dots[0] >= pixels, (dots, size)


def test_no_pixel_is_lost_where_there_are_as_many_heads_as_in_base(recording):
    one = layer_map(recording, LOCAL)
    twelve = replace(one, heads=tuple(range(12)), weights=one.weights[[0, 1] * 6])
    for pixels, figure in (
        (THUMBNAIL, plot_model_view([twelve] * 6, "base")),
        (picture_pixels(12), plot_layer_maps([twelve, twelve], "base")),
    ):
        sizes = [min(dots) for dots, size in drawn_pixels(figure) if size == (12, 12)]
        assert len(sizes) in (6 * 12, 2 * 12)
        assert min(sizes) >= pixels


SCRIPTS = {
    "Japanese and formulas": "\N{HIRAGANA LETTER A}\N{CJK UNIFIED IDEOGRAPH-6C34} $x_1$",
    "Arabic and escapes": "\N{ARABIC LETTER BEH}\N{ARABIC LETTER AIN} \x1b[31m",
    "emoji": "\N{PARTY POPPER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{WOMAN}",
}


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_any_script_is_drawn_without_a_warning(text):
    bundled = load("tiny", device="cpu")
    recording = bundled.record(text, keep=("attention",))
    place = find_token_position(recording.encoding, "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for view in (
            view_band(bundled, recording, 1, 0),
            view_arcs(bundled, recording, 0, 0, query=place),
            view_map(bundled, recording, 0, 0),
        ):
            png = view.content("png")
            assert struct.unpack(">II", png[16:24])[0] > 300


PICTURED = {
    "a layer": ["-l", "1"],
    "the model": ["-l", "all"],
    "a band": ["-l", "1", "--view", "band"],
    "arcs": ["-l", "1", "--view", "arcs"],
    "arcs of a query": ["-l", "0", "--view", "arcs", "--query", "c"],
    "a part": ["-l", "0", "--queries", "2:9", "--keys", "0:4"],
    "the mean of a part": ["-l", "0", "--queries", "2:9", "--mean"],
}


@pytest.mark.parametrize("arguments", PICTURED.values(), ids=PICTURED)
def test_a_heat_map_is_printed_on_a_terminal_alone(explorer, arguments, monkeypatch):
    assert "\N{UPPER HALF BLOCK}" not in run(explorer, *arguments).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\N{UPPER HALF BLOCK}" in run(explorer, *arguments).out
    assert "\x1b" not in run(explorer, *arguments, "--json").out
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run(explorer, *arguments).out
    assert "\N{UPPER HALF BLOCK}" not in plain
    assert "\N{FULL BLOCK}\N{FULL BLOCK}" in plain or "\N{DARK SHADE}" in plain
    assert "\N{BLACK SQUARE}" not in plain  # a hue without colours says nothing


def shades_of(line):
    """The level of every cell of a picture without colours, from 0 to 4."""
    return [SHADES.index(cell) for cell in line]


@pytest.mark.parametrize("layer", [GLOBAL, LOCAL])
def test_the_row_of_a_query_is_shaded_by_its_weights(explorer, recording, layer, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "31")  # two cells a token, and seven for the name
    monkeypatch.setenv("NO_COLOR", "1")
    out = run(explorer, "-l", str(layer), "--view", "arcs", "--query", "5").out
    lines = [re.sub("\x1b\\[[0-9;]*m", "", line) for line in out.splitlines()]
    dense = recording.attention(layer)[:, 5].numpy()
    seen = np.flatnonzero(dense.any(axis=0))
    assert list(seen) == (list(range(3, 8)) if layer == LOCAL else list(range(12)))
    root = showing_root(dense[:, None])
    for head, row in enumerate(dense[:, seen]):
        [line] = [line for line in lines if line.startswith(f"head {head}")]
        times = min(6, 24 // len(seen))
        expected = np.rint(4 * (row / dense.max()) ** (1 / root)).astype(int).repeat(times)
        assert shades_of(line[7:].ljust(len(expected))) == expected.tolist()


@pytest.mark.parametrize("form", [(), ("--view", "arcs", "--mass", "1")])
def test_bars_stand_for_the_weights_of_a_query(explorer, recording, form):
    asked = ("-l", str(GLOBAL), *form, "--query", "c", "--top", "30")
    lines = run(explorer, *asked).out.splitlines()
    rows = [match for line in lines if (match := re.match(ROW, line))]
    dense, place = recording.attention(GLOBAL), 3
    expected = sorted(dense[:, place].flatten().tolist(), reverse=True)
    assert [float(row["weight"]) for row in rows] == pytest.approx(expected, abs=0.0006)
    for row, weight in zip(rows, expected, strict=True):
        assert float(dense[int(row["head"]), place, int(row["key"])]) == pytest.approx(weight)
        eighths = sum(BAR.index(cell) + 1 for cell in row["bar"])
        assert eighths == pytest.approx(8 * 12 * weight, abs=0.51)  # of 12 cells for a weight of 1
