"""RoPE taken apart: spectra by arithmetic, shares against scores of the unrotated q and k."""

import csv
import io
import json
import math
import re
import shlex

import numpy as np
import pytest
import torch

import mbexplore
from mbexplore.analysis.rope import mean_rotations, pair_norms, rope_spectra, score_contributions
from mbexplore.display.palette import ON_BLACK, ramp
from mbexplore.errors import RangeError
from mbexplore.explorer import Explorer
from mbexplore.network.config import ModernBertConfig
from mbexplore.views.rope import view_rope
from tests.cli_runner import run_cli

TEXT = "The river runs from the mountains to the sea, and the road follows it down. " * 3


@pytest.fixture(scope="module")
def explorer():
    return mbexplore.load("tiny", device="cpu")


@pytest.fixture(scope="module")
def recording(explorer):
    return explorer.record(TEXT, keep=("attention",))


@pytest.fixture(scope="module")
def plain(explorer):
    """Queries and keys of every layer before they are turned, by hooking Wqkv."""
    found = []

    def keep(module, inputs, output):
        heads = explorer.model.config.num_attention_heads
        found.append(output[0].unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3))

    layers = explorer.model.encoder.layers
    handles = [layer.attn.Wqkv.register_forward_hook(keep) for layer in layers]
    explorer.record(TEXT, keep=())
    for handle in handles:
        handle.remove()
    return found  # of each layer (3, heads, seq, head_dim)


def test_spectra_of_base_by_arithmetic():
    wide, narrow = rope_spectra(ModernBertConfig.base())
    assert (wide.theta, narrow.theta) == (160_000, 10_000)
    assert wide.layers == tuple(range(0, 22, 3)) and narrow.kinds == ("local",)
    assert (wide.width, narrow.width) == (8191, 128)
    for spectrum in (wide, narrow):
        for m, wavelength in enumerate(spectrum.wavelengths):
            assert wavelength == pytest.approx(2 * math.pi * spectrum.theta ** (m / 32), rel=1e-5)
    # 2 pi 10000^(m/32) > 128 from m = 11 on; > 8191 from m = 25 on.
    assert narrow.slower_than_width == list(range(11, 32))
    assert narrow.slower_than_length == list(range(25, 32))
    # 2 pi 160000^(m/32) > 8191 from m = 20 on, for the width and the length are the same.
    assert wide.slower_than_width == wide.slower_than_length == list(range(20, 32))


def test_one_spectrum_where_all_layers_share_a_theta():
    config = ModernBertConfig.base(local_rope_theta=160_000.0)
    [both] = rope_spectra(config)
    assert both.kinds == ("global", "local") and both.width == 8191


def test_the_kernel_and_the_tables_turn_as_numpy_turns():
    spectrum = rope_spectra(ModernBertConfig.base())[1]
    distances = [0, 1, 7, 128, 5000]
    expected = [np.cos(d * 10_000.0 ** (-np.arange(32) / 32)).mean() for d in distances]
    np.testing.assert_allclose(spectrum.kernel[distances], expected, atol=1e-4)
    angles = np.outer(spectrum.positions, 10_000.0 ** (-np.arange(32) / 32))
    np.testing.assert_allclose(spectrum.cos, np.cos(angles), atol=1e-4)
    np.testing.assert_allclose(spectrum.sin, np.sin(angles), atol=1e-4)


