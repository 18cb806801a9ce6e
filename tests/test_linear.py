"""The linear layer: whichever library makes the product, it is right, also after a change."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn import functional

import mbexplore
from mbexplore.network import linear
from mbexplore.network.activations import ACTIVATIONS
from mbexplore.network.linear import ROWS, GatedLinear, Linear, OneDnn, onednn


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_layer(terms, features=40, bias=True):
    """A layer with seeded weights whose products are near 1."""
    layer = Linear(terms, features, bias=bias).eval()
    with torch.no_grad():
        layer.weight.copy_(seeded(features, terms, seed=1) * terms**-0.5)
        if bias:
            layer.bias.copy_(seeded(features, seed=2))
    return layer


def error(found, x, layer):
    """Root mean square of the difference from the product in float64."""
    bias = 0.0 if layer.bias is None else layer.bias.double()
    exact = x.double() @ layer.weight.double().T + bias
    return float((found.double() - exact).square().mean().sqrt())


@pytest.fixture
def taken(monkeypatch):
    """Which kind of weights each of oneDNN's products took: "plain" or "packed"."""
    kernel, kinds = onednn(), []
    assert kernel is not None

    def product(x, weight, bias, *after):
        kinds.append("packed" if weight.is_mkldnn else "plain")
        return kernel.product(x, weight, bias, *after)

    monkeypatch.setattr(linear, "onednn", lambda: OneDnn(kernel.pack, product))
    return kinds


def test_weights_are_packed_once(monkeypatch):
    kernel, packed = onednn(), []

    def pack(weight):
        packed.append(weight)
        return kernel.pack(weight)

    monkeypatch.setattr(linear, "onednn", lambda: OneDnn(pack, kernel.product))
    layer, x = make_layer(96), seeded(ROWS, 96)
    with torch.no_grad():
        for _ in range(4):
            layer(x)
    assert len(packed) == 1


def test_this_build_of_torch_has_the_private_operators():
    assert (onednn() is not None) == torch.backends.mkldnn.is_available()


@pytest.mark.parametrize("terms", [96, 768, 1152, 2624])
@pytest.mark.parametrize("shape", [(1,), (3,), (ROWS,), (2, 100), (513,)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_at_most_twice_as_coarse_as_torch(terms, shape, bias):
    layer, x = make_layer(terms, bias=bias), seeded(*shape, terms)
    with torch.inference_mode():
        torchs = error(functional.linear(x, layer.weight, layer.bias), x, layer)
        for _ in ("plain weights", "packed", "packed before"):
            found = layer(x)
            assert found.shape == (*shape, 40)
            assert found.is_contiguous()
            assert error(found, x, layer) <= 2 * torchs


def test_weights_are_packed_when_they_are_used_again(taken):
    layer, x = make_layer(96), seeded(ROWS, 96)
    with torch.no_grad():
        for _ in range(3):
            layer(x)
        assert taken == ["plain", "packed", "packed"]
        layer(x[: ROWS - 1])
    assert len(taken) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.weight.mul_(2.0),
        lambda layer: layer.load_state_dict(make_layer(96, bias=False).state_dict()),
        lambda layer: setattr(layer, "weight", torch.nn.Parameter(seeded(40, 96, seed=9))),
        lambda layer: layer.double().float(),
        lambda layer: layer.bfloat16().float(),
    ],
)
def test_changed_weights_are_packed_anew(change, taken):
    layer, x = make_layer(96, bias=False), seeded(ROWS, 96)
    with torch.no_grad():
        layer(x), layer(x)
        change(layer)
        for _ in range(2):
            torch.testing.assert_close(layer(x), x @ layer.weight.T)
    assert taken == ["plain", "packed"] * 2


def test_weights_made_in_inference_mode_are_never_packed(taken):
    with torch.inference_mode():
        layer, x = make_layer(96), seeded(ROWS, 96)
        layer(x), layer(x)
        layer.weight.mul_(2.0)
        torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)
    assert taken == ["plain"] * 3


def test_the_same_with_gradients_as_without(taken):
    layer, x = make_layer(96), seeded(ROWS, 96)
    with_gradients = layer(x)
    with_gradients.sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum(0).expand(40, -1))
    assert not taken
    layer.requires_grad_(False)
    torch.testing.assert_close(layer(x), with_gradients)
    assert taken == ["plain"]
    of_input = x.clone().requires_grad_()
    layer(of_input).sum().backward()
    torch.testing.assert_close(of_input.grad, layer.weight.sum(0).expand(ROWS, -1))
    assert taken == ["plain"]


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_reach_whatever_wants_one(taken, bias):
    for wanted in ("x", "weight", *["bias"] * bias, None):
        layer, x = make_layer(96, bias=bias), seeded(ROWS, 96)
        parts = {"x": x, **dict(layer.named_parameters())}
        for name, part in parts.items():
            part.requires_grad_(name == wanted)
        found = layer(x)
        assert found.requires_grad == (wanted is not None)
        if wanted is not None:
            found.sum().backward()
            assert parts[wanted].grad.abs().sum() > 0
    assert taken == ["plain"]  # where nothing wanted one


