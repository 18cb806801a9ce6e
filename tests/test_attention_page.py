"""Saved pages of attention: what they hold, how large they get, what a browser shows of them."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
import torch

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.links import arcs
from mbexplore.analysis.maps import model_maps
from mbexplore.analysis.tile import tile
from mbexplore.display.attention_blocks import Arcs, AttentionMap, ModelView
from mbexplore.display.browser import to_part
from mbexplore.display.page import build_page
from mbexplore.network.config import ModernBertConfig
from mbexplore.recording import Recording
from mbexplore.views._attention import tile_of_band
from tests.test_axis import GLOBAL, LOCAL, build_encoding, build_recording

LIMIT = 2e6
TO = " \N{RIGHTWARDS ARROW} "
DOT = " \N{MIDDLE DOT} "


@pytest.fixture(scope="module")
def recording():
    return build_recording(build_encoding([2, 1, 3, 1, 1, 2, 4]))


@pytest.fixture(scope="module")
def long():
    return build_recording(build_encoding([1] * 200))


def map_of(recording, layer, head=None, bounds=(None, None), mark=None, pixels=512, **rest):
    queries, keys = (build_axis(recording.encoding, each, **rest) for each in bounds)
    found = tile(recording, layer, head, queries, keys, pixels)
    return AttentionMap(found, found.names, f"Layer {layer}", mark)


def weights_of(part):
    """A map's weights as the browser reads them."""
    data = b64decode(part["data"])
    if part["exact"]:
        return np.frombuffer(data, dtype="<f4").reshape(part["shape"])
    shades = np.frombuffer(data, dtype=np.uint8).reshape(part["shape"])
    return (shades / 255.0) ** part["root"] * part["scale"]


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("layer", [GLOBAL, LOCAL])
def test_small_maps_are_exact(recording, layer, words):
    block = map_of(recording, layer, words=words)
    parts = to_part(block)["parts"]
    assert [part["title"].split(DOT)[0] for part in parts] == ["head 0", "head 1"]
    for part, weights in zip(parts, block.tile.weights, strict=True):
        np.testing.assert_array_equal(weights_of(part), weights)
        assert [place for _, place in part["rowPlaces"]] == block.tile.queries.starts.tolist()
        for row, (low, high) in enumerate(part["window"] or ()):
            assert not weights[row, :low].any() and not weights[row, high:].any()
    json.dumps(parts)


def test_large_maps_are_shades_of_the_root_that_their_scale_names(long):
    block = map_of(long, GLOBAL, 0)
    part = to_part(block)
    assert not part["exact"] and part["shape"] == [202, 202]
    root = part["root"]
    assert {2: "square", 3: "cube", 4: "fourth"}[root] in part["unit"]
    off = weights_of(part) ** (1 / root) - block.tile.weights[0] ** (1 / root)
    assert np.abs(off).max() <= 0.5 / 255 * part["scale"] ** (1 / root) + 1e-6


def test_a_band_has_offsets_for_columns(recording):
    band = band_map(recording, LOCAL, 0)
    part = to_part(AttentionMap(tile_of_band(band), band.names, "Band", column_axis="offset"))
    minus = "\N{MINUS SIGN}"
    assert [name for name, _ in part["columnPlaces"]] == [
        *(f"{minus}{n}" for n in (4, 3, 2, 1)), "0", *(f"+{n}" for n in (1, 2, 3, 4))
    ]  # fmt: skip
    assert part["shape"] == [16, 9] and not part["zoom"]


def base_recording(spread):
    """Random q and k of base's 22 layers and 12 heads over 128 tokens."""
    rng = np.random.default_rng(0)
    config = ModernBertConfig(
        vocab_size=50368, hidden_size=12 * 8, intermediate_size=8, num_hidden_layers=22,
        num_attention_heads=12,
        layer_kinds=tuple("global" if i % 3 == 0 else "local" for i in range(22)),
        local_attention=128, global_rope_theta=160000.0, local_rope_theta=10000.0,
    )  # fmt: skip
    values = {
        f"layers.{layer}.{name}": torch.from_numpy(
            spread * rng.standard_normal((12, 128, 8)).astype(np.float32)
        )
        for layer in range(22)
        for name in ("rot_q", "rot_k")
    }
    return Recording(build_encoding([1] * 126), config, values, None)


def test_the_model_view_of_base_over_128_tokens_is_under_2_mb():
    maps = model_maps(base_recording(1.2))
    assert maps[0].weights.shape == (12, 128, 128) and maps[0].pool == 1
    view = ModelView(maps)
    assert len(build_page([view], "base", "mbexplore model-view").encode()) < LIMIT
    part = to_part(view)
    assert part["size"] == 43 and part["pool"] == 3
    for layer, each in zip(part["layers"], maps, strict=True):
        highest = [float(weights.max()) for weights in each.weights]
        assert layer["highest"] == pytest.approx(highest, rel=1e-3)


def test_a_page_is_whole_and_safe(recording):
    blocks = [map_of(recording, GLOBAL), Arcs(arcs(recording, GLOBAL)),
              ModelView(model_maps(recording))]  # fmt: skip
    page = build_page(blocks, "</script><b>", "mbexplore attention 'a </code> b'")
    assert not re.search(
        r"""(?:src|href)\s*=\s*["']|https?://(?!www\.w3\.org)|@import|url\(""", page
    )
    assert "</script><b>" not in page and "</code> b" not in page


