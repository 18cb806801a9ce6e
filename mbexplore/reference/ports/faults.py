"""Faults that implementations of ModernBERT are known to have, each planted in ours.

Most change the weights or the config, so that the same forward pass computes what the faulty one
does: an interleaved rotation is the usual one of queries and keys whose dimensions are permuted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mbexplore.network.config import LayerKind, ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM, PretrainedModel
from mbexplore.reference.ports.values import LOGITS, Ours

Plant = Callable[[Ours], "Ours | None"]


@dataclass(frozen=True)
class Fault:
    """A known fault.

    Attributes:
        name: short, "no window".
        sentence: what goes on "the other side behaves as if ...".
        plant: ours with the fault; None where the model has nothing that it could concern.
    """

    name: str
    sentence: str
    plant: Plant


@dataclass(frozen=True)
class PlantedConfig(ModernBertConfig):
    """A config whose windows are set.

    Attributes:
        reach: half windows of global and of local layers.
    """

    reach: tuple[int | None, int | None] = (None, None)

    def half_window(self, layer: int) -> int | None:
        """As it is set for the layer's kind."""
        return self.reach[self.layer_kinds[layer] == "local"]


def rebuilt(model: PretrainedModel, config: ModernBertConfig) -> PretrainedModel:
    """The same weights, shared, under another config."""
    with torch.device("meta"):
        new = type(model)(config)
    new.load_state_dict(model.state_dict(), assign=True)
    if isinstance(new, ModernBertForMaskedLM):
        new.tie_weights()
    return new.eval()


# Ways to plant.


def _config(
    wanted: Callable[[ModernBertConfig], bool] = lambda config: True, **changes: Any
) -> Plant:
    """Another config, where `wanted` holds and it is another one."""

    def plant(ours: Ours) -> Ours | None:
        config = ours.model.config
        values = {name: x(config) if callable(x) else x for name, x in changes.items()}
        if not wanted(config) or all(getattr(config, name) == x for name, x in values.items()):
            return None
        return replace(ours, model=rebuilt(ours.model, replace(config, **values)))

    return plant


