"""RoPE taken apart: spectra by arithmetic, shares against scores of the unrotated q and k."""

import csv
import io
import math

import numpy as np
import pytest
import torch
from rich.console import Console

import mbexplore
from mbexplore.analysis.rope import mean_rotations, pair_norms, rope_spectra, score_contributions
from mbexplore.display.palette import colour_of
from mbexplore.display.terminal import render
from mbexplore.errors import RangeError
from mbexplore.explorer import Explorer
from mbexplore.network.config import ModernBertConfig
from mbexplore.views.rope import _cosines
from tests.cli_runner import run_cli

TEXT = "The river runs from the mountains to the sea, and the road follows it down. " * 3


@pytest.fixture(scope="module")
def recording(tiny):
    return tiny.record(TEXT, keep=("attention",))


@pytest.fixture(scope="module")
def plain(tiny):
    """Queries and keys of every layer before they are turned, by hooking Wqkv."""
    found = []

    def keep(module, inputs, output):
        heads = tiny.model.config.num_attention_heads
        found.append(output[0].unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3))

    layers = tiny.model.encoder.layers
    handles = [layer.attn.Wqkv.register_forward_hook(keep) for layer in layers]
    tiny.record(TEXT, keep=())
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


def test_the_table_holds_every_pair_of_every_theta():
    found = mbexplore.load("tiny", device="cpu").rope()
    wide, narrow = found.data
    header, *rows = csv.reader(io.StringIO(found.content("csv").decode()))
    columns = {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}
    assert columns["global wavelength"] == wide.wavelengths.tolist()
    assert columns["local turns in reach"] == (32 / narrow.wavelengths).tolist()
    saved = np.load(io.BytesIO(found.content("npz")))
    np.testing.assert_array_equal(saved["theta10000_kernel"], narrow.kernel)
    assert "26 of 32 pairs in local layers (32 tokens)" in found.headline


def test_a_score_in_every_form_adds_up(tiny):
    found = tiny.rope_score("The river runs to the sea.", key=6, layer=4, head=2, token="river")
    shares = found.data.score
    assert (shares.query, shares.key) == (2, 6)
    table = list(csv.DictReader(io.StringIO(found.content("csv").decode())))
    assert sum(float(row["contribution"]) for row in table) == pytest.approx(shares.score)
    saved = np.load(io.BytesIO(found.content("npz")))
    assert saved["score.contributions.contribution"].sum() == pytest.approx(
        found.to_json()["score"]["score"]
    )
    norms = pair_norms(found.session.recording(), 4)
    np.testing.assert_array_equal(saved["norms.q"], norms.q)
    assert "river (2) and sea (6), 4 tokens away" in found.headline


def test_without_a_key_the_one_with_the_most_weight_is_taken(tiny, recording):
    found = tiny.rope_score(TEXT, layer=4, head=1, token=20)
    weights = recording.attention(4, 1, 20)[0, 0]
    assert found.data.score.key == int(weights.argmax())
    listed = [link.key for link in found.data.keys]
    assert listed == weights.argsort(descending=True, stable=True)[:10].tolist()


def test_a_score_that_is_not_there_is_refused_before_the_model_runs(monkeypatch):
    monkeypatch.setattr(Explorer, "record", None)
    asked = ("rope-score", TEXT, "--layer")
    for layer, places, sentence in (
        (4, (3, 40), "can't see token 40"),
        (0, (3, 999), "token 999"),
        (0, ("rivver", 3), "the nearest is 'river'"),
    ):
        refused = run_cli(*asked, layer, "--token", places[0], "--key", places[1])
        assert refused.code == 1 and sentence in refused.err


def lines_of(block, **console):
    """A block in a terminal, as lines of (text, style) segments."""
    console = Console(width=80, file=io.StringIO(), force_terminal=True, **console)
    return [list(line) for line in console.render_lines(render(block), pad=False)]


def test_a_terminal_shows_the_cosines_of_every_pair_two_a_line():
    spectrum = rope_spectra(ModernBertConfig.base())[1]
    cosines = _cosines(spectrum)
    _, *lines, _, _ = lines_of(cosines, color_system="truecolor", no_color=False)
    assert len(lines) == 16
    for i, line in enumerate(lines):
        cells = [(part.style, cell) for part in line for cell in part.text if part.style][-40:]
        for (style, cell), upper, lower in zip(
            cells, *cosines.values[2 * i : 2 * i + 2], strict=True
        ):
            assert cell == "\N{UPPER HALF BLOCK}"
            for colour, value in ((style.color, upper), (style.bgcolor, lower)):
                expected = colour_of("signed", (value + 1) / 2, dark=True)
                assert colour.name == expected


def test_without_colour_the_same_in_shades():
    spectrum = rope_spectra(ModernBertConfig.base())[1]
    lines = lines_of(_cosines(spectrum), color_system=None)
    text = ["".join(part.text for part in line) for line in lines]
    assert "\N{UPPER HALF BLOCK}" not in "".join(text)
    assert text[32].endswith("\N{FULL BLOCK}" * 40)  # the slowest pair hardly turns


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