@pytest.mark.parametrize("layer", [0, 4])
def test_norms_are_those_before_turning(recording, plain, layer):
    found, (q, k, _) = pair_norms(recording, layer), plain[layer]
    for ours, theirs in ((found.q, q), (found.k, k)):
        half = theirs.shape[-1] // 2
        norms = (theirs[..., :half] ** 2 + theirs[..., half:] ** 2).sqrt().mean(dim=1)
        np.testing.assert_allclose(ours, norms.numpy(), rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "head", "query", "key"), [(0, 1, 3, 40), (4, 2, 20, 30), (6, 0, 5, 5), (1, 3, 30, 14)]
)
def test_shares_add_up_to_the_score_and_follow_the_formula(
    recording, plain, layer, head, query, key
):
    found = score_contributions(recording, layer, head, query, key)
    direct = float(recording.q(layer)[head, query] @ recording.k(layer)[head, key]) / 8
    assert sum(pair.contribution for pair in found.contributions) == pytest.approx(
        found.score, abs=1e-9
    )
    assert found.score == pytest.approx(direct, abs=1e-4)
    whole = float(recording.attention(layer)[head, query, key])
    assert found.weight == pytest.approx(whole, rel=1e-4)  # float32, summed in another order
    # Norms and phases from the unturned q and k; the formula gives the same shares.
    q, k = plain[layer][0, head, query].double(), plain[layer][1, head, key].double()
    for m, pair in enumerate(found.contributions):
        assert pair.q_norm == pytest.approx(math.hypot(q[m], q[m + 32]), rel=1e-4)
        assert pair.k_norm == pytest.approx(math.hypot(k[m], k[m + 32]), rel=1e-4)
        phase = math.atan2(q[m + 32], q[m]) - math.atan2(k[m + 32], k[m])
        assert math.cos(pair.phase - phase) == pytest.approx(1, abs=1e-5)
        angle = (query - key) * pair.frequency + phase
        expected = pair.q_norm * pair.k_norm * math.cos(angle) / 8
        assert pair.contribution == pytest.approx(expected, abs=1e-4)


def test_softmax_of_all_scores_of_a_row_is_the_map(recording):
    scores = [score_contributions(recording, 3, 1, 10, key).score for key in range(len(recording))]
    weights = torch.tensor(scores).softmax(dim=0)
    torch.testing.assert_close(weights, recording.attention(3, 1, 10)[0, 0], atol=1e-6, rtol=1e-4)


def test_a_key_outside_the_window_is_refused(recording):
    with pytest.raises(RangeError, match="can't see token 40 in layer 4, which sees 16"):
        score_contributions(recording, 4, 0, 3, 40)
    with pytest.raises(RangeError, match="no head 4"):
        score_contributions(recording, 4, 4, 3, 3)


def test_rope_on_the_command_line(tmp_path):
    result = run_cli("rope", "-o", tmp_path / "rope.png")
    assert result.code == 0 and "Theta 160,000, global layers" in result.out
    assert "local layers 1, 2, 4, 5, 7, 8: they look across 32 tokens" in result.out
    assert (tmp_path / "rope.png").read_bytes().startswith(b"\x89PNG")
    asked = ("rope", "The river runs to the sea.", "-l", 3)
    score = run_cli(*asked, "--head", 1, "--query", "river", "--key", "sea").out
    assert "Layer 3, head 1: river 2 looks at sea" in score and "add up to the score" in score
    norms = run_cli(*asked, "-o", tmp_path / "norms.npz")
    assert norms.code == 0 and "Layer 3 is global" in norms.out
    assert np.load(tmp_path / "norms.npz")["q"].shape == (4, 32)


def test_a_view_and_its_command_are_one_answer(explorer):
    encoding = explorer.encode("The river runs to the sea.")
    recording = explorer.record(encoding, keep=("attention",))
    spectra = rope_spectra(explorer.model.config)
    norms, shares = pair_norms(recording, 4), score_contributions(recording, 4, 2, 2, 6)
    spectrum = view_rope(explorer, spectra)
    layer = view_rope(explorer, spectra, norms, None, encoding)
    score = view_rope(explorer, spectra, norms, shares, encoding)
    for view in (spectrum, layer, score):
        answer = run_cli(*shlex.split(view.command_line)[1:], "--json")
        assert json.loads(answer.out) == json.loads(view.content("json"))
        for ending in view.formats:
            assert len(view.content(ending)) > 200
    saved = np.load(io.BytesIO(spectrum.content("npz")))
    np.testing.assert_array_equal(saved["theta10000_kernel"], spectra[1].kernel)
    table = list(csv.DictReader(io.StringIO(score.content("csv").decode())))
    assert sum(float(row["contribution"]) for row in table) == pytest.approx(shares.score)
    saved = np.load(io.BytesIO(score.content("npz")))
    assert saved["contribution"].sum() == pytest.approx(score.payload()["score"]["score"])
    [row] = [each for each in csv.DictReader(io.StringIO(layer.content("csv").decode()))
             if (each["head"], each["pair"]) == ("3", "31")]  # fmt: skip
    assert float(row["q"]) == norms.q[3, 31]


