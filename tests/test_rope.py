"""Rotary position embedding against its definition with complex numbers."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mbexplore.network.rope import apply_rope, inverse_frequencies, rope_tables

CPU = torch.device("cpu")


def tables(theta=10_000.0, head_dim=8, length=20, dtype=torch.float64):
    return rope_tables(theta, head_dim, length, dtype, CPU)


@given(st.floats(2, 1e6), st.integers(1, 64))
def test_frequencies_fall_from_one_towards_one_over_theta(theta, pairs):
    frequencies = inverse_frequencies(theta, 2 * pairs)
    expected = [theta ** (-m / pairs) for m in range(pairs)]
    torch.testing.assert_close(frequencies, torch.tensor(expected), rtol=1e-5, atol=0)


def test_a_pair_turns_as_a_complex_number():
    x = torch.randn(20, 8, dtype=torch.float64)
    angles = torch.outer(torch.arange(20.0), inverse_frequencies(10_000.0, 8)).double()
    turned = torch.complex(x[:, :4], x[:, 4:]) * torch.exp(1j * angles)
    expected = torch.cat((turned.real, turned.imag), dim=1)
    torch.testing.assert_close(apply_rope(x, *tables()), expected, rtol=0, atol=1e-6)


def test_position_zero_is_left_alone():
    x = torch.randn(1, 8)
    torch.testing.assert_close(apply_rope(x, *tables(length=1)), x)


@pytest.mark.parametrize("shift", [1, 7, 500])
def test_a_score_depends_on_the_distance_alone(shift):
    q, k = torch.randn(2, 8, dtype=torch.float64)
    cos, sin = tables(length=shift + 10)

    def score(i, j):
        return apply_rope(q, cos[i], sin[i]) @ apply_rope(k, cos[j], sin[j])

    torch.testing.assert_close(score(3, 8), score(3 + shift, 8 + shift), rtol=0, atol=1e-4)


def test_lengths_are_kept():
    x = torch.randn(2, 3, 20, 8, dtype=torch.float64)
    torch.testing.assert_close(apply_rope(x, *tables()).norm(dim=-1), x.norm(dim=-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_tables_are_float32_for_narrow_models(dtype):
    cos, sin = tables(dtype=dtype)
    assert cos.dtype == sin.dtype == torch.float32
    assert apply_rope(torch.randn(20, 8).to(dtype), cos, sin).dtype == dtype


def test_tables_hold_float32_angles():
    cos, _ = tables(theta=10_000.0, head_dim=2, length=8192)
    assert cos[8191, 0].item() == pytest.approx(math.cos(8191), abs=1e-6)


def test_tables_made_in_inference_mode_serve_a_later_backward_pass():
    with torch.inference_mode():
        cos, sin = tables(theta=123.0)
    x = torch.randn(20, 8, requires_grad=True)
    apply_rope(x, cos, sin).sum().backward()
    assert x.grad is not None


def test_every_pair_turns_as_a_complex_number():
    x, (cos, sin) = torch.randn(2, 3, 20, 8, dtype=torch.float64), tables()
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.complex(cos, sin)
    torch.testing.assert_close(
        apply_rope(x, cos, sin), torch.cat((turned.real, turned.imag), -1), rtol=0, atol=1e-12
    )
    assert apply_rope(x.bfloat16(), *tables(dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_gradient_of_turning_is_right():
    x = torch.randn(2, 20, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: apply_rope(x, *tables(dtype=x.dtype)), (x,))
    assert torch.autograd.gradcheck(lambda x: apply_rope(x.mT, *tables(dtype=x.dtype)), (x.mT,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_turning_is_the_same_to_the_bit_with_gradients_and_without(dtype):
    joint = torch.randn(2, 11, 3, 3, 8, dtype=dtype)  # (batch, seq, 3, heads, head_dim)
    x = joint.permute(2, 0, 3, 1, 4)[0]
    cos, sin = rope_tables(1e4, 8, 11, dtype, x.device)
    with torch.no_grad():
        plain = apply_rope(x, cos, sin)
    assert plain.dtype == dtype and plain.is_contiguous()
    assert torch.equal(apply_rope(x, cos, sin), plain)
    assert torch.equal(joint.permute(2, 0, 3, 1, 4)[0], x)  # what was given is left alone
