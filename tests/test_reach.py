"""Reach: spans against products of boolean matrices, and against what states depend on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mbexplore
from mbexplore.analysis.reach import reach
from mbexplore.errors import RangeError
from mbexplore.network.config import ModernBertConfig
from tests.handbuilt import build_explorer, build_random, handbuilt_config

TEXT = "The capital of France is [MASK]."


def config_of(kinds, half_window):
    return replace(
        handbuilt_config(), num_hidden_layers=len(kinds), layer_kinds=tuple(kinds),
        local_attention=2 * half_window,
    )  # fmt: skip


def sees(config, layer, seq):
    """Which keys each query of a layer sees, (query, key): straight from the definition."""
    places = np.arange(seq)
    if config.layer_kinds[layer] == "global":
        return np.ones((seq, seq), dtype=bool)
    return abs(places[:, None] - places) <= config.local_attention // 2


def multiplied(matrices, seq):
    """The product of boolean matrices, from the last layer to the first."""
    found = np.eye(seq, dtype=bool)
    for matrix in reversed(matrices):
        found = (found.astype(int) @ matrix.astype(int)) > 0
    return found


def within(spans, seq):
    places = np.arange(seq)
    return (places >= spans[:, :1]) & (places < spans[:, 1:])


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(["global", "local", "local"]), min_size=1, max_size=5),
    half_window=st.integers(1, 4),
    seq=st.integers(1, 19),
    data=st.data(),
)
def test_spans_are_products_of_what_layers_see(kinds, half_window, seq, data):
    config = config_of(kinds, half_window)
    position = data.draw(st.integers(0, seq - 1))
    found = reach(config, ("a",) * seq, position)
    layers = [sees(config, i, seq) for i in range(len(kinds))]
    for i in range(len(kinds)):
        for spans, part in (
            (found.one_hop, layers[i : i + 1]),
            (found.depends_on, layers[: i + 1]),
            (found.leads_to_end, layers[i:]),
        ):
            expected = multiplied(part, seq)[position]
            np.testing.assert_array_equal(within(spans[i : i + 1], seq)[0], expected)


@pytest.mark.parametrize("position", [0, 4000, 8191])
def test_a_text_of_8192_tokens(position):
    config, seq = ModernBertConfig(), 8192
    found = reach(config, ("a",) * seq, position)
    state = np.zeros(seq, dtype=bool)
    state[position] = True
    kernel = np.ones(config.local_attention + 1)
    for layer in reversed(range(config.num_hidden_layers)):
        if config.layer_kinds[layer] == "global":
            state[:] = True
        else:
            state = np.convolve(state, kernel, mode="same") > 0.5
        np.testing.assert_array_equal(within(found.leads_to_end[layer : layer + 1], seq)[0], state)
    assert (found.one_hop[1] == [max(0, position - 64), min(seq, position + 65)]).all()
    assert found.whole_from == 0 and found.last_whole == 21


def test_a_state_depends_on_just_these_tokens():
    """Another token at a place changes the state after a layer if the place is within reach."""
    model = build_random()
    config = model.config
    kinds = ("local", "local", "global")
    object.__setattr__(config, "layer_kinds", kinds)
    explorer = build_explorer(type(model)(config).eval())
    with torch.no_grad():
        for parameter, given in zip(explorer.model.parameters(), model.parameters(), strict=True):
            parameter.copy_(given)
    words = list("abcdefghijkl")
    position, plain = 6, explorer.record(" ".join(words), keep=("hidden_states",))
    found = reach(config, plain.tokens, position)
    for place in range(1, len(words) + 1):
        changed = [*words]
        changed[place - 1] = "a" if changed[place - 1] != "a" else "b"
        other = explorer.record(" ".join(changed), keep=("hidden_states",))
        for layer in range(3):
            start, stop = found.depends_on[layer]
            moved = not torch.equal(
                plain.hidden_states(layer + 1)[position], other.hidden_states(layer + 1)[position]
            )
            assert moved == (start <= place < stop), (place, layer)


def test_a_token_that_is_not_there_is_refused():
    with pytest.raises(RangeError, match="no token 3; choose 0 to 2"):
        reach(handbuilt_config(), ("a", "b", "c"), 3)


def test_the_view_tells_how_far_the_mask_sees():
    explorer = mbexplore.load("tiny", device="cpu")
    short = explorer.reach(TEXT)
    assert short.headline == (
        "In a local layer [MASK] (6) attends to at most 16 tokens on each side; after layer 0 "
        "(global) its state can depend on all 9 tokens; what any token holds before layer 8 "
        "(local) can still reach it."
    )
    long = explorer.reach("The sea fell again. " * 80 + "It is [MASK].")
    data = long.data
    assert data.last_whole == 6 and "before layer 6 (global)" in long.headline
    rows = [row for row in long.blocks[3].rows if row[0].value == 7]
    assert rows[0][1:3] == (data.position - 16, len(data.tokens) - 1)  # cut off at the end
