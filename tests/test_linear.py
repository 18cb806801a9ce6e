"""The faster products: MKL's sums by default, whole rows where they are asked for."""

import pytest
import torch
from torch.nn import functional

import mbexplore
from mbexplore.network.linear import (
    FAST,
    FEW,
    HEIGHT,
    SUM,
    WIDTH,
    WORTH,
    Linear,
    linear,
    mkl_is_slow,
    onednn_product,
)
from tests.cli_runner import run_cli


@pytest.fixture
def counted(monkeypatch):
    """Counts how often oneDNN's product is taken."""
    product, taken = onednn_product(), []
    if product is None:
        pytest.skip("this build of torch has no oneDNN product")

    def count(*args):
        taken.append(args)
        return product(*args)

    monkeypatch.setattr("mbexplore.network.linear.onednn_product", lambda: count)
    return taken


@pytest.fixture
def calls(counted, monkeypatch):
    """The same, where the fastest product is asked for."""
    monkeypatch.setenv(FAST, "1")
    return counted


@pytest.fixture
def slow_mkl(monkeypatch):
    """As on a processor whose vectors MKL leaves unused."""
    monkeypatch.setattr("mbexplore.network.linear.mkl_is_slow", lambda: True)


def error(found, exact):
    """Root mean square of the difference."""
    return float((found.double() - exact).square().mean().sqrt())


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


@pytest.mark.parametrize(
    ("rows", "terms", "bias"), [(WORTH, 4 * SUM, False), (700, 6 * SUM, True), (301, 2 * SUM, True)]
)
def test_a_large_product_is_summed_as_mkl_sums_it(rows, terms, bias, counted, slow_mkl):
    x, weight = torch.randn(1, rows, terms), torch.randn(512, terms)
    added = torch.randn(512) if bias else None
    exact = x.double() @ weight.double().T + (added.double() if bias else 0.0)
    with torch.no_grad():
        found, plain = linear(x, weight, added), functional.linear(x, weight, added)
    assert len(counted) == terms // SUM * -(-rows // HEIGHT)
    assert found.shape == plain.shape
    assert error(found, exact) <= 1.01 * error(plain, exact)


@pytest.mark.parametrize("rows", [WORTH, HEIGHT + 1, 301, 4 * HEIGHT + 3])
@pytest.mark.parametrize("terms", [2 * SUM, 4 * SUM, 6 * SUM])
@pytest.mark.parametrize("bias", [True, False])
def test_on_such_a_processor_it_is_mkls_answer_to_the_bit(rows, terms, bias, counted):
    if not mkl_is_slow():
        pytest.skip("not an AMD processor with AVX-512")
    x, weight = torch.randn(rows, terms), torch.randn(WIDTH + 96, terms)
    added = torch.randn(len(weight)) if bias else None
    with torch.no_grad():
        assert torch.equal(linear(x, weight, added), functional.linear(x, weight, added))
    assert counted


@pytest.mark.parametrize("rows", range(1, FEW + 1))
@pytest.mark.parametrize("terms", [256, 768, 1024])
@pytest.mark.parametrize("bias", [True, False])
def test_a_few_rows_are_summed_as_finely_as_mkl_sums_them(rows, terms, bias, slow_mkl):
    x, weight = torch.randn(1, rows, terms), torch.randn(4000, terms)
    added = torch.randn(4000) if bias else None
    exact = x.double() @ weight.double().T + (added.double() if bias else 0.0)
    with torch.no_grad():
        found, plain = linear(x, weight, added), functional.linear(x, weight, added)
    assert found.shape == plain.shape
    assert found.is_contiguous()
    assert error(found, exact) <= 1.05 * error(plain, exact)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (2, 0)], ids=str)
def test_a_product_keeps_its_leading_dimensions(shape, slow_mkl):
    x, weight = torch.randn(*shape, 256), torch.randn(10, 256)
    with torch.no_grad():
        torch.testing.assert_close(linear(x, weight), functional.linear(x, weight))


@pytest.mark.parametrize(
    ("rows", "terms"), [(WORTH - 1, 4 * SUM), (WORTH, 4 * SUM + 1), (WORTH, SUM)]
)
def test_other_products_are_torchs_own(rows, terms, counted, slow_mkl):
    x, weight = torch.randn(rows, terms), torch.randn(8, terms)
    with torch.no_grad():
        assert torch.equal(linear(x, weight), functional.linear(x, weight))
    assert not counted


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
