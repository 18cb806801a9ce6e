"""Our side of every piece of work. Each function loads what it needs and returns what is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mbexplore.bench.inputs import make_batch, make_ids
from mbexplore.bench.result import PARTS
from mbexplore.checkpoints.model import open_model
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.network.linear import Linear
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.network.packing import run_packed
from mbexplore.recorder import DEFAULT_KEEP, record
from mbexplore.recording import Recording

Run = Callable[[], Tensor]


def forward(folder: Path, tokens: int) -> Run:
    """Logits at the middle of one text."""
    model, ids = _open(folder), _encoding(folder, tokens).ids
    queries = torch.tensor([tokens // 2])

    def run() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(torch.tensor([ids]), query_positions=queries)[0]
        return logits

    return run


def logits(folder: Path, tokens: int) -> Run:
    """Logits of every token of one text."""
    model, ids = _open(folder), _encoding(folder, tokens).ids

    def run() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(torch.tensor([ids]))[0]
        return logits

    return run


def features(folder: Path, tokens: int, dtype: torch.dtype = torch.float32) -> Run:
    """Hidden states of one text, all positions, the encoder alone."""
    encoder, ids = _open(folder, dtype).encoder, _encoding(folder, tokens).ids

    def run() -> Tensor:
        with torch.inference_mode():
            hidden_states: Tensor = encoder(torch.tensor([ids]))[0]
        return hidden_states.float()

    return run


def batch(folder: Path, tokens: int) -> Run:
    """Logits at the middle of 64 texts of 10 to `tokens` tokens."""
    model = _open(folder)
    texts = make_batch(tokens, model.config.vocab_size)
    middles = [[len(text) // 2] for text in texts]
    return lambda: torch.cat(list(run_packed(model, texts, middles)))


def record_attention(folder: Path, tokens: int) -> Run:
    """A recording of rotated queries and keys."""
    model, encoding = _open(folder), _encoding(folder, tokens)
    return lambda: _logits(record(model, encoding, ("attention",)))


def record_everything(folder: Path, tokens: int) -> Run:
    """A recording of all that `record` keeps by itself."""
    model, encoding = _open(folder), _encoding(folder, tokens)
    return lambda: _logits(record(model, encoding, DEFAULT_KEEP))


def every_map(folder: Path, tokens: int, keep: Sequence[str] = DEFAULT_KEEP) -> Run:
    """A recording of everything, and every attention map made dense once, a head at a time."""
    model, encoding = _open(folder), _encoding(folder, tokens)
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads

    def run() -> Tensor:
        recording = record(model, encoding, keep)
        middles = [
            recording.attention(layer, head)[0, tokens // 2].clone()
            for layer in range(layers)
            for head in range(heads)
        ]
        return torch.cat([_logits(recording).flatten(), *middles])

    return run


def tile(folder: Path, tokens: int) -> Run:
    """256 x 256 weights of all heads of the last global layer, exactly."""
    recording, layer = _recorded_global(folder, tokens)
    part = slice(tokens // 2, tokens // 2 + 256)
    return lambda: recording.attention(layer, queries=part, keys=part)


def pooled_picture(folder: Path, tokens: int) -> Run:
    """The picture of a whole map of one global head, pooled to its pixels."""
    from mbexplore.analysis.maps import layer_map

    recording, layer = _recorded_global(folder, tokens)
    return lambda: torch.from_numpy(layer_map(recording, layer, 0).weights)


def parts(folder: Path, tokens: int) -> Run:
    """Where a forward pass spends its time: (part, 2) seconds and floating-point operations."""
    model, ids = _open(folder), _encoding(folder, tokens).ids
    assert isinstance(model, ModernBertForMaskedLM)
    queries = torch.tensor([tokens // 2])
    watch = Stopwatch()
    for module in model.modules():
        if isinstance(module, Linear):
            is_head = module is model.head.dense or module is model.decoder
            watch.follow(module, "head" if is_head else "linear layers")

    def run() -> Tensor:
        watch.clear()
        start = time.perf_counter()
        with torch.inference_mode(), watch:
            model(torch.tensor([ids]), query_positions=queries)
        rest = time.perf_counter() - start - sum(seconds for seconds, _ in watch.parts.values())
        return torch.tensor([*watch.parts.values(), (rest, 0.0)], dtype=torch.float64)

    return run


def ceiling(folder: Path, tokens: int) -> Run:
    """One matrix product of 2 * tokens ** 3 operations: what this machine can do at best."""
    x, layer = torch.randn(tokens, tokens), Linear(tokens, tokens, bias=False)

    def run() -> Tensor:
        with torch.inference_mode():
            output: Tensor = layer(x)
        return output

    return run


class Stopwatch(TorchFunctionMode):
    """Times the matrix products of what runs inside it, in the order of `result.PARTS`.

    Attributes:
        parts: seconds and operations by part; "the rest" is what the caller finds beside them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clear()

    def clear(self) -> None:
        """Back to nothing."""
        self.parts = dict.fromkeys(PARTS[:-1], (0.0, 0.0))

    def follow(self, module: Linear, part: str) -> None:
        """Adds the time of a layer to a part, from now on."""
        forward = module.forward

        def timed(input: Tensor) -> Tensor:
            start = time.perf_counter()
            output = forward(input)
            self._add(part, start, 2.0 * input.numel() * module.out_features)
            return output

        module.forward = timed  # type: ignore[method-assign]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs the function; adds its time to the part it belongs to, if it is attention."""
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        start = time.perf_counter()
        output = func(*args, **kwargs)
        name = "global attention" if kwargs.get("attn_mask") is None else "local attention"
        self._add(name, start, 4.0 * args[0].numel() * args[1].shape[-2])
        return output

    def _add(self, name: str, start: float, operations: float) -> None:
        seconds, before = self.parts[name]
        self.parts[name] = (seconds + time.perf_counter() - start, before + operations)


TASKS: dict[str, Callable[[Path, int], Run]] = {
    "features": features,
    "bfloat16": partial(features, dtype=torch.bfloat16),
    "forward": forward,
    "logits": logits,
    "batch": batch,
    "record attention": record_attention,
    "record everything": record_everything,
    "every map": every_map,
    "attention and every map": partial(every_map, keep=("attention",)),
    "tile": tile,
    "pooled picture": pooled_picture,
    "parts": parts,
    "ceiling": ceiling,
}


def _open(folder: Path, dtype: torch.dtype = torch.float32) -> PretrainedModel:
    return open_model(folder, dtype=dtype, device=torch.device("cpu"))


def _encoding(folder: Path, tokens: int) -> Encoding:
    """A text of random tokens, asked about in the middle; its words do not matter here."""
    from mbexplore.network.config import ModernBertConfig

    ids = tuple(make_ids(tokens, ModernBertConfig.from_folder(folder).vocab_size))
    return Encoding(
        text="x" * tokens,
        ids=ids,
        tokens=("x",) * tokens,
        offsets=tuple((i, i + 1) for i in range(tokens)),
        words=(0,) * tokens,
        mask_positions=(tokens // 2,),
        full_length=tokens,
    )


def _logits(recording: Recording) -> Tensor:
    assert recording.logits is not None
    return recording.logits


def _recorded_global(folder: Path, tokens: int) -> tuple[Recording, int]:
    model = _open(folder)
    recording = record(model, _encoding(folder, tokens), ("attention",))
    kinds = model.config.layer_kinds
    return recording, max(i for i, kind in enumerate(kinds) if kind == "global")
