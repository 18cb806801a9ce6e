"""A device without float64, as Apple's mps is, made of main memory.

Tensors on it say so; every operation on them runs on the CPU underneath. As on
the real one, a result in float64 or complex128 is an error, and so is a CPU tensor among them.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("fake")
DEVICE = torch.device("fake", 0)
WIDE = (torch.float64, torch.complex128)


class OnDevice(torch.Tensor):
    """A tensor on the fake device."""

    @staticmethod
    def __new__(cls, inner):
        if inner.dtype in WIDE:
            raise TypeError(f"The device has no {inner.dtype}.")
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=DEVICE, requires_grad=False,
        )  # fmt: skip

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"OnDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func, args, kwargs):
    """The operation on the CPU, its results on the device it was asked for."""
    flat, _ = tree_flatten((args, kwargs))
    there = [one for one in flat if isinstance(one, OnDevice)]
    here = [one for one in flat if isinstance(one, torch.Tensor) and not isinstance(one, OnDevice)]
    name = func.__name__
    moves = name.startswith(("_to_copy", "copy_"))
    if there and not moves and not name.startswith("index") and any(one.dim() for one in here):
        raise RuntimeError(f"{name} of tensors on the device and on the CPU.")
    device = kwargs.get("device")
    to_device = bool(there) if device is None else torch.device(device).type == DEVICE.type
    if name.startswith("copy_"):
        to_device = isinstance(args[0], OnDevice)
    if device is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain = tree_map(lambda x: x.inner if isinstance(x, OnDevice) else x, (args, kwargs))
    result = func(*plain[0], **plain[1])
    if not to_device:
        return result
    if name.endswith("_") or name.split(".")[0].endswith("_") or "out" in kwargs:
        return args[0] if "out" not in kwargs else kwargs["out"]
    return tree_map(lambda x: OnDevice(x) if isinstance(x, torch.Tensor) else x, result)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


class _Constructors(TorchFunctionMode):
    """What asks no dispatch mode."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist and isinstance(args[0], OnDevice):
            return args[0].inner.tolist()
        picks = func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__)
        if picks and isinstance(args[0], OnDevice):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            return func(args[0], tuple(map(_as_index, index)), *args[2:])
        device = kwargs.get("device")
        if func not in (torch.tensor, torch.as_tensor) or device is None:
            return func(*args, **kwargs)
        return func(*args, **kwargs | {"device": "cpu"}).to(device)


def _as_index(index):
    return torch.tensor(index) if isinstance(index, list) else index


@contextmanager
def fake_device():
    """Inside it tensors can be made on the device."""
    with _Operations(), _Constructors():
        yield


def move(model):
    """Puts a model's parameters on the device."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                moved = OnDevice(parameter.detach())
                module._parameters[name] = torch.nn.Parameter(moved)
    return model
