"""The page's colours: scales that every eye can read, text and edges that stand out."""

import re

import numpy as np
import pytest
from mbexplore_ui.component import style

from mbexplore.display.palette import DARK, LIGHT
from tests.test_palette import SEEN, lab, luminance

SHEET = style()
APART = 40
"""CIELAB distance of two hues that are told apart at a glance; about 2.3 is just noticeable."""


def scales():
    """The page's colour scales, by theme and hue."""
    return {"light": LIGHT, "dark": DARK}


def variables(theme):
    """The colours of a theme, by the name that the sheet gives them."""
    blocks = re.findall(r"^\.mbexplore(?:\.dark)? \{(.*?)\}", SHEET, re.DOTALL | re.MULTILINE)
    return dict(re.findall(r"--([\w-]+): (#\w{6})", blocks[["light", "dark"].index(theme)]))


def shade(stops, share):
    """As the script mixes them."""
    at = share * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    first, second = (
        np.array([int(s[i : i + 2], 16) for i in (1, 3, 5)]) for s in stops[low : low + 2]
    )
    return "#" + "".join(f"{round(c):02x}" for c in first + (second - first) * (at - low))


def lightness(stops, sight, shares):
    return np.array([lab(shade(stops, share), sight)[0] for share in shares])


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("hue", ["global", "local", "plain"])
def test_more_is_always_darker_or_always_lighter(theme, hue, sight):
    steps = np.diff(lightness(scales()[theme][hue], sight, np.linspace(0, 1, 41)))
    away = -steps if theme == "light" else steps  # from the ground
    assert away.min() > 0.3 and away.sum() > 60


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_less_and_more_are_told_apart_and_both_lead_away_from_nothing(theme, sight):
    stops, shares = scales()[theme]["signed"], np.linspace(0, 1, 21)
    assert len(stops) % 2  # nothing has a colour of its own, in the middle
    for side in (0.5 - shares / 2, 0.5 + shares / 2):
        steps = np.diff(lightness(stops, sight, side))
        away = -steps if theme == "light" else steps
        assert away.min() > 0.3 and away.sum() > 60
    for share in (0.3, 0.5, 0.8, 1.0):
        less, more = (lab(shade(stops, 0.5 + sign * share / 2), sight) for sign in (-1, 1))
        assert np.linalg.norm(less - more) > APART, share


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_less_and_more_are_no_hues_of_a_layer(theme):
    """For who sees all colours: no four hues are apart for everybody."""
    both = scales()[theme]
    for share in (0.15, 0.85):
        signed = lab(shade(both["signed"], share), "all colours")
        layers = [shade(both[hue], x) for hue in ("global", "local") for x in (0.4, 0.6, 0.8, 1)]
        assert min(np.linalg.norm(signed - lab(one, "all colours")) for one in layers) > 35


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_global_and_local_are_told_apart_wherever_they_stand(theme, sight):
    names, both = variables(theme), scales()[theme]
    pairs = [(names["global"], names["local"]), (names["global-wash"], names["local-wash"])]
    pairs += [tuple(shade(both[hue], x) for hue in ("global", "local")) for x in (0.35, 0.5, 0.7)]
    distances = [float(np.linalg.norm(lab(a, sight) - lab(b, sight))) for a, b in pairs]
    assert min(distances[:1] + distances[2:]) > APART
    assert distances[1] > 10  # faint bars, whose column says what they are


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_and_edges_stand_out(theme):
    """WCAG 2.2 AA: 4.5 to 1 for text, 3 to 1 for the edge of what is typed or chosen in."""
    colour = variables(theme)

    def contrast(a, b):
        dark, light = sorted((luminance(colour[a]), luminance(colour[b])))
        return (light + 0.05) / (dark + 0.05)

    for ground in ("ground", "panel"):
        for text in ("ink", "quiet", "global", "local", "warn"):
            assert contrast(text, ground) >= 4.5, (text, ground)
        assert contrast("edge", ground) >= 3
    for wash in ("global-wash", "local-wash", "plain-wash", "faint"):
        assert contrast("ink", wash) >= 4.5
    assert contrast("on-accent", "global") >= 4.5
    assert re.search(
        r"select, \.mbexplore input, \.mbexplore textarea \{ border-color: var\(--edge\)", SHEET
    )


def test_every_colour_is_known_to_both_themes():
    assert scales()["light"].keys() == scales()["dark"].keys()
    assert variables("light").keys() == variables("dark").keys() > {"ground", "ink", "edge"}
