"""Models in ONNX Runtime and in OpenVINO, on the processor."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbexplore.errors import ModelError
from mbexplore.reference.ports.implementation import Arrays, Implementation, Precision, Unable
from mbexplore.reference.ports.suite import Case
from mbexplore.text import quoted, shortened


def _imported(package: str) -> Any:
    """A package of the extra "bench"."""
    try:
        return import_module(package)
    except ImportError:
        raise ModelError(
            f"Comparing with this file needs the package {package}; pip install 'mbexplore[bench]'."
        ) from None


class OnnxModel(Implementation):
    """A model in ONNX Runtime, on the processor."""

    def __init__(self, path: Path) -> None:
        onnxruntime = _imported("onnxruntime")
        try:
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes differ from release to release
            raise unreadable(path, error) from None
        self.name = f"{path.name} in ONNX Runtime {onnxruntime.__version__}"
        self.precision = _onnx_precision(path)
        self._inputs = {one.name: one for one in self._session.get_inputs()}
        self._outputs = [one.name for one in self._session.get_outputs()]

    def run(self, case: Case) -> Arrays:
        """See `Implementation`."""
        given = _inputs_for(self._inputs, case)
        _check_shapes({name: one.shape for name, one in self._inputs.items()}, given)
        try:
            return dict(zip(self._outputs, self._session.run(None, given), strict=True))
        except Exception as error:
            raise failed(self.name, case, error) from None


class OpenVinoModel(Implementation):
    """A model in OpenVINO, on the processor, computed in float32."""

    def __init__(self, path: Path) -> None:
        openvino = _imported("openvino")
        try:
            model = openvino.Core().read_model(path)
            self._model = openvino.Core().compile_model(
                model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
            )
        except RuntimeError as error:
            raise unreadable(path, error) from None
        self.name = f"{path.name} in OpenVINO {openvino.__version__.split('-')[0]}"
        types = {str(node.get_element_type()) for node in model.get_ops()
                 if node.get_type_name() == "Constant" and node.get_output_size() > 2}  # fmt: skip
        self._inputs = {one.any_name: one for one in self._model.inputs}
        if any("i8" in one or "u8" in one for one in types):
            self.precision = "int8"
        elif any("f16" in one for one in types):
            self.precision = "float16"

    def run(self, case: Case) -> Arrays:
        """See `Implementation`."""
        given = _inputs_for(self._inputs, case)
        shapes = {name: [d.get_length() if d.is_static else None for d in one.partial_shape]
                  for name, one in self._inputs.items()}  # fmt: skip
        _check_shapes(shapes, given)
        try:
            found = self._model(given)
        except RuntimeError as error:
            raise failed(self.name, case, error) from None
        return {
            next(iter(one.names), "output"): np.array(found[one]) for one in self._model.outputs
        }


def _inputs_for(names: Mapping[str, Any], case: Case) -> dict[str, NDArray[np.int64]]:
    """What a model's inputs are called, and what goes in.

    Raises:
        Unable: the model takes no attention mask, and there is padding.
        ModelError: it has an input that nothing is known of.
    """
    ids = case.ids.numpy()
    if case.is_padded and "attention_mask" not in names:
        raise Unable("it takes no attention mask")
    known = {
        "input_ids": ids,
        "attention_mask": case.mask.numpy(),
        "token_type_ids": np.zeros_like(ids),
        "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None].repeat(len(ids), 0),
        "positions": np.arange(ids.shape[1], dtype=np.int64),
    }
    unknown = sorted(names.keys() - known.keys())
    if unknown:
        raise ModelError(
            f"The model has an input {quoted(unknown[0])}; export it with {', '.join(known)} alone."
        )
    return {name: known[name] for name in names}


def _check_shapes(shapes: Mapping[str, list[Any]], given: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuses a case that a model of fixed shape can't take."""
    for name, array in given.items():
        for size, fixed in zip(array.shape, shapes[name], strict=False):
            if isinstance(fixed, int) and fixed > 0 and fixed != size:
                shape = "batch" if array.shape[0] == size else "length"
                raise Unable(f"its {shape} is fixed at {fixed}")


def _onnx_precision(path: Path) -> Precision:
    """What the weights are held in, where the package onnx is there to tell."""
    try:
        import onnx
    except ImportError:
        return "float32"
    graph = onnx.load(path, load_external_data=False).graph
    if any("Integer" in node.op_type or "Quantize" in node.op_type for node in graph.node):
        return "int8"
    large = {one.data_type for one in graph.initializer if len(one.dims) == 2}
    types = onnx.TensorProto
    if types.BFLOAT16 in large:
        return "bfloat16"
    return "float16" if types.FLOAT16 in large and types.FLOAT not in large else "float32"


def unreadable(path: Path, error: Exception) -> ModelError:
    """The sentence about a file that can't be read."""
    reason = shortened(" ".join(str(error).split()), 300)
    return ModelError(f"{path} can't be read ({reason}); export or save it again.")


def failed(name: str, case: Case, error: BaseException) -> ModelError:
    """The sentence about another side that raises."""
    reason = shortened(" ".join(str(error).split()) or type(error).__name__, 300)
    return ModelError(f"{name} fails on {case.name} ({reason}); mend it, or leave it out.")