def test_rope_refuses_what_it_cannot_answer():
    for arguments in (
        ("A text.",), ("--layer", 0, "--query", "moon"), ("--query", "moon"),
        ("--layer", 0, "--head", 1),
    ):  # fmt: skip
        assert run_cli("rope", *arguments).code == 2
    refused = run_cli("rope", "-l", 0, "--query", "mooon", "--key", 3)
    assert refused.code == 1 and "the nearest is 'moon'" in refused.err


def test_a_score_that_is_not_there_is_refused_before_the_model_runs(monkeypatch):
    monkeypatch.setattr(Explorer, "record", None)
    for layer, places, sentence in ((4, (3, 40), "can't see token 40"), (0, (3, 999), "token 999")):
        refused = run_cli("rope", "-l", layer, "--query", places[0], "--key", places[1])
        assert refused.code == 1 and sentence in refused.err


@pytest.fixture
def terminal(monkeypatch):
    """Standard output as a terminal in true colour."""
    for name, value in (
        ("FORCE_COLOR", "1"),
        ("TERM", "xterm-256color"),
        ("COLORTERM", "truecolor"),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def blocks_of(line):
    """Colours (red, green, blue) of the upper half of every cell of a printed line."""
    found = []
    for red, green, blue, cells in re.findall(
        "\x1b\\[38;2;(\\d+);(\\d+);(\\d+);48;2;[\\d;]+m(\N{UPPER HALF BLOCK}+)", line
    ):
        found += [(int(red), int(green), int(blue))] * len(cells)
    return found


@pytest.mark.parametrize(
    ("kind", "theta", "width"), [("global", 160_000, 2047), ("local", 1e4, 32)]
)
def test_a_terminal_shows_the_cosines_of_every_pair(terminal, kind, theta, width):
    lines = run_cli("rope").out.splitlines()
    pictures = [blocks_of(line) for line in lines if "\N{UPPER HALF BLOCK}" in line]
    assert len(pictures) == 2 * 16  # two of 32 pairs a line, for each theta
    picture = pictures[:16] if kind == "global" else pictures[16:]
    distances = np.array_split(np.arange(width + 1), min(76, width + 1))
    times = 76 // len(distances)
    for line, cells in enumerate(picture):
        frequency = theta ** (-2 * line / 32)
        means = [np.cos(part * frequency).mean() for part in distances]
        colours = ramp(ON_BLACK[kind])
        expected = [colours[round((x + 1) / 2 * 255)] for x in means for _ in range(times)]
        assert len(cells) == len(expected)
        assert np.abs(np.subtract(cells, expected)).max() <= 3  # a step of the ramp


def test_a_terminal_shows_the_norms_of_every_head(terminal, explorer):
    norms = pair_norms(explorer.record(TEXT, keep=("attention",)), 3)
    lines = [blocks_of(line) for line in run_cli("rope", TEXT, "-l", 3).out.splitlines()]
    lines = [line for line in lines if line]
    products = norms.q * norms.k
    colours = ramp(ON_BLACK["global"])
    assert len(lines) == 4
    for line, row in zip(lines, products / products.max(), strict=True):
        expected = [colours[round(float(x) * 255)] for x in row for _ in range(2)]
        assert np.abs(np.subtract(line, expected)).max() <= 3


def test_without_colour_the_same_in_shades(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    plain = run_cli("rope").out
    assert "\N{UPPER HALF BLOCK}" not in plain and "\x1b[38" not in plain
    assert plain.count("\N{FULL BLOCK}" * 76) > 2  # the slow pairs hardly turn


def test_the_tables_of_a_picture_are_means_of_what_they_hold():
    wide, narrow = rope_spectra(ModernBertConfig.base())
    cos, sin = mean_rotations(narrow, 256)
    np.testing.assert_allclose(cos, narrow.cos, atol=1e-4)
    np.testing.assert_allclose(sin, narrow.sin, atol=1e-4)
    cos, sin = mean_rotations(wide, 256)
    assert cos.shape == sin.shape == (256, 32)
    assert np.abs(cos[:, 0]).max() < 0.15  # pair 0 turns five times in a cell: no slow wave
    held = np.arange(32)  # of the first cell
    np.testing.assert_allclose(cos[0], np.cos(np.outer(held, wide.frequencies)).mean(0), atol=1e-6)
