"""The faster product: the same numbers to rounding, and only where it is asked for."""

import pytest
import torch

import mbexplore
from mbexplore.linear import FAST, Linear, linear, onednn_product
from tests.cli_runner import run_cli


@pytest.fixture
def calls(monkeypatch):
    """Asks for the faster product, and counts how often it is taken."""
    monkeypatch.setenv(FAST, "1")
    product, taken = onednn_product(), []
    if product is None:
        pytest.skip("this build of torch has no oneDNN product")

    def counted(*args):
        taken.append(args)
        return product(*args)

    monkeypatch.setattr("mbexplore.linear.onednn_product", lambda: counted)
    return taken


@pytest.mark.parametrize("shape", [(1,), (5,), (2, 700)])
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_same_product(shape, bias, calls):
    x, weight = torch.randn(*shape, 96), torch.randn(40, 96)
    added = torch.randn(40) if bias else None
    exact = x.double() @ weight.double().T + (added.double() if bias else 0.0)
    with torch.no_grad():
        found = linear(x, weight, added)
    assert len(calls) == 1
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=2e-5)


def test_gradients_and_other_types_take_torchs_own(calls):
    layer, x = Linear(6, 4), torch.randn(3, 6)
    layer(x).sum().backward()
    assert layer.weight.grad is not None
    with torch.no_grad():
        assert layer.double()(x.double()).dtype == torch.float64
        assert layer.float()(x[:0]).shape == (0, 4)
    assert not calls


def test_nobody_gets_it_unasked(calls, monkeypatch):
    monkeypatch.delenv(FAST)
    with torch.no_grad():
        Linear(6, 4)(torch.randn(3, 6))
    assert not calls


def test_a_model_answers_the_same_with_it(calls, monkeypatch):
    explorer = mbexplore.load("tiny", device="cpu")
    fast = explorer.predict("The capital of France is [MASK].").logits
    assert calls
    monkeypatch.delenv(FAST)
    plain = explorer.predict("The capital of France is [MASK].").logits
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-4)


def test_the_command_line_asks_for_it(monkeypatch, calls):
    monkeypatch.delenv(FAST)
    assert run_cli("--fast", "predict", "Paris is a [MASK].", "--no-hf").code == 0
    assert calls
