"""The page of attention maps: what it holds, how large it gets, and what a browser shows of it."""

import json
import re
import zlib
from base64 import b64decode

import numpy as np
import pytest
import torch
from mbexplore.views.attention_page import attention_data, attention_page, part_data, part_page

from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.band import band_map
from mbexplore.analysis.maps import layer_map, model_maps
from mbexplore.analysis.tile import tile
from mbexplore.display.palette import head_colour
from mbexplore.network.config import ModernBertConfig
from mbexplore.recording import Recording
from tests.test_axis import build_encoding, build_recording

LIMIT = 5e6


def weights_of(layer, data):
    """A layer's weights as the browser reads them."""
    codes = np.frombuffer(zlib.decompress(b64decode(layer["data"])), dtype=np.uint8)
    shape = (len(data["maps"]), data["height"], data["width"])
    return (codes.reshape(shape) / 255.0) ** 2


@pytest.fixture(scope="module")
def recording():
    return build_recording(build_encoding([2, 1, 3, 1, 1, 2, 4]))


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("pixels", [100, 5])
def test_data_hold_the_weights_to_a_step(recording, words, pixels):
    axis = build_axis(recording.encoding, words=words)
    maps = [layer_map(recording, layer, None, pixels, axis) for layer in (0, 1)]
    data = attention_data(maps)
    assert data["rows"]["labels"] == list(axis.labels)
    assert data["rows"]["starts"] == [start for start, _ in axis.spans]
    assert data["pooled"] == ("" if pixels == 100 else f"{maps[0].pooled}.")
    for layer, shown in zip(data["layers"], maps, strict=True):
        found = weights_of(layer, data)
        assert np.abs(np.sqrt(found) - np.sqrt(shown.weights)).max() <= 0.5 / 255 + 1e-6
        assert (layer["edges"] is None) == (shown.window() is None)
    json.dumps(data)


def test_a_band_has_offsets_for_columns(recording):
    data = attention_data([band_map(recording, 1)])
    assert data["columns"]["labels"] == ["-4", "-3", "-2", "-1", "0", "+1", "+2", "+3", "+4"]
    assert (data["height"], data["width"]) == (16, 9)


@pytest.mark.parametrize(("layer", "pixels"), [(0, 100), (1, 100), (0, 4), (1, 4)])
def test_a_part_has_sides_of_its_own(recording, layer, pixels):
    queries, keys = (build_axis(recording.encoding, bounds) for bounds in ((2, 9), (0, 12)))
    tiles = [tile(recording, layer, head, queries, keys, pixels) for head in (0, 1)]
    data = part_data(tiles, (0, 1), False, layer, "a layer")
    assert (data["rows"]["labels"], data["columns"]["labels"]) == (
        list(queries.labels), list(keys.labels)
    )  # fmt: skip
    assert data["rows"]["starts"] == list(range(2, 9)) and data["maps"] == ["head 0", "head 1"]
    assert data["marks"] == [head_colour(0), head_colour(1)]
    assert data["pooled"] == ("" if pixels == 100 else "2 x 3 tokens to a pixel, the largest "
                              "weight shows.")  # fmt: skip
    found = weights_of(data["layers"][0], data)
    for one, weights in zip(tiles, found, strict=True):
        assert np.abs(np.sqrt(weights) - np.sqrt(one.weights)).max() <= 0.5 / 255 + 1e-6
    edges = data["layers"][0]["edges"]
    assert (edges is None) == (layer == 0)
    for row, (low, high) in enumerate(edges or ()):
        assert not found[:, row, :low].any() and not found[:, row, high:].any()
    json.dumps(data)


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


def test_the_model_view_of_base_over_128_tokens_is_under_5_mb():
    sizes = {}
    for spread in (0.3, 1.2, 2.5):  # from flat rows to sharp ones
        maps = model_maps(base_recording(spread))
        assert maps[0].weights.shape == (12, 128, 128) and maps[0].pool == 1
        sizes[spread] = len(attention_page(maps, "base", ["attention"]).encode())
    assert max(sizes.values()) < LIMIT, sizes
    # Of all rows that sum to 1, these bytes have the most entropy: half-normal square roots.
    rng = np.random.default_rng(0)
    worst = np.abs(rng.standard_normal(12 * 128 * 128)) * 255 / np.sqrt(128)
    packed = len(zlib.compress(np.rint(worst).astype(np.uint8).tobytes(), 6)) * 22
    assert packed * 4 / 3 < LIMIT - 2e5