def _windows(change: Callable[[int], tuple[int | None, int | None]]) -> Plant:
    """Half windows of global and local layers, made of the right one of local layers."""

    def plant(ours: Ours) -> Ours | None:
        config = ours.model.config
        if len(set(config.layer_kinds)) < 2:
            return None
        values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
        planted = PlantedConfig(**values | {"reach": change(config.local_attention // 2)})
        return replace(ours, model=rebuilt(ours.model, planted))

    return plant


def _weights(edit: Callable[[str, Tensor, ModernBertConfig], Tensor]) -> Plant:
    """Other weights: `edit` is called with the name and value of each parameter."""

    def plant(ours: Ours) -> Ours | None:
        model, changed = rebuilt(ours.model, ours.model.config), False
        for name, parameter in model.named_parameters(remove_duplicate=False):
            edited = edit(name, parameter.data, model.config)
            if not torch.equal(edited, parameter.data):
                owner, _, short = name.rpartition(".")
                setattr(model.get_submodule(owner), short, nn.Parameter(edited, False))
                changed = True
        return replace(ours, model=model) if changed else None

    return plant


def _modules(change: Callable[[PretrainedModel], bool]) -> Plant:
    """Other modules: `change` edits the model and says whether it did."""

    def plant(ours: Ours) -> Ours | None:
        model = rebuilt(ours.model, ours.model.config)
        return replace(ours, model=model) if change(model) else None

    return plant


def _values(change: Callable[[str, list[Tensor]], list[Tensor]]) -> Plant:
    """Other values at the end, by name."""

    def plant(ours: Ours) -> Ours | None:
        return replace(
            ours, finish=lambda found: {name: change(name, x) for name, x in found.items()}
        )

    return plant


# Weights.


def _heads(order: Callable[[Tensor, ModernBertConfig], Tensor]) -> Plant:
    """Wqkv as (3, heads, head_dim, hidden), put in another order."""

    def edit(name: str, value: Tensor, config: ModernBertConfig) -> Tensor:
        if ".Wqkv." not in name:
            return value
        shape = (3, config.num_attention_heads, config.head_dim, *value.shape[1:])
        return order(value.view(shape), config).reshape(value.shape)

    return _weights(edit)


def _interleaved(qkv: Tensor, config: ModernBertConfig) -> Tensor:
    """Pairs (2i, 2i + 1) put where the rotation takes (i, i + head_dim / 2)."""
    dims = torch.arange(config.head_dim).view(-1, 2).T.flatten()
    return torch.cat((qkv[:2, :, dims], qkv[2:]))


def _reversed(qkv: Tensor, config: ModernBertConfig) -> Tensor:
    """Both dimensions of a pair exchanged: the rotation goes the other way."""
    return torch.cat((qkv[:2].roll(config.head_dim // 2, dims=2), qkv[2:]))


def _by_head(qkv: Tensor, config: ModernBertConfig) -> Tensor:
    """The rows read as (heads, 3, head_dim)."""
    flat = qkv.flatten(0, 2)
    return flat.view(config.num_attention_heads, 3, config.head_dim, *flat.shape[1:]).transpose(
        0, 1
    )


def _unscaled(qkv: Tensor, config: ModernBertConfig) -> Tensor:
    return torch.cat((qkv[:1] * config.head_dim**0.5, qkv[1:]))


def _gate_first(name: str, value: Tensor, config: ModernBertConfig) -> Tensor:
    return value.roll(len(value) // 2, dims=0) if ".mlp.Wi." in name else value


def _without(*ends: str) -> Callable[[str, Tensor, ModernBertConfig], Tensor]:
    def edit(name: str, value: Tensor, config: ModernBertConfig) -> Tensor:
        return torch.zeros_like(value) if name.endswith(ends) else value

    return edit


def _rounded(dtype: torch.dtype) -> Callable[[str, Tensor, ModernBertConfig], Tensor]:
    return lambda name, value, config: value.to(dtype).to(value.dtype)


# Modules.


class _RootMeanSquare(nn.Module):
    """A norm that does not subtract the mean."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        scaled = nn.functional.rms_norm(x, x.shape[-1:], self.norm.weight, self.norm.eps)
        return scaled if self.norm.bias is None else scaled + self.norm.bias


def _norm_in_layer_0(model: PretrainedModel) -> bool:
    config, layer = model.config, model.encoder.layers[0]
    norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=False)
    layer.attn_norm = norm.to(model.dtype).eval()
    return True


def _left_out(path: str) -> Callable[[PretrainedModel], bool]:
    """A module left out, of the encoder or of its head."""

    def change(model: PretrainedModel) -> bool:
        whole = model if path.startswith("head") else model.encoder
        if path not in dict(whole.named_modules()):
            return False
        owner, _, name = path.rpartition(".")
        setattr(whole.get_submodule(owner), name, nn.Identity())
        return True

    return change


def _means_kept(model: PretrainedModel) -> bool:
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.LayerNorm):
            owner, _, short = name.rpartition(".")
            setattr(model.get_submodule(owner), short, _RootMeanSquare(module))
    return True


def _last_layer_left_out(model: PretrainedModel) -> bool:
    layers, config = model.encoder.layers, model.config
    if len(layers) < 2:
        return False
    layers[-1] = _Skipped()
    assert len(layers) == config.num_hidden_layers
    return True


class _Skipped(nn.Module):
    """A layer that gives what it gets."""

    def forward(self, x: Tensor, plan: Any, queries: Tensor | None = None) -> Tensor:
        return x if queries is None else x[:, queries]


# Edits, masks, vectors and outputs.


def _scores(layers: Callable[[ModernBertConfig], list[int]], blind: Callable[..., Tensor]) -> Plant:
    """Scores of some layers, minus infinity where `blind` says so."""

    def plant(ours: Ours) -> Ours | None:
        config = ours.model.config
        edits = {}
        for layer in layers(config):
            half = config.half_window(layer)

            def edit(scores: Tensor, half: int | None = half) -> Tensor:
                query = torch.arange(scores.shape[-2])[:, None]
                key = torch.arange(scores.shape[-1]) + (0 if half is None else query - half)
                return scores.masked_fill(blind(query, key), float("-inf"))

            edits[f"layers.{layer}.scores"] = edit
        return replace(ours, edits={**ours.edits, **edits}) if edits else None

    return plant


def _of_kind(kind: LayerKind) -> Callable[[ModernBertConfig], list[int]]:
    return lambda config: [i for i, one in enumerate(config.layer_kinds) if one == kind]


def _pooled(pooling: str) -> Plant:
    def plant(ours: Ours) -> Ours | None:
        same = ours.sentence.poolings == (pooling,)
        return None if same else replace(ours, sentence=replace(ours.sentence, poolings=(pooling,)))

    return plant


def _without_dense(ours: Ours) -> Ours | None:
    plain = replace(ours.sentence, dense=())
    return replace(ours, sentence=plain) if ours.sentence.dense else None


def _not_normalized(ours: Ours) -> Ours | None:
    plain = replace(ours.sentence, is_normalized=False)
    return replace(ours, sentence=plain) if ours.sentence.is_normalized else None


def _only_first_row(name: str, texts: list[Tensor]) -> list[Tensor]:
    return texts[:1] + [torch.zeros_like(text) for text in texts[1:]]


def _softmaxed(logarithm: bool) -> Callable[[str, list[Tensor]], list[Tensor]]:
    softmax = torch.log_softmax if logarithm else torch.softmax
    return lambda name, texts: [softmax(x, -1) for x in texts] if name == LOGITS else texts


def _cut(most: int) -> Plant:
    """Texts cut after so many tokens; only a vector a text can still be compared."""
    return lambda ours: replace(
        ours, rewrite=lambda ids: ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]
    )


FAULTS: tuple[Fault, ...] = (
    Fault("local theta", "local layers were rotated by the global theta",
          _config(local_rope_theta=lambda c: c.global_rope_theta)),
    Fault("global theta", "global layers were rotated by the local theta",
          _config(global_rope_theta=lambda c: c.local_rope_theta)),
    Fault("thetas swapped", "the thetas of global and local layers were swapped",
          _config(global_rope_theta=lambda c: c.local_rope_theta,
                  local_rope_theta=lambda c: c.global_rope_theta)),
    Fault("default thetas", "the thetas were those of ModernBERT-base, 160,000 and 10,000",
          _config(global_rope_theta=160_000.0, local_rope_theta=10_000.0)),
    Fault("theta 10,000", "every layer were rotated by the theta 10,000",
          _config(global_rope_theta=10_000.0, local_rope_theta=10_000.0)),
    Fault("scaling ignored", "the scaling of the rotation (YaRN or linear) were ignored",
          _config(global_rope_scaling=None, local_rope_scaling=None)),
    Fault("no window", "local layers had no window", _windows(lambda half: (None, None))),
    Fault("window everywhere", "global layers had the window of local ones",
          _windows(lambda half: (half, half))),
    Fault("window too wide", "the window were a token wider on each side",
          _windows(lambda half: (None, half + 1))),
    Fault("window too narrow", "the window were a token narrower on each side",
          _windows(lambda half: (None, half - 1))),
    Fault("window on each side", "local_attention were the reach on each side, not in all",
          _windows(lambda half: (None, 2 * half))),
    Fault("window halved twice", "the window were half as wide",
          _windows(lambda half: (None, half // 2))),
    Fault("global layers shifted", "global layers were counted from another one",
          _config(layer_kinds=lambda c: (*c.layer_kinds[1:], c.layer_kinds[0]))),
    Fault("one-sided window", "local layers saw only the tokens before",
          _scores(_of_kind("local"), lambda query, key: key > query)),
    Fault("causal", "every layer saw only the tokens before",
          _scores(lambda c: list(range(c.num_hidden_layers)), lambda query, key: key > query)),
    Fault("unscaled scores", "attention scores were not divided by the root of head_dim",
          _heads(_unscaled)),
    Fault("no rotation", "no position were encoded",
          lambda ours: replace(ours, without_positions=True)),
    Fault("interleaved rotation", "RoPE turned neighbouring dimensions instead of halves",
          _heads(_interleaved)),
    Fault("reversed rotation", "RoPE turned the other way", _heads(_reversed)),
    Fault("queries and keys swapped", "queries and keys were swapped",
          _heads(lambda qkv, c: qkv[[1, 0, 2]])),
    Fault("heads before q, k, v", "Wqkv were laid out as (heads, 3, head_dim)", _heads(_by_head)),
    Fault("tanh GELU", "GELU were its tanh approximation",
          _config(lambda c: c.hidden_activation == "gelu", hidden_activation="gelu_pytorch_tanh")),
    Fault("SiLU for GELU", "the MLP used SiLU",
          _config(lambda c: c.hidden_activation != "swish", hidden_activation="silu")),
    Fault("GELU for SiLU", "the MLP used GELU", _config(hidden_activation="gelu")),
    Fault("ReLU for GELU", "the MLP used ReLU", _config(hidden_activation="relu")),
    Fault("head without GELU", "the head had no activation",
          _config(classifier_activation="linear")),
    Fault("tanh GELU in the head", "the head's GELU were its tanh approximation",
          _config(lambda c: c.classifier_activation == "gelu",
                  classifier_activation="gelu_pytorch_tanh")),
    Fault("gate activated", "the second half of Wi were activated, not the first",
          _weights(_gate_first)),
    Fault("norm in layer 0", "layer 0 had a norm before its attention", _modules(_norm_in_layer_0)),
    Fault("no final norm", "the final norm were missing", _modules(_left_out("final_norm"))),
    Fault("no embedding norm", "the norm of the embeddings were missing",
          _modules(_left_out("embeddings.norm"))),
    Fault("RMS norm", "the norms did not subtract the mean", _modules(_means_kept)),
    Fault("norm_eps 1e-12", "norm_eps were 1e-12", _config(norm_eps=1e-12)),
    Fault("norm_eps 1e-6", "norm_eps were 1e-6", _config(norm_eps=1e-6)),
    Fault("head skipped", "the dense layer and norm of the head were missing",
          _modules(_left_out("head"))),
    Fault("head without norm", "the head's norm were missing", _modules(_left_out("head.norm"))),
    Fault("last layer left out", "the last layer were missing", _modules(_last_layer_left_out)),
    Fault("decoder bias dropped", "the bias of the last linear layer were zero",
          _weights(_without("decoder.bias", "classifier.bias"))),
    Fault("biases dropped", "the linear layers' biases were zero",
          _weights(_without("Wqkv.bias", "Wo.bias", "Wi.bias", "dense.bias"))),
    Fault("norm biases dropped", "the norms' biases were zero", _weights(_without("norm.bias"))),
    Fault("padding attended", "attention saw padding",
          lambda ours: replace(ours, visible=torch.ones_like)),
    Fault("first row only", "all texts of a batch but the first came out as zeros",
          _values(_only_first_row)),
    Fault("probabilities", "its logits were probabilities", _values(_softmaxed(False))),
    Fault("log-probabilities", "its logits were log-probabilities", _values(_softmaxed(True))),
    Fault("mean pooling", "vectors were the mean of the tokens", _pooled("mean")),
    Fault("CLS pooling", "vectors were those of the first token", _pooled("cls")),
    Fault("last-token pooling", "vectors were those of the last token", _pooled("lasttoken")),
    Fault("max pooling", "vectors were the maximum over the tokens", _pooled("max")),
    Fault("dense layers skipped", "the dense layers after pooling were missing", _without_dense),
    Fault("not normalized", "vectors were not scaled to length 1", _not_normalized),
    Fault("cut at 512", "texts were cut after 512 tokens", _cut(512)),
    Fault("no special tokens", "no [CLS] and [SEP] stood around a text",
          lambda ours: replace(ours, rewrite=lambda ids: ids[1:-1] or ids)),
    Fault("bfloat16 weights", "its weights were rounded to bfloat16",
          _weights(_rounded(torch.bfloat16))),
    Fault("float16 weights", "its weights were rounded to float16",
          _weights(_rounded(torch.float16))),
)  # fmt: skip
