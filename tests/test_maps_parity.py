"""What a recording says of attention against transformers' eager maps, at the sizes people use."""

from dataclasses import replace

import pytest
import torch

import mbexplore
from mbexplore.analysis.axis import build_axis
from mbexplore.analysis.maps import layer_map
from mbexplore.analysis.tile import tile
from mbexplore.recorder import record
from tests import parity
from tests.handbuilt import build_tokenizer

TEXT = "The river runs from the mountains to the sea, and the [MASK] follows it. " * 8
WIDE = parity.Case(
    900,
    parity.draw_case(900).config
    | {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 256,
       "num_hidden_layers": 3, "local_attention": 128, "hidden_activation": "gelu",
       "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
       "rope_parameters": {
           "full_attention": {"rope_type": "default", "rope_theta": 160_000.0},
           "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
       }},
    (420, 150),
    "right",
)  # fmt: skip
"""Base's width, heads and window over more than three windows, beside a shorter text."""


def check(recording, layer, expected, most_apart=1e-6):
    """Every way to a map of a layer against (heads, seq, seq) of transformers."""
    close = {"rtol": 0, "atol": most_apart}
    whole, expected = recording.attention(layer).float(), expected.float()
    torch.testing.assert_close(whole, expected, **close)
    torch.testing.assert_close(whole.sum(-1), torch.ones(whole.shape[:2]), rtol=0, atol=1e-5)
    axis = build_axis(recording.encoding)
    pooled = layer_map(recording, layer, pixels=64)
    for head, weights in enumerate(torch.from_numpy(pooled.weights)):
        torch.testing.assert_close(weights.max(), expected[head].max(), **close)
    seq = len(axis)
    rows, columns = (
        replace(axis, spans=axis.spans[part], labels=axis.labels[part])
        for part in (slice(seq // 3, seq // 2), slice(seq // 4, seq))
    )
    part = tile(recording, layer, 1, rows, columns, 10_000)
    square = expected[1, seq // 3 : seq // 2, seq // 4 :]
    torch.testing.assert_close(torch.from_numpy(part.weights[0]), square, **close)
    half_window = recording.config.half_window(layer)
    if half_window is not None:
        band = recording.attention_band(layer).float()
        assert band.shape[2] == 2 * half_window + 1
        for query in (0, half_window, seq // 2, seq - 1):
            low, high = max(0, query - half_window), min(seq, query + half_window + 1)
            left = low - query + half_window
            there = band[:, query, left : left + high - low]
            torch.testing.assert_close(there, expected[:, query, low:high], **close)


def test_the_bundled_model_sees_what_transformers_sees():
    # Trained scores are large: rounded to float32 on the way, two right maps differ by 3e-6.
    tiny = mbexplore.load("tiny", device="cpu", dtype="float64")
    recording = tiny.record(TEXT, keep=("attention",))
    theirs = tiny.load_reference("eager")._model
    with torch.no_grad():
        maps = theirs(torch.tensor([recording.encoding.ids]), output_attentions=True).attentions
    assert len(maps) == recording.config.num_hidden_layers
    for layer, expected in enumerate(maps):
        check(recording, layer, expected[0])


@pytest.fixture(scope="module")
def wide():
    ours = parity.build_ours(WIDE)
    ids, mask = parity.build_inputs(WIDE)
    theirs = parity.run_theirs(parity.build_theirs(ours, WIDE.config, "eager"), ids, mask)
    return ours, ids, mask, theirs.attentions


@pytest.mark.parametrize("row", [0, 1])
def test_at_base_width_each_text_of_a_padded_batch_has_their_maps(wide, row):
    ours, ids, mask, maps = wide
    real = ids[row][mask[row].bool()].tolist()
    encoding = replace(
        build_tokenizer().encode("a b", limit=99), ids=tuple(real), mask_positions=(),
        tokens=tuple(map(str, real)), words=(None,) * len(real), offsets=((0, 0),) * len(real),
    )  # fmt: skip
    recording = record(ours, encoding, keep=("attention",))
    size = len(real)
    for layer, expected in enumerate(maps):
        # In float32 either side is up to 1e-6 from float64, where theirs can't take padding.
        check(recording, layer, expected[row, :, :size, :size], 2e-6)
        assert not expected[row, :, :size, size:].any()  # theirs gives padding nothing either


def test_padding_receives_no_weight(wide):
    ours, ids, mask, _ = wide
    others = torch.where(mask.bool(), ids, (ids + 7) % 61)
    with torch.no_grad():
        before, after = (ours.model(each, mask)[mask.bool()] for each in (ids, others))
    assert torch.equal(before, after)