def test_other_types_and_empty_inputs_are_torchs_own(taken):
    layer, x = make_layer(96), seeded(ROWS, 96)
    with torch.no_grad():
        assert layer(x[:0]).shape == (0, 40)
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert layer.double()(x.double()).dtype == torch.float64
        with pytest.raises(RuntimeError, match="dtype"):
            layer(x)
    assert not taken


def test_bfloat16_is_rounded_once_at_the_end(taken):
    layer, x = make_layer(768).bfloat16(), seeded(ROWS, 768).bfloat16()
    exact = x.double() @ layer.weight.double().T + layer.bias.double()
    with torch.no_grad():
        for _ in range(2):
            found = layer(x)
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=2**-10)
    assert taken == ["plain", "packed"]


def test_a_copy_packs_for_itself():
    layer, x = make_layer(96), seeded(ROWS, 96)
    with torch.no_grad():
        expected = layer(x), layer(x)
        for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            copied.weight.mul_(2.0).sub_(layer.weight)
            torch.testing.assert_close((copied(x), copied(x)), expected)
        torch.save(layer, io.BytesIO())


@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("_linear_pointwise", lambda *args: torch.zeros(2, 2)),
        ("_linear_pointwise", lambda *args: (_ for _ in ()).throw(RuntimeError("no operator"))),
        ("_reorder_linear_weight", lambda weight, rows: weight.flip(0)),  # the plain one is right
    ],
)
def test_without_the_operators_torchs_own_is_taken(name, broken, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, name, broken)
    onednn.cache_clear()
    try:
        assert onednn() is None
        layer, x = make_layer(96), seeded(ROWS, 96)
        with torch.no_grad():
            assert torch.equal(layer(x), functional.linear(x, layer.weight, layer.bias))
    finally:
        onednn.cache_clear()


def test_a_model_answers_the_same_when_its_weights_are_packed(taken):
    explorer = mbexplore.load("tiny", device="cpu")
    text = "The capital of France is [MASK], and the tide rises and the tide falls, as they say."
    first, second = (explorer.fill_masks(text).logits for _ in range(2))
    assert {"plain", "packed"} == set(taken)
    torch.testing.assert_close(second, first, rtol=0, atol=2e-5)


def make_gated(name, bias=True, dtype=torch.float32):
    layer = GatedLinear(96, 40, ACTIVATIONS[name], bias=bias).eval()
    with torch.no_grad():
        layer.weight.copy_(seeded(80, 96, seed=1) / 5)
        if bias:
            layer.bias.copy_(seeded(80, seed=2))
    return layer.to(dtype)


def gated(layer, x):
    """What it should give, in the dtype of `x`."""
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    inner, gate = functional.linear(x, layer.weight.to(x.dtype), bias).chunk(2, dim=-1)
    return layer.act(inner) * gate


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", ["gelu", "gelu_pytorch_tanh", "silu"])
def test_a_gated_layer_is_at_most_twice_as_coarse_as_torch(name, bias, dtype):
    layer = make_gated(name, bias, dtype)
    for shape in ((0,), (3,), (ROWS,), (2, 100)):
        x = (3 * seeded(*shape, 96)).to(dtype)
        exact = gated(layer, x.double())
        most_apart = 2 * (gated(layer, x).double() - exact).abs().amax() if x.numel() else 0.0
        with torch.no_grad():
            for _ in ("plain weights", "packed", "packed before"):
                found = layer(x)
                assert found.shape == exact.shape and found.dtype == dtype
                assert ((found.double() - exact).abs() <= most_apart).all()


def test_a_gated_layer_is_packed_by_halves_and_anew_when_it_changes(taken):
    layer, x = make_gated("gelu"), seeded(ROWS, 96)
    with torch.no_grad():
        for change in (lambda: None, lambda: layer.weight[40:].mul_(2), lambda: layer.bias.add_(1)):
            change()
            for _ in range(2):
                torch.testing.assert_close(layer(x), gated(layer, x), rtol=1e-4, atol=1e-4)
    # A bias is given to each product, so the weights stay packed where only that one changed.
    assert taken == ["plain"] * 2 + ["packed"] * 2 + ["plain"] * 2 + ["packed"] * 6


@pytest.mark.parametrize("make", [make_layer, lambda terms: make_gated("gelu")])
def test_a_compiler_and_an_export_see_torchs_product_alone(make):
    layer, x = make(96).requires_grad_(False), seeded(ROWS, 96)
    onednn.cache_clear()  # as in a process that has computed nothing yet
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x), rtol=1e-4, atol=1e-4)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), layer(x), rtol=1e-4, atol=1e-4)
