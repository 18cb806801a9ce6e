"""How a sentence-transformers folder makes vectors: modules.json and what it names.

Reimers and Gurevych 2019, "Sentence-BERT" (arXiv:1908.10084). After the encoder come a pooling and
maybe dense layers and a normalisation; a prompt may stand before each text. What can't be computed
is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from mbexplore.checkpoints.folder import (
    LIMITS_FILE,
    MODULES_FILE,
    PROMPTS_FILE,
    WEIGHTS_FILE,
    read_modules,
)
from mbexplore.errors import ModelError
from mbexplore.reading import check_regular, read_json, read_optional_json
from mbexplore.text import quoted

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""In the order in which sentence-transformers joins the vectors of several."""
_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": torch.tanh,
    "ReLU": F.relu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Sigmoid": torch.sigmoid,
}


@dataclass(frozen=True, eq=False)
class Dense:
    """A linear layer after the pooling, with its activation."""

    weight: Tensor  # (out, in)
    bias: Tensor | None  # (out,)
    activation: str

    def __call__(self, vector: Tensor) -> Tensor:
        """(in,) to (out,).

        Raises:
            ModelError: the vector has another size.
        """
        if self.weight.dim() != 2 or self.weight.shape[1] != len(vector):
            raise ModelError(
                f"A dense layer takes {self.weight.shape[-1]} numbers and gets {len(vector)}; use "
                "the module's files that belong to this model."
            )
        weight = self.weight.to(vector)
        bias = None if self.bias is None else self.bias.to(vector)
        made: Tensor = _ACTIVATIONS[self.activation](F.linear(vector, weight, bias))
        return made


@dataclass(frozen=True, eq=False)
class SentenceModel:
    """What stands between a text's hidden states and its vector.

    Attributes:
        poolings: of `POOLINGS`; the vectors of several stand side by side.
        dense: layers after the pooling.
        is_normalized: whether the vector gets length 1 at the end.
        prompts: what may stand before a text, by name.
        default_prompt: name of the one that stands there if none is asked for.
        includes_prompt: whether the prompt's own tokens are pooled too.
        most_tokens: longer texts are cut; None for as many as the model takes.
    """

    poolings: tuple[str, ...] = ("mean",)
    dense: tuple[Dense, ...] = ()
    is_normalized: bool = False
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    includes_prompt: bool = True
    most_tokens: int | None = None

    @property
    def description(self) -> str:
        """The steps in words, as "cls, dense to 16, normalized"."""
        steps = [" and ".join(self.poolings)]
        steps += [f"dense to {len(layer.weight)}" for layer in self.dense]
        return ", ".join(steps + ["normalized"] * self.is_normalized)

    def vector(self, hidden_states: Tensor, prompt_length: int = 0) -> Tensor:
        """The vector of one text.

        Args:
            hidden_states: after the final norm, (seq, hidden).
            prompt_length: tokens at the start that are left out of pooling, but for "cls".
        """
        wide = hidden_states.to(torch.promote_types(hidden_states.dtype, torch.float32))
        vector = torch.cat([pool(wide, name, prompt_length) for name in self.poolings])
        for layer in self.dense:
            vector = layer(vector)
        if self.is_normalized:
            vector = vector / torch.linalg.vector_norm(vector).clamp(min=1e-12)
        return vector


def pool(hidden_states: Tensor, pooling: str, start: int = 0) -> Tensor:
    """One vector (hidden) of a text's hidden states (seq, hidden), from token `start` on."""
    rest = hidden_states[start:]
    if pooling == "cls":
        return hidden_states[0]
    if pooling == "lasttoken":
        return rest[-1]
    if pooling == "max":
        return rest.amax(dim=0)
    if pooling == "weightedmean":
        weights = torch.arange(start, len(hidden_states)).to(rest) + 1
        return weights @ rest / weights.sum()
    if pooling == "mean_sqrt_len_tokens":
        return rest.sum(dim=0) / math.sqrt(len(rest))
    return rest.mean(dim=0)


