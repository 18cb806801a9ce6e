"""Words in pictures: in a font that has them, real text in files, boxes only with a word."""

import re
import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager, rc_context

import mbexplore
from mbexplore.display import fonts
from tests.cli_runner import run_cli

EAST = "\N{CJK UNIFIED IDEOGRAPH-6771}"
SMILE = "\N{GRINNING FACE WITH SMILING EYES}"
OGHAM = "\N{OGHAM LETTER BEITH}"
TEXT = f"{EAST} is the [MASK]."


def make_font(path, family, characters):
    """A font whose glyphs are all one square."""
    glyphs = {ord(each): f"square{i}" for i, each in enumerate(characters)}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *glyphs.values()])
    builder.setupCharacterMap(glyphs)
    pen = TTGlyphPen(None)
    for move, point in zip(
        (pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo),
        ((100, 0), (100, 700), (800, 700), (800, 0)),
        strict=True,
    ):
        move(point)
    pen.closePath()
    square = pen.glyph()
    builder.setupGlyf(dict.fromkeys((".notdef", *glyphs.values()), square))
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", *glyphs.values()), (900, 100)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    names = {"familyName": family, "styleName": "Regular", "psName": family.replace(" ", "")}
    builder.setupNameTable(names)
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Adds fonts to those that matplotlib knows, which are its own alone."""

    def install(family, characters):
        path = make_font(tmp_path / f"{family}.ttf", family, characters)
        font_manager.fontManager.addfont(path)
        fonts.family_of.cache_clear()

    own = [one for one in font_manager.fontManager.ttflist if "DejaVu" in one.name]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    font_manager.fontManager._findfont_cached.cache_clear()
    fonts.family_of.cache_clear()
    fonts.explain_missing()
    yield install
    font_manager.fontManager._findfont_cached.cache_clear()
    fonts.family_of.cache_clear()


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


def test_what_no_font_has_is_a_box_and_is_said_once(installed):
    assert fonts.drawable(f"a{EAST}{EAST}b") == "a\N{WHITE SQUARE}\N{WHITE SQUARE}b"
    sentence = fonts.explain_missing()
    assert sentence.startswith(f"No font here has {EAST}, ") and "fonts-noto-cjk" in sentence
    assert fonts.explain_missing() == ""
    fonts.drawable("\a\N{ZERO WIDTH SPACE}")  # no font could show these
    assert fonts.explain_missing() == ""
    assert fonts.drawable(OGHAM) == OGHAM or "fonts-symbola" in fonts.explain_missing()


def test_an_installed_font_is_taken(installed):
    installed("House East", EAST)
    assert fonts.drawable(f"a{EAST}") == f"a{EAST}" and fonts.explain_missing() == ""
    assert (fonts.family_of("a"), fonts.family_of(EAST)) == ("", "House East")
    installed("Zz Sans", EAST)  # labels are in a sans
    assert fonts.family_of(EAST) == "Zz Sans"
    with rc_context({"font.family": ["DejaVu Sans", "House East"]}):
        fonts.family_of.cache_clear()
        assert fonts.family_of(EAST) == "House East"
    fonts.family_of.cache_clear()
    installed("Aa Sans Color Emoji", SMILE + OGHAM + "\N{HANGUL SYLLABLE GA}")
    assert fonts.family_of("\N{HANGUL SYLLABLE GA}") is None  # matplotlib draws no such font


@pytest.mark.parametrize("view", ["lens", "attention", "attribute", "predict"])
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_pictures_are_drawn_with_it_without_a_warning(installed, explorer, tmp_path, view, ending):
    installed("House East", EAST)
    given = {"attribute": {"steps": 2}, "predict": {"hf": False}}.get(view, {})
    result = getattr(explorer, view)(TEXT, **given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        content = result.save(tmp_path / f"x.{ending}").read_bytes()
    if ending == "svg":
        assert EAST in content.decode() and "House East" in content.decode()
    if ending == "pdf":
        assert re.search(rb"/BaseFont /[A-Z]+\+HouseEast", content)


def test_a_font_of_one_weight_is_taken_without_a_notice(installed, explorer, tmp_path, caplog):
    installed("House East", EAST)
    for entry in font_manager.fontManager.ttflist:
        if entry.name == "House East":
            object.__setattr__(entry, "weight", 500)
    explorer.attribute(TEXT, steps=2).save(tmp_path / "x.png")
    assert caplog.messages == []


def test_words_in_files_are_text(installed, explorer, tmp_path):
    lens = explorer.lens("The tide [MASK].")
    svg = lens.save(tmp_path / "x.svg").read_text()
    assert re.search(r"<text[^>]*>[^<]*tide", svg)
    pdf = lens.save(tmp_path / "x.pdf").read_bytes()
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf


def test_the_command_says_which_font_to_install(installed, tmp_path):
    done = run_cli("attribute", TEXT, "--steps", "2", "-o", str(tmp_path / "x.png"))
    assert done.code == 0
    assert [line for line in done.err.splitlines() if "No font here has" in line] == [
        f"No font here has {EAST}, so the picture has boxes; install Noto Sans CJK (Debian: "
        "fonts-noto-cjk)."
    ]
    done = run_cli("attribute", TEXT, "--steps", "2", "-o", str(tmp_path / "x.html"))
    assert "No font" not in done.err