def open_page(browser, folder, page):
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(120_000)
    problems = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.append(request.url))
    tab.goto(path.as_uri())
    assert problems == [path.as_uri()]  # the page itself, and nothing else
    return tab


def opened(browser, folder, *blocks):
    return open_page(browser, folder, build_page(blocks, "small", "mbexplore attention"))


def read_number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))


def step(tab, canvas, row, column):
    """Moves the cursor to a cell with the arrows, from the first one."""
    canvas.focus()
    for key, times in (("ArrowDown", row), ("ArrowRight", column)):
        for _ in range(times):
            tab.keyboard.press(key)


@pytest.mark.parametrize("bounds", [(None, None), ((2, 9), (0, 12))])
def test_pointing_at_a_cell_says_query_key_and_the_exact_weight(
    browser, recording, tmp_path, bounds
):
    tab = opened(browser, tmp_path, map_of(recording, GLOBAL, 0, bounds))
    canvas = tab.locator("canvas[data-key=map]")
    step(tab, canvas, 3, 7)
    tokens, first = recording.encoding.tokens, (bounds[0] or (0, 0))[0]
    row = 3 + first
    names, weight = tab.inner_text(".map .readout").split(DOT)
    assert names == f"{tokens[row].strip()} {row}{TO}{tokens[7].strip()} 7"
    expected = float(recording.attention(GLOBAL, 0)[0, row, 7])
    assert read_number(weight) == pytest.approx(expected, rel=1e-3)
    tab.close()


def test_a_large_map_says_that_its_numbers_are_rounded(browser, long, tmp_path):
    tab = opened(browser, tmp_path, map_of(long, GLOBAL, 0))
    canvas = tab.locator("canvas[data-key=map]")
    step(tab, canvas, 2, 3)
    about = tab.inner_text(".map .readout").split(DOT)[1]
    expected = float(long.attention(GLOBAL, 0)[0, 2, 3])
    assert about.startswith("about ")
    assert read_number(about.split()[1]) == pytest.approx(expected, rel=0.1, abs=1e-4)
    assert "rounded to 1/255" in tab.inner_text(".map .note")
    tab.close()


def test_every_head_is_shown_large_when_it_is_chosen(browser, recording, tmp_path):
    maps = model_maps(recording)
    tab = opened(browser, tmp_path, ModelView(maps, "Every head"))
    layers = tab.locator(".layer-name").all_inner_texts()
    assert layers == ["2 local", "1 local", "0 global"]  # the deepest on top
    tab.click('.thumb[data-layer="1"][data-head="1"]')
    caption = tab.locator(".enlarged figcaption")
    highest = float(maps[1].weights[1].max())
    assert caption.inner_text().startswith(f"Layer 1 head 1{DOT}max {highest:.4g}")
    for key, title in (("ArrowLeft", "Layer 1 head 0"), ("ArrowDown", "Layer 0 head 0"),
                       ("ArrowUp", "Layer 1 head 0")):  # fmt: skip
        tab.keyboard.press(key)
        assert caption.inner_text().startswith(title)
    tab.close()


def ends(tab):
    return tab.inner_text(".arcs .readout")


@pytest.mark.parametrize("mark", [None, 3])
def test_arcs_tell_the_links_of_a_token(browser, recording, tmp_path, mark):
    found = arcs(recording, GLOBAL, mass=0.4)
    tab = opened(browser, tmp_path, Arcs(found, "Layer 0", mark))
    canvas = tab.locator("canvas[data-key=arcs]")
    tokens = recording.encoding.tokens
    canvas.focus()
    if mark is None:
        assert ends(tab).strip() == ""
        for _ in range(3):
            tab.keyboard.press("ArrowDown")
    assert ends(tab).startswith(f"{tokens[3].strip()} 3 attends to ")
    links = [link for link in found.links if link.query == 3]
    best = f"{tokens[links[0].key].strip()} {links[0].key} {links[0].weight:.4g} (head "
    assert best in ends(tab) and ends(tab).count("(head") == min(len(links), 8)
    tab.keyboard.press("ArrowRight")  # the same token as a key
    assert ends(tab).startswith(f"{tokens[3].strip()} 3 attended by ")
    tab.click(".heads button >> nth=0")
    assert "(head 0)" not in ends(tab)
    tab.close()


def test_the_marked_token_of_a_long_text_is_in_sight(browser, long, tmp_path):
    tab = opened(browser, tmp_path, Arcs(arcs(long, GLOBAL, mass=0.1), "Layer 0", 150))
    tab.wait_for_function("document.querySelector('.arcs .tall').scrollTop > 1500")
    tab.close()


def test_a_row_of_many_tokens_is_named_by_the_marked_one(long):
    part = to_part(map_of(long, GLOBAL, 0, mark=152, pixels=50))
    assert part["pool"] == [5, 5] and part["mark"] == 30
    assert part["rowPlaces"][30][1] == 150 and part["marked"][1] == 152