def test_a_page_is_whole_and_safe(recording):
    page = attention_page(model_maps(recording), "</script><b>", ["attention", "a </pre> b"])
    assert not re.search(r"""(src|href)\s*=|https?://|@import|url\(""", page)
    assert "</script><b>" not in page and "</pre> b" not in page
    data = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    assert json.loads(data)["maps"] == ["head 0", "head 1"]


def open_page(browser, folder, page):
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.set_default_timeout(120_000)
    problems = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: problems.append(request.url))
    tab.goto(path.as_uri())
    tab.wait_for_selector("[data-ready=true]")
    assert problems == [path.as_uri()]  # the page itself, and nothing else
    return tab


def cell(tab, row, column, size):
    """Points at a cell of the large map and reads what is said of it."""
    box = tab.locator(".attention-map").bounding_box()
    side = (box["width"] - 100) / size
    tab.mouse.move(box["x"] + 96 + (column + 0.5) * side, box["y"] + 4 + (row + 0.5) * side)
    return tab.locator(".attention-tip").inner_text()


def test_pointing_at_a_cell_says_query_key_and_weight(browser, recording, tmp_path):
    maps = model_maps(recording)
    tab = open_page(browser, tmp_path, attention_page(maps, "small", ["attention"]))
    assert tab.locator(".attention-title").inner_text() == f"{maps[0].title} \N{MIDDLE DOT} head 0"
    for row, column in ((0, 0), (3, 7), (15, 2)):
        query, key, weight = cell(tab, row, column, 16).splitlines()
        tokens = recording.encoding.tokens
        assert query.split() == ["query", tokens[row], str(row)]
        assert key.split() == ["key", tokens[column], str(column)]
        said = weight.split(maxsplit=1)[1]
        expected = float(maps[0].weights[0, row, column])
        if not said.startswith("less"):
            assert abs(np.sqrt(float(said)) - np.sqrt(expected)) < 0.5 / 255 + 0.01
        else:
            assert expected < 1e-5
    tab.mouse.move(1, 1)
    assert tab.locator(".attention-tip").is_hidden()
    tab.close()


def test_pointing_at_a_part_says_the_same(browser, recording, tmp_path):
    queries, keys = (build_axis(recording.encoding, bounds) for bounds in ((2, 9), (0, 12)))
    tiles = [tile(recording, 0, head, queries, keys, 100) for head in (0, 1)]
    page = part_page(tiles, (0, 1), False, 0, "Layer 0", "small", ["attention"])
    tab = open_page(browser, tmp_path, page)
    assert tab.locator(".attention-title").inner_text() == "Layer 0 \N{MIDDLE DOT} head 0"
    tokens, side = recording.encoding.tokens, 44  # pixels of a cell at most
    box = tab.locator(".attention-map").bounding_box()
    for row, column in ((0, 0), (6, 11), (3, 5)):
        x, y = 96 + (column + 0.5) * side, 4 + (row + 0.5) * side
        tab.mouse.move(box["x"] + x, box["y"] + y)
        query, key, weight = tab.locator(".attention-tip").inner_text().splitlines()
        assert query.split() == ["query", tokens[row + 2], str(row + 2)]
        assert key.split() == ["key", tokens[column], str(column)]
        said = float(weight.split(maxsplit=1)[1])
        expected = float(recording.attention(0, 0)[0, row + 2, column])
        assert abs(np.sqrt(said) - np.sqrt(expected)) < 0.5 / 255 + 0.01
    tab.close()


def test_a_click_and_the_arrow_keys_choose_a_map(browser, recording, tmp_path):
    maps = model_maps(recording)
    tab = open_page(browser, tmp_path, attention_page(maps, "small", ["attention"]))
    title = tab.locator(".attention-title")
    tab.locator(".attention-overview").click(position={"x": 78 + 84 + 20, "y": 20 + 84 + 20})
    assert title.inner_text() == f"{maps[1].title} \N{MIDDLE DOT} head 1"
    tab.locator(".attention-overview").press("ArrowLeft")
    assert title.inner_text() == f"{maps[1].title} \N{MIDDLE DOT} head 0"
    tab.locator(".attention-map").press("ArrowDown")
    assert "query" in tab.locator(".attention-tip").inner_text()
    tab.close()
