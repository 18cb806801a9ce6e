"""Fidelity from rounding itself: ours against float64, beside transformers against float64.

What is allowed is no number chosen by hand: our float32 error may be at most twice that of
transformers on the same input, on mild weights and on harsh ones, from one token to 4,096.
"""

import copy

import pytest
import torch

from tests import parity
from tests.harsh import KINDS, make_harsh
from tests.test_family import RELATIVES, reduced

LENGTHS = (1, 2, 65, 301)
MOST = dict.fromkeys(KINDS, 2.0) | {"outlier channels": 3.0}
"""Where two channels hold all of the error, chance makes more of it."""


def error_ratio(case, kind="mild", lengths=LENGTHS):
    """How many times transformers' error ours is: rms over logits and states of all lengths."""
    ours = parity.build_ours(case)
    make_harsh(ours, kind)
    theirs, exact = parity.build_theirs(ours, case.config), copy.deepcopy(ours).double()
    errors = torch.zeros(2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(case.seed)
    for length in lengths:
        ids = torch.randint(1, 61, (1, length), generator=generator)
        output = parity.run_theirs(theirs, ids)
        sides = [parity.run_ours(ours, ids), (output.logits, output.hidden_states)]
        right, right_states = parity.run_ours(exact, ids)
        for side, (logits, states) in enumerate(sides):
            values, expected = [logits, *states], [right, *right_states]
            for value, other in zip(values, expected, strict=True):
                scale = float(other.square().mean())
                errors[side] += (value.double() - other).square().mean() / scale
    return float((errors[0] / errors[1]).sqrt())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", parity.CASES[:24:4], ids=str)
def test_our_error_is_at_most_twice_theirs(case, kind, record_property):
    ratio = error_ratio(case, kind)
    record_property("ratio", ratio)
    assert ratio <= MOST[kind]


@pytest.mark.parametrize("kind", ["mild", "outlier channels"])
@pytest.mark.parametrize("name", RELATIVES)
def test_every_relative_of_modernbert_too(name, kind, record_property):
    ratio = error_ratio(reduced(name, layers=2), kind, (1, 150))
    record_property("ratio", ratio)
    assert ratio <= 2


@pytest.mark.parametrize("kind", ["mild", "matrices x 3"])
def test_and_a_text_of_4096_tokens(kind, record_property):
    config = parity.draw_case(10).config | {"local_attention": 128, "num_hidden_layers": 2}
    config["layer_types"] = ["full_attention", "sliding_attention"]
    config["rope_parameters"] = {
        kind: {"rope_type": "default", "rope_theta": 1e4}
        for kind in ("full_attention", "sliding_attention")
    }
    ratio = error_ratio(parity.Case(1, config, (4096,), "right"), kind, (4096,))
    record_property("ratio", ratio)
    assert ratio <= 2