def read_sentence_model(folder: Path) -> SentenceModel | None:
    """How a folder makes sentence vectors; None where it does not say.

    Raises:
        ModelError: a file can't be read, or asks for a module that isn't computed here.
    """
    modules = read_modules(folder)
    if not modules:
        return None
    poolings: tuple[str, ...] = ()
    dense: list[Dense] = []
    is_normalized, includes_prompt = False, True
    for kind, path in modules[1:]:
        if is_normalized and kind != "Dropout":
            raise ModelError(f"{folder / MODULES_FILE} has a module after Normalize; take it out.")
        if kind == "Pooling":
            values = _config(folder, path)
            poolings = _read_poolings(folder / path, values)
            includes_prompt = values.get("include_prompt", True) is not False
        elif kind == "Dense" and poolings:
            dense.append(_read_dense(folder / path, _config(folder, path)))
        elif kind == "Normalize":
            is_normalized = True
        elif kind != "Dropout":
            raise ModelError(
                f"{folder / MODULES_FILE} asks for the module {quoted(kind)} here, and mbexplore "
                "computes one Pooling, then Dense and Normalize; choose a pooling yourself."
            )
    if not poolings:
        raise ModelError(f"{folder / MODULES_FILE} has no Pooling; choose a pooling yourself.")
    return SentenceModel(
        poolings,
        tuple(dense),
        is_normalized,
        *_read_prompts(folder),
        includes_prompt,
        _read_limit(folder),
    )


def _config(folder: Path, path: str) -> dict[str, Any]:
    try:
        return read_json(folder / path / "config.json")
    except FileNotFoundError:
        raise ModelError(
            f"{folder / path} has no config.json, and {MODULES_FILE} names it; copy it again."
        ) from None


def _read_poolings(folder: Path, values: Mapping[str, Any]) -> tuple[str, ...]:
    mode = values.get("pooling_mode")
    modes = [mode] if isinstance(mode, str) else list(mode) if isinstance(mode, list) else []
    if not modes:  # without a word, a mean counts as asked for
        usual = {"pooling_mode_mean_tokens": True} | dict(values)
        modes = [name for key, name in _OLD_KEYS.items() if usual.get(key) is True]
    unknown = [name for name in modes if name not in POOLINGS]
    known = {*_OLD_KEYS, "pooling_mode"}
    unknown += [key for key in values if key.startswith("pooling_mode") and key not in known]
    if unknown or not modes:
        raise ModelError(
            f"{folder / 'config.json'} asks for the pooling {quoted((unknown or [None])[0])}; "
            f"open a model with {', '.join(POOLINGS)}."
        )
    return tuple(name for name in POOLINGS if name in modes)


def _read_dense(folder: Path, values: Mapping[str, Any]) -> Dense:
    activation = str(values.get("activation_function", "Tanh")).rpartition(".")[2].rstrip("()")
    if activation not in _ACTIVATIONS:
        raise ModelError(
            f"{folder / 'config.json'} asks for the activation {quoted(activation)}; open a "
            f"model with {', '.join(_ACTIVATIONS)}."
        )
    path = folder / WEIGHTS_FILE
    try:
        check_regular(path)
        tensors = load_file(path)
        weight, bias = tensors["linear.weight"], tensors.get("linear.bias")
    except FileNotFoundError:
        raise ModelError(
            f"{folder} has no {WEIGHTS_FILE}; save the model with safetensors."
        ) from None
    except (SafetensorError, OSError, KeyError) as error:
        raise ModelError(f"{path} can't be read ({error}); copy it again.") from None
    if not all(bool(one.isfinite().all()) for one in tensors.values()):
        raise ModelError(f"{path} has numbers that are not finite; copy it again.")
    return Dense(weight, bias, activation)


def _read_prompts(folder: Path) -> tuple[dict[str, str], str | None]:
    values = read_optional_json(folder / PROMPTS_FILE)
    prompts, default = values.get("prompts") or {}, values.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(x, str) for x in prompts.values()):
        raise ModelError(f"{folder / PROMPTS_FILE} has prompts that are no texts; copy it again.")
    if default is not None and default not in prompts:
        raise ModelError(
            f"{folder / PROMPTS_FILE} has no prompt {quoted(default)}, its default; copy it again."
        )
    return prompts, default


def _read_limit(folder: Path) -> int | None:
    values = read_optional_json(folder / LIMITS_FILE)
    if values.get("do_lower_case"):
        raise ModelError(
            f"{folder / LIMITS_FILE} has do_lower_case, which mbexplore does not do; choose a "
            "pooling yourself."
        )
    limit = values.get("max_seq_length")
    if limit is not None and (type(limit) is not int or limit < 3):
        raise ModelError(
            f"max_seq_length is {quoted(limit)} in {folder / LIMITS_FILE}; it must be 3 or more."
        )
    return limit if limit is None else int(limit)
