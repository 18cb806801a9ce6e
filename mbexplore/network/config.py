"""ModernBERT's configuration. Knows config.json in both its forms; knows nothing of tensors.

The one place where `full_attention` / `sliding_attention` become "global" / "local".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mbexplore.errors import ModelError
from mbexplore.network.config_values import read_architectures, read_labels, read_object
from mbexplore.network.scaling import RopeScaling, read_scaling
from mbexplore.reading import read_json
from mbexplore.text import quoted

LayerKind = Literal["global", "local"]

_KIND_OF: dict[str, LayerKind] = {"full_attention": "global", "sliding_attention": "local"}
_NAME_OF = {kind: name for name, kind in _KIND_OF.items()}
# What config.json may hold for a field, by the field's annotation.
_ALLOWED: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number from 1 to 10^9", lambda x: type(x) is int and 1 <= x <= 10**9),
    "int | None": ("a token id or null", lambda x: x is None or (type(x) is int and x >= 0)),
    "float": ("a number from 0 to 10^30", lambda x: type(x) in (int, float) and 0 <= x <= 1e30),
    "bool": ("true or false", lambda x: type(x) is bool),
    "str": ("a name", lambda x: type(x) is str),
    "str | None": ("a name or null", lambda x: x is None or type(x) is str),
}
_MOST_LAYERS = 1_000
"""More than any model has: what is listed one by one must fit in memory before the file is read."""
_OLD_NAME_OF = {"attention": "full_attention"}
"""Layer types by a name that transformers has given up, and still reads."""
_REFUSED = {
    "is_causal": "mbexplore computes attention in both directions",
    "per_layer_config": "mbexplore computes all layers by one config",
    "quantization_config": "mbexplore opens weights that are not quantized",
    "text_config": "mbexplore opens models of text alone",
    "decoder": "mbexplore opens encoders",
    "generator": "mbexplore opens encoders",
}
"""Keys that make transformers compute other numbers, and why any value but null is refused."""
_DEFAULT_THETA: dict[LayerKind, float] = {"global": 160_000.0, "local": 10_000.0}


def regular_layer_kinds(num_layers: int, global_every: int) -> tuple[LayerKind, ...]:
    """Layer kinds with every `global_every`-th layer global, from layer 0 on."""
    return tuple("local" if i % global_every else "global" for i in range(num_layers))


@dataclass(frozen=True)
class LayerInfo:
    """What sets a layer apart from the others.

    Attributes:
        index: from 0.
        kind: "global" or "local".
        theta: RoPE base.
        half_window: tokens seen on each side of a token; None for a global layer.
        head_dim: width of one attention head.
        scaling: of the rotary frequencies; None for the plain ones.
    """

    index: int
    kind: LayerKind
    theta: float
    half_window: int | None
    head_dim: int
    scaling: RopeScaling | None


@dataclass(frozen=True)
class ModernBertConfig:
    """Dimensions and constants of one ModernBERT (Warner et al. 2024, arXiv:2412.13663).

    The defaults are ModernBERT-base. Names are those of transformers' config.json, except that
    layer kinds and thetas are resolved: `layer_kinds[i]` says whether layer `i` is "global" or
    "local". `local_attention` is the whole window; a token sees `half_window` =
    `local_attention // 2` tokens on each side of itself, both ends included.
    """

    vocab_size: int = 50_368
    hidden_size: int = 768
    intermediate_size: int = 1152
    num_hidden_layers: int = 22
    num_attention_heads: int = 12
    layer_kinds: tuple[LayerKind, ...] = regular_layer_kinds(22, 3)
    local_attention: int = 128
    global_rope_theta: float = _DEFAULT_THETA["global"]
    local_rope_theta: float = _DEFAULT_THETA["local"]
    global_rope_scaling: RopeScaling | None = None
    local_rope_scaling: RopeScaling | None = None
    max_position_embeddings: int = 8192
    hidden_activation: str = "gelu"
    norm_eps: float = 1e-5
    norm_bias: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    decoder_bias: bool = True
    tie_word_embeddings: bool = True
    classifier_activation: str = "gelu"
    classifier_bias: bool = False
    classifier_pooling: str = "cls"
    problem_type: str | None = None
    attention_dropout: float = 0.0
    embedding_dropout: float = 0.0
    mlp_dropout: float = 0.0
    classifier_dropout: float = 0.0
    initializer_range: float = 0.02
    initializer_cutoff_factor: float = 2.0
    pad_token_id: int | None = 50_283
    cls_token_id: int | None = 50_281
    sep_token_id: int | None = 50_282
    architectures: tuple[str, ...] = ("ModernBertForMaskedLM",)
    labels: tuple[str, ...] = ("LABEL_0", "LABEL_1")

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        for kind in _NAME_OF:
            theta = getattr(self, f"{kind}_rope_theta")
            least = 1 if getattr(self, f"{kind}_rope_scaling") else 0
            if theta <= least:
                raise ModelError(
                    f"{kind}_rope_theta is {theta} in config.json; it must be above {least}."
                )
        for name in ("attention_dropout", "embedding_dropout", "mlp_dropout", "classifier_dropout"):
            if getattr(self, name) > 1:
                raise ModelError(
                    f"{name} is {getattr(self, name)} in config.json; it must be 1 or less."
                )
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ModelError(
                f"pad_token_id {self.pad_token_id} lies outside a vocabulary of {self.vocab_size}; "
                "correct pad_token_id or vocab_size in config.json."
            )
        if self.hidden_size % self.num_attention_heads:
            raise ModelError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads "
                f"{self.num_attention_heads}; correct config.json."
            )
        if self.head_dim % 2:
            raise ModelError(
                f"The head dimension {self.head_dim} is odd, and RoPE turns pairs of dimensions; "
                "correct hidden_size or num_attention_heads in config.json."
            )
        if len(self.layer_kinds) != self.num_hidden_layers:
            raise ModelError(
                f"config.json names {len(self.layer_kinds)} layer types for "
                f"{self.num_hidden_layers} layers; correct layer_types or num_hidden_layers."
            )

    @classmethod
    def base(cls, **changes: Any) -> ModernBertConfig:
        """answerdotai/ModernBERT-base: 22 layers x 768, 12 heads, 149,655,232 parameters."""
        return cls(**changes)

    @classmethod
    def large(cls, **changes: Any) -> ModernBertConfig:
        """answerdotai/ModernBERT-large: 28 layers x 1024, 16 heads, 395,881,664 parameters."""
        large: dict[str, Any] = {
            "hidden_size": 1024,
            "intermediate_size": 2624,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "layer_kinds": regular_layer_kinds(28, 3),
        }
        return cls(**large | changes)

    @classmethod
    def from_folder(cls, folder: Path) -> ModernBertConfig:
        """Reads `folder/config.json`.

        Raises:
            ModelError: the file is missing, is not JSON, or describes another kind of model.
        """
        try:
            values = read_json(folder / "config.json")
        except FileNotFoundError:
            raise ModelError(
                f"{folder} has no config.json; name a folder that holds a ModernBERT checkpoint."
            ) from None
        return cls.from_dict(values)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModernBertConfig:
        """Builds a config from a parsed config.json, in the form of transformers 4 or 5.

        A key that changes numbers in transformers is honoured, or refused by name; others are
        ignored, as they are there.

        Raises:
            ModelError: `model_type` is not modernbert, or a value can't be used.
        """
        model_type = values.get("model_type", "modernbert")
        if model_type != "modernbert":
            raise ModelError(
                f"config.json has model_type {quoted(model_type)}; name a model of "
                "'modernbert', the one type that mbexplore opens."
            )
        derived = {"layer_kinds", "architectures", "labels"}
        derived |= {f"{kind}_rope_{what}" for kind in _NAME_OF for what in ("theta", "scaling")}
        plain = [field for field in dataclasses.fields(cls) if field.name not in derived]
        known = {field.name: values[field.name] for field in plain if field.name in values}
        known |= _read_window(values)
        for field in plain:
            _check(field, known.get(field.name, field.default))
        ropes = _read_ropes(values)
        thetas = _read_thetas(values, ropes)
        longest = known.get("max_position_embeddings", cls.max_position_embeddings)
        _check_refused(values)
        config = cls(
            **known,
            layer_kinds=_read_layer_kinds(
                values, known.get("num_hidden_layers", cls.num_hidden_layers)
            ),
            global_rope_theta=thetas["global"],
            local_rope_theta=thetas["local"],
            global_rope_scaling=read_scaling(ropes["global"], "global", longest),
            local_rope_scaling=read_scaling(ropes["local"], "local", longest),
            architectures=read_architectures(values),
            labels=read_labels(values),
        )
        if (head_dim := values.get("head_dim")) and head_dim != config.head_dim:
            raise ModelError(
                f"head_dim is {quoted(head_dim)} in config.json; it must be {config.head_dim}, "
                "hidden_size over num_attention_heads."
            )
        return config

    def to_dict(self) -> dict[str, Any]:
        """The config as config.json holds it, readable by transformers 4 and 5 alike."""
        values = dataclasses.asdict(self) | {"model_type": "modernbert"}
        kinds = values.pop("layer_kinds")
        values["architectures"] = list(self.architectures)
        labels = values.pop("labels")
        values["id2label"] = {str(i): label for i, label in enumerate(labels)}
        values["label2id"] = {label: i for i, label in enumerate(labels)}
        values["layer_types"] = [_NAME_OF[kind] for kind in kinds]
        for kind in _NAME_OF:
            values.pop(f"{kind}_rope_scaling")
        values["rope_parameters"] = {name: self._rope_dict(kind) for name, kind in _KIND_OF.items()}
        for every in range(1, self.num_hidden_layers + 1):
            if regular_layer_kinds(self.num_hidden_layers, every) == self.layer_kinds:
                values["global_attn_every_n_layers"] = every
                break
        values["bos_token_id"] = self.cls_token_id
        values["eos_token_id"] = self.sep_token_id
        return values

    def _rope_dict(self, kind: LayerKind) -> dict[str, Any]:
        """What `rope_parameters` says of layers of one kind."""
        scaling: RopeScaling | None = getattr(self, f"{kind}_rope_scaling")
        rope = {"rope_type": "default"} if scaling is None else scaling.to_dict()
        return rope | {"rope_theta": getattr(self, f"{kind}_rope_theta")}

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    def layer(self, index: int) -> LayerInfo:
        """What sets layer `index`, from 0, apart from the others."""
        kind = self.layer_kinds[index]
        return LayerInfo(
            index,
            kind,
            self.theta(index),
            self.half_window(index),
            self.head_dim,
            self.scaling(index),
        )

    def theta(self, layer: int) -> float:
        """RoPE base of layer `layer`."""
        is_global = self.layer_kinds[layer] == "global"
        return self.global_rope_theta if is_global else self.local_rope_theta

    def scaling(self, layer: int) -> RopeScaling | None:
        """What is done to the rotary frequencies of layer `layer`; None for nothing."""
        is_global = self.layer_kinds[layer] == "global"
        return self.global_rope_scaling if is_global else self.local_rope_scaling

    def half_window(self, layer: int) -> int | None:
        """Tokens seen on each side of a token by a local layer; None for a global layer."""
        return None if self.layer_kinds[layer] == "global" else self.local_attention // 2


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    wanted, allows = _ALLOWED.get(str(field.type), ("", lambda _: True))
    if not allows(value):
        raise ModelError(f"{field.name} is {quoted(value)} in config.json; it must be {wanted}.")


def _check_refused(values: Mapping[str, Any]) -> None:
    for name, why in _REFUSED.items():
        if values.get(name):
            raise ModelError(
                f"{name} is {quoted(values[name])} in config.json, and {why}; choose another model."
            )


def _read_window(values: Mapping[str, Any]) -> dict[str, int]:
    """The other way to say how far a local layer sees: half of `local_attention`."""
    half = values.get("sliding_window")
    if half is None:
        return {}
    if type(half) is not int or not 1 <= half <= 10**9:
        raise ModelError(
            f"sliding_window is {quoted(half)} in config.json; it must be a whole number from 1 to "
            "10^9."
        )
    return {"local_attention": 2 * half}


def _read_layer_kinds(values: Mapping[str, Any], num_layers: int) -> tuple[LayerKind, ...]:
    names = values.get("layer_types")
    if num_layers > _MOST_LAYERS:
        raise ModelError(
            f"num_hidden_layers is {num_layers} in config.json; it must be {_MOST_LAYERS:,} or "
            "less."
        )
    if names is None:
        every = values.get("global_attn_every_n_layers", 3)
        if type(every) is not int or every < 1:
            raise ModelError(
                f"global_attn_every_n_layers is {quoted(every)} in config.json; it must be 1 or "
                "more."
            )
        return regular_layer_kinds(num_layers, every)
    if not isinstance(names, list):
        raise ModelError(
            f"layer_types is {quoted(names)} in config.json; it must be a list of names."
        )
    names = [_OLD_NAME_OF.get(name, name) if isinstance(name, str) else name for name in names]
    unknown = sorted({str(name) for name in names} - _KIND_OF.keys())
    if unknown:
        raise ModelError(
            f"config.json has the layer type {quoted(unknown[0])}; open a model with "
            "'full_attention' and 'sliding_attention' alone."
        )
    return tuple(_KIND_OF[name] for name in names)


def _read_ropes(values: Mapping[str, Any]) -> dict[LayerKind, dict[str, Any]]:
    """What v5's `rope_parameters` says of each kind, and the legacy `rope_scaling` of both."""
    parameters = read_object(values, "rope_parameters")
    strange = sorted(parameters.keys() - _KIND_OF.keys())
    if strange:
        raise ModelError(
            f"rope_parameters has {quoted(strange[0])} in config.json; it must say of each of "
            f"{' and '.join(_KIND_OF)} what holds for it."
        )
    scaling = read_object(values, "rope_scaling")
    if "rope_type" not in scaling and scaling.get("type", "default") != "default":
        raise ModelError(
            f"rope_scaling has the type {quoted(scaling['type'])} in config.json, which "
            "transformers 5 passes over; write rope_type for it there, or leave it out."
        )
    return {kind: read_object(parameters, name) | scaling for name, kind in _KIND_OF.items()}


def _read_thetas(
    values: Mapping[str, Any], ropes: Mapping[LayerKind, Mapping[str, Any]]
) -> dict[LayerKind, Any]:
    """Thetas by kind: v5's `rope_parameters` first, then the legacy keys, then the defaults.

    A legacy `local_rope_theta` that is present and null means the global one.
    """
    thetas: dict[LayerKind, Any] = {}
    for kind, rope in ropes.items():
        legacy = values.get(f"{kind}_rope_theta", _DEFAULT_THETA[kind])
        theta = rope.get("rope_theta", legacy)
        if theta is None and kind == "local":
            theta = thetas["global"]
        thetas[kind] = theta
    return thetas
