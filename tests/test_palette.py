"""Hues are told apart, by people who see fewer of them too."""

from itertools import combinations

import numpy as np
import pytest

from mbexplore.display.palette import (
    DARK,
    FAINTEST,
    HEADS,
    HUE,
    LIGHT,
    ON_EITHER,
    colour_of,
    head_colour,
    showing_root,
)

# Machado, Oliveira and Fernandes (2009), severity 1, in linear RGB.
SEEN = {
    "all colours": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                        [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                          [-0.011820, 0.042940, 0.968881]]),
}  # fmt: skip
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour, sight):
    """CIELAB of "#rrggbb" as it is seen."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(SEEN[sight] @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours, sight):
    return min(
        (float(np.linalg.norm(lab(a, sight) - lab(b, sight))), a, b)
        for a, b in combinations(colours, 2)
    )


@pytest.mark.parametrize("sight", SEEN)
def test_heads_are_told_apart(sight):
    assert nearest(HEADS[:4], sight)[0] > 15
    assert nearest(HEADS[:8], sight)[0] > 9
    assert nearest([HUE["global"], HUE["local"]], sight)[0] > 40


def test_all_heads_differ_and_are_seen_on_white():
    assert len(set(HEADS)) == len(HEADS) == 16
    assert nearest(HEADS, "all colours")[0] > 14
    for colour in HEADS:
        assert lab(colour, "all colours")[0] < 78
    assert head_colour(16) == head_colour(0)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("hue", sorted((DARK.keys() & LIGHT.keys()) - {"signed"}))
def test_a_scale_gets_steadily_darker_or_lighter(hue, dark):
    colours = [colour_of(hue, step / 255, dark=dark) for step in range(256)]
    lightness = [lab(colour, "all colours")[0] for colour in colours]
    steps = np.diff(lightness)
    assert (steps <= 0.6).all() or (steps >= -0.6).all()
    assert abs(lightness[-1] - lightness[0]) > 60


def luminance(colour):
    """Relative luminance of "#rrggbb" (WCAG 2.2)."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize("colour", ON_EITHER.values())
@pytest.mark.parametrize("ground", ["#000000", "#ffffff"])
def test_words_are_legible_on_black_and_on_white(colour, ground):
    darker, lighter = sorted((luminance(colour), luminance(ground)))
    assert (lighter + 0.05) / (darker + 0.05) > 4


def test_a_faint_map_shows_beside_a_spike():
    spike, broad = np.full((40, 40), 0.01), np.full((40, 40), 0.005)
    spike[3, 3] = 0.9
    alone = showing_root(broad[None])
    assert alone == 2
    assert showing_root(np.stack((spike, broad))) == 3  # the square root of 0.0056 is 0.07
    assert showing_root(np.stack((spike, broad / 10))) == 4
    assert showing_root(np.zeros((2, 3, 3))) == 4 and showing_root(spike[None]) == 3
    for weights in (np.stack((spike, broad)), broad[None], np.stack((spike, broad / 4))):
        root = showing_root(weights)
        assert (weights[-1].max() / weights.max()) ** (1 / root) >= FAINTEST
