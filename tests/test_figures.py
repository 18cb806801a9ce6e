"""Pictures for print, slides and a dark ground: sizes, letters, colours, files beside them."""

import csv
import io
import re

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

import mbexplore
from mbexplore.display.figure import build_figure, to_bytes
from mbexplore.display.palette import FAINT, HEADS, HUE, INK, SIGN, contrast
from mbexplore.display.style import STYLES, FigureStyle, drawn_in, faint, ground, ink, sign
from mbexplore.errors import MbexploreError
from tests.cli_runner import run_cli

TEXT = "The capital of France is [MASK]."


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def lens(explorer):
    return explorer.lens(TEXT)


def test_files_have_the_size_that_is_asked_for(lens, tmp_path):
    pdf = lens.save(tmp_path / "x.pdf", style="paper", width="84mm").read_bytes()
    [box] = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) [\d.]+ ?\]", pdf)
    assert float(box) == pytest.approx(84 / 25.4 * 72, abs=0.1)
    for options, dots in (
        ({"width": 4, "dpi": 200}, 800),
        ({"style": "paper", "width": "3in"}, 900),
    ):
        with Image.open(lens.save(tmp_path / "x.png", **options)) as png:
            assert png.width == dots
    svg = lens.save(tmp_path / "x.svg", width="240pt").read_text()
    assert re.search(r'width="240(\.0*)?pt"', svg)


def test_slides_are_the_same_picture_with_larger_letters(lens):
    plain, large = lens.figure(), lens.figure(style="slides")
    assert np.allclose(large.get_size_inches(), 1.5 * plain.get_size_inches())
    sizes = [[t.get_fontsize() for t in one.findobj(Text)] for one in (plain, large)]
    assert max(sizes[1]) == pytest.approx(1.5 * max(sizes[0]))


def test_a_dark_picture_has_a_dark_ground_on_which_all_is_read(lens, tmp_path):
    with Image.open(lens.save(tmp_path / "x.png", style="dark")) as image:
        assert np.median(np.asarray(image.convert("L"))) < 60
    with drawn_in(FigureStyle(style="dark")):
        from mbexplore.display.style import head_ink

        inks = [ink(), ink("global"), ink("local"), faint(), sign(True), sign(False)]
        inks += map(head_ink, range(len(HEADS)))
        assert min(contrast(one, ground()) for one in inks) >= 4.5
    assert (ink(), faint(), ink("local"), sign(True)) == (INK, FAINT, HUE["local"], SIGN[True])


def test_titles(lens):
    def above(**options):
        return lens.figure(**options).get_suptitle()

    assert lens.headline.split()[0] in above()
    assert above(title="Figure 1") == "Figure 1"
    assert above(title="") == ""
    assert lens.figure(title="").get_figheight() < lens.figure().get_figheight()


def test_an_installed_font_is_taken_and_another_refused(lens, tmp_path):
    svg = lens.save(tmp_path / "x.svg", font="dejavu serif").read_text()
    assert "DejaVu Serif" in svg
    assert "DejaVu Serif" not in lens.save(tmp_path / "x.svg").read_text()
    with pytest.raises(MbexploreError, match="no font 'Dejavu Serof' here; install it, or choose"):
        lens.figure(font="Dejavu Serof")


def test_the_numbers_lie_beside_a_picture(lens, tmp_path):
    lens.save(tmp_path / "x.pdf", data=True)
    rows = list(csv.reader(io.StringIO((tmp_path / "x.csv").read_text())))
    assert len(rows) == 1 + len(lens.table.rows)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["x.csv", "x.pdf"]


@pytest.mark.parametrize(
    "options,sentence",
    [
        ({"style": "print"}, "no style 'print'; choose screen, paper, slides, dark"),
        ({"width": "wide"}, "width is 'wide'; give a length such as 3.3in"),
        ({"width": "1in"}, "width is 1in; choose 2.5in to 60in"),
        ({"dpi": 5}, "dpi is 5; choose 50 to 1,200"),
    ],
)
def test_what_no_picture_can_have_is_refused(options, sentence):
    with pytest.raises(MbexploreError, match=re.escape(sentence)):
        FigureStyle(**options)


def test_the_command_has_the_same_options(tmp_path):
    path = tmp_path / "lens.svg"
    done = run_cli("lens", TEXT, "--style", "paper", "--width", "3.3in", "--no-title", "--data",
                   "-o", str(path))  # fmt: skip
    assert done.code == 0, done.err
    assert done.err.splitlines()[:2] == [str(path), str(path.with_suffix(".csv"))]
    drawn = path.read_text()
    assert 'width="237.6pt"' in drawn and "Logit lens" not in drawn
    assert "<text" in drawn


@pytest.mark.parametrize(
    "arguments,sentence",
    [
        (["--style", "paper"], "--style has no effect without a picture; add --plot"),
        (["--data", "-o", "x.json"], "--data has no effect without a picture"),
        (["--title", "A", "--no-title", "--plot"], "--title and --no-title were both given"),
        (["--style", "plain", "--plot"], "There is no style 'plain'"),
        (["--font", "Nothing", "--plot"], "There is no font 'Nothing' here"),
    ],
)
def test_options_of_pictures_that_cannot_be_are_refused(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_cli("lens", TEXT, *arguments)
    assert done.code != 0 and sentence in done.err
    assert list(tmp_path.iterdir()) == []


def test_styles_draw_the_same_numbers(lens):
    blocks, images = lens.blocks, []
    for style in STYLES:
        figure = build_figure(blocks, style=FigureStyle(style=style))
        images.append([one.get_array() for axes in figure.axes for one in axes.images])
        assert to_bytes(figure, "png", FigureStyle(style=style))[:4] == b"\x89PNG"
    for other in images[1:]:
        for one, same in zip(images[0], other, strict=True):
            np.testing.assert_array_equal(one, same)
