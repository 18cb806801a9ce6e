"""The side of ONNX Runtime and of OpenVINO, on what `export` wrote. Loads no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mbexplore.bench.inputs import FEATURES, LOGITS, make_batch, make_ids
from mbexplore.network.config import ModernBertConfig

Floats = NDArray[np.float32]
Run = Callable[[], Floats]
Integers = NDArray[np.int64]
Session = Callable[[dict[str, Integers]], Floats]


def open_onnxruntime(path: Path, precision: str = "f32") -> Session:
    """A session on the processor with as many threads as torch takes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)[0]


def open_openvino(path: Path, precision: str = "f32") -> Session:
    """The same with OpenVINO; the precision is "f32" or "bf16"."""
    import openvino

    compiled = openvino.Core().compile_model(
        path,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads(),
            "PERFORMANCE_HINT": "LATENCY",
        },
    )
    request = compiled.create_infer_request()
    return lambda inputs: request.infer(inputs)[0].astype(np.float32)


def threads() -> int:
    """What the environment allows, as for torch."""
    return int(os.environ.get("OMP_NUM_THREADS", "") or os.cpu_count() or 1)


def features(opened: Callable[..., Session], folder: Path, tokens: int, **options: str) -> Run:
    """Hidden states of one text."""
    session, ids = opened(folder / FEATURES, **options), _ids(folder, tokens)
    return lambda: session({"input_ids": ids})[0]


def forward(opened: Callable[..., Session], folder: Path, tokens: int) -> Run:
    """Logits at the middle of one text."""
    session, ids = opened(folder / LOGITS), _ids(folder, tokens)
    inputs = {"input_ids": ids, "positions": np.array([tokens // 2])}
    return lambda: session(inputs)[0]


def logits(opened: Callable[..., Session], folder: Path, tokens: int) -> Run:
    """Logits of every token of one text."""
    session, ids = opened(folder / LOGITS), _ids(folder, tokens)
    inputs = {"input_ids": ids, "positions": np.arange(tokens)}
    return lambda: session(inputs)[0]


def batch(opened: Callable[..., Session], folder: Path, tokens: int) -> Run:
    """Logits at the middle of each of 64 texts, one text after the other: nothing is padded."""
    session = opened(folder / LOGITS)
    texts = make_batch(tokens, ModernBertConfig.from_folder(folder).vocab_size)
    inputs = [
        {"input_ids": np.array([text]), "positions": np.array([len(text) // 2])} for text in texts
    ]
    return lambda: np.concatenate([session(each)[0] for each in inputs])


def _ids(folder: Path, tokens: int) -> Integers:
    return np.array([make_ids(tokens, ModernBertConfig.from_folder(folder).vocab_size)])


TASKS: Mapping[str, Callable[[Path, int], Run]] = {
    f"{name} {work.__name__}": partial(work, opened)
    for name, opened in (("onnxruntime", open_onnxruntime), ("openvino", open_openvino))
    for work in (features, forward, logits, batch)
} | {"openvino bfloat16": partial(features, open_openvino, precision="bf16")}
