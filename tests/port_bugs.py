"""Public faults of other implementations of ModernBERT, each planted in transformers' own model.

docs/explanation/port-bugs.md lists for each the text that shows it, what a cosine of sentence
vectors says, and what `mbexplore verify --against` says. What is planted here knows nothing of the
faults that `verify` tries: it is written against transformers' modules.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ModernBertConfig as TheirConfig
from transformers import ModernBertForMaskedLM as TheirModel
from transformers.models.modernbert import modeling_modernbert

import mbexplore
from mbexplore.checkpoints import hub
from mbexplore.checkpoints.model import save_model
from mbexplore.explorer import Explorer
from mbexplore.network.config import ModernBertConfig, regular_layer_kinds
from mbexplore.network.model import ModernBertForMaskedLM
from mbexplore.network.scaling import RopeScaling
from mbexplore.reference.ports.compare import PortReport, compare
from mbexplore.reference.ports.implementations import _Called
from mbexplore.reference.ports.suite import build_suite
from mbexplore.views.port_report import diagnosis_of
from tests.parity import spread_weights

Outputs = dict[str, Tensor]
Implementation = Callable[[Any, Any], Outputs]


def write_model(folder: Path, pooling: str = "mean", **changes: Any) -> Explorer:
    """A small random model with the bundled tokenizer in which every part matters."""
    bundled = hub.locate(hub.BUNDLED).folder
    config = replace(
        ModernBertConfig.from_folder(bundled),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=4,
        num_attention_heads=2,
        layer_kinds=regular_layer_kinds(4, 3),
        local_attention=16,
        global_rope_theta=90_000.0,
        local_rope_theta=600.0,
        max_position_embeddings=120,
        attention_bias=True,
        mlp_bias=True,
        norm_bias=True,
        classifier_bias=True,
    )
    model = ModernBertForMaskedLM(replace(config, **changes)).eval()
    spread_weights(model, 7)
    save_model(folder, model)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bundled / name, folder)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {
            "idx": 1,
            "name": "1",
            "path": "1_Pooling",
            "type": "sentence_transformers.models.Pooling",
        },
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    said = {"word_embedding_dimension": 32, "pooling_mode": pooling}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(said), encoding="utf-8")
    return mbexplore.load(str(folder), device="cpu")


class Theirs:
    """transformers' model of a folder, that gives logits, hidden states and a sentence vector."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config |= {name: x(config) if callable(x) else x for name, x in changes.items()}
        weights = TheirModel.from_pretrained(folder, local_files_only=True).state_dict()
        self.model: Any = TheirModel(TheirConfig.from_dict(copy.deepcopy(config))).eval()
        self.model.load_state_dict(weights)
        self.pooling = "mean"
        self.before: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda ids, mask: (
            ids,
            mask,
        )
        self.after: Callable[[Outputs], Outputs] = lambda found: found

    @torch.no_grad()
    def __call__(self, ids: Any, mask: Any) -> Outputs:
        ids, real = torch.from_numpy(ids), torch.from_numpy(mask)
        given, seen = self.before(ids, real)
        found = self.model(given, seen, output_hidden_states=True)
        states = self.model.model(given, seen).last_hidden_state
        return self.after(
            {
                "logits": found.logits,
                "last_hidden_state": states,
                "pooled": self._pool(states, real),
            }
        )

    def _pool(self, states: Tensor, real: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[torch.arange(len(real)), real.argmax(dim=1)]
        return (states * real[..., None]).sum(dim=1) / real.sum(dim=1, keepdim=True)


# Faults.


def config(**changes: Any) -> Callable[[Path], Implementation]:
    """Another value in config.json."""
    return lambda folder: Theirs(folder, **changes)


def changed(change: Callable[[Theirs], None]) -> Callable[[Path], Implementation]:
    """Something else about the model."""

    def plant(folder: Path) -> Implementation:
        theirs = Theirs(folder)
        change(theirs)
        return theirs

    return plant


def thetas(full: float, sliding: float) -> Callable[[dict[str, Any]], Any]:
    return lambda _: {
        name: {"rope_type": "default", "rope_theta": theta}
        for name, theta in (("full_attention", full), ("sliding_attention", sliding))
    }


@torch.no_grad()
def _edit(theirs: Theirs, suffix: str, edit: Callable[[Tensor], Tensor]) -> None:
    for name, parameter in theirs.model.named_parameters():
        if name.endswith(suffix):
            parameter.copy_(edit(parameter))


def gate_first(theirs: Theirs) -> None:
    _edit(theirs, "mlp.Wi.weight", lambda x: torch.cat(x.chunk(2)[::-1]))
    _edit(theirs, "mlp.Wi.bias", lambda x: torch.cat(x.chunk(2)[::-1]))


def keys_first(theirs: Theirs) -> None:
    def swap(x: Tensor) -> Tensor:
        q, k, v = x.chunk(3)
        return torch.cat((k, q, v))

    _edit(theirs, "Wqkv.weight", swap)
    _edit(theirs, "Wqkv.bias", swap)


def first_row(theirs: Theirs) -> None:
    def zeros(found: Outputs) -> Outputs:
        return {name: torch.cat((x[:1], torch.zeros_like(x[1:]))) for name, x in found.items()}

    theirs.after = zeros


def padding_seen(theirs: Theirs) -> None:
    theirs.before = lambda ids, mask: (ids, torch.ones_like(mask))


def probabilities(theirs: Theirs) -> None:
    theirs.after = lambda found: found | {"logits": found["logits"].softmax(dim=-1)}


def epsilon(theirs: Theirs) -> None:
    for module in theirs.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-12


def no_mean(theirs: Theirs) -> None:
    class Norm(nn.LayerNorm):
        def forward(self, x: Tensor) -> Tensor:
            return F.rms_norm(x, self.normalized_shape, self.weight, self.eps) + self.bias

    for module in theirs.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.__class__ = Norm


def norm_in_layer_0(theirs: Theirs) -> None:
    theirs.model.model.layers[0].attn_norm = nn.LayerNorm(32, eps=1e-5, bias=False)


def no_final_norm(theirs: Theirs) -> None:
    theirs.model.model.final_norm = nn.Identity()


def no_head(theirs: Theirs) -> None:
    theirs.model.head = nn.Identity()


def no_head_norm(theirs: Theirs) -> None:
    theirs.model.head.norm = nn.Identity()


def no_head_activation(theirs: Theirs) -> None:
    theirs.model.head.act = nn.Identity()


def no_decoder_bias(theirs: Theirs) -> None:
    _edit(theirs, "decoder.bias", torch.zeros_like)


def bfloat16_weights(theirs: Theirs) -> None:
    _edit(theirs, "", lambda x: x.bfloat16().float())


def pooled_by(name: str) -> Callable[[Theirs], None]:
    def change(theirs: Theirs) -> None:
        theirs.pooling = name

    return change


def interleaved(folder: Path) -> Implementation:
    """RoPE over neighbouring dimensions, while the model runs."""
    theirs = Theirs(folder)

    def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        cos, sin = (t[..., : t.shape[-1] // 2].repeat_interleave(2, dim=-1) for t in (cos, sin))
        turned = torch.stack((-x[..., 1::2], x[..., 0::2]), dim=-1).flatten(-2)
        return x * cos[:, None] + turned * sin[:, None]

    def rotate(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, *_: Any, **__: Any) -> Any:
        return turn(q, cos, sin), turn(k, cos, sin)

    def run(ids: Any, mask: Any) -> Outputs:
        before = modeling_modernbert.apply_rotary_pos_emb
        modeling_modernbert.apply_rotary_pos_emb = rotate
        try:
            return theirs(ids, mask)
        finally:
            modeling_modernbert.apply_rotary_pos_emb = before

    return run


def vectors(theirs: Implementation, edit: Callable[[Any], Any]) -> Implementation:
    """A vector a text and nothing else, of other ids."""

    def run(ids: Any, mask: Any) -> Outputs:
        rows = []
        for row, real in zip(ids, mask, strict=True):
            text = edit(row[real.astype(bool)])
            rows.append(theirs(text[None], (text[None] >= 0).astype("int64"))["pooled"][0])
        return {"pooled": torch.stack(rows)}

    return run


def no_special(folder: Path) -> Implementation:
    return vectors(Theirs(folder), lambda ids: ids[1:-1] if len(ids) > 2 else ids)


def cut_at_512(folder: Path) -> Implementation:
    import numpy as np

    return vectors(
        Theirs(folder), lambda ids: ids if len(ids) <= 512 else np.append(ids[:511], ids[-1])
    )


@dataclass(frozen=True)
class Bug:
    """A public fault.

    Attributes:
        what: in words.
        link: to the report; "" where it is known from other encoders.
        plant: an implementation of the model in a folder that has it.
        fault: the name by which `verify` should tell it.
        model: what the model's config must say for it to show.
    """

    what: str
    link: str
    plant: Callable[[Path], Implementation]
    fault: str
    model: dict[str, Any] | None = None


GITHUB = "https://github.com/"
BUGS = (
    Bug("Local layers get the global theta: legacy keys of config.json are not read",
        GITHUB + "NVIDIA/TensorRT-Model-Connect/pull/692",
        config(rope_parameters=thetas(90_000.0, 90_000.0)), "local theta"),
    Bug("One theta, 10,000, for every layer",
        GITHUB + "huggingface/transformers/pull/39750",
        config(rope_parameters=thetas(10_000.0, 10_000.0)), "theta 10,000"),
    Bug("YaRN is ignored", GITHUB + "NVIDIA-NeMo/Automodel/pull/1400",
        config(rope_parameters=thetas(90_000.0, 600.0)), "scaling ignored",
        dict.fromkeys(("global_rope_scaling", "local_rope_scaling"),
                      RopeScaling("yarn", 4.0, 30, attention_factor=1.14))),
    Bug("Layer 0 counted as local: the pattern starts with a dense layer, and was read otherwise",
        GITHUB + "ggml-org/llama.cpp/pull/18330",
        config(layer_types=lambda c: [*c["layer_types"][1:], c["layer_types"][0]]),
        "global layers shifted"),
    Bug("No sliding window on the CPU backend", GITHUB + "sgl-project/sglang/issues/33603",
        config(local_attention=4_000), "no window"),
    Bug("The flash-attention path gets neither window nor padding mask",
        GITHUB + "vllm-project/semantic-router/issues/3406",
        lambda folder: _with(Theirs(folder, local_attention=4_000), padding_seen),
        "no window and padding attended"),
    Bug("The window's end is exclusive", GITHUB + "vllm-project/vllm/pull/44040",
        config(local_attention=14), "window too narrow"),
    Bug("The window is a token too wide", GITHUB + "huggingface/transformers/pull/40163",
        config(local_attention=18), "window too wide"),
    Bug("local_attention taken for the reach on each side", "",
        config(local_attention=32), "window on each side"),
    Bug("GELU for every model: hidden_activation is not read",
        GITHUB + "huggingface/candle/pull/3991", config(hidden_activation="gelu"),
        "GELU for SiLU", {"hidden_activation": "silu"}),
    Bug("GELU by its tanh approximation", GITHUB + "Blaizzy/mlx-embeddings/issues/81",
        config(hidden_activation="gelu_pytorch_tanh"), "tanh GELU"),
    Bug("The second half of Wi is activated", "", changed(gate_first), "gate activated"),
    Bug("The head's dense layer and norm are skipped",
        GITHUB + "vllm-project/vllm/pull/57664", changed(no_head), "head skipped"),
    Bug("The head's norm is skipped", GITHUB + "vllm-project/vllm/pull/32148",
        changed(no_head_norm), "head without norm"),
    Bug("The head's activation is skipped", GITHUB + "vllm-project/vllm/pull/32148",
        changed(no_head_activation), "head without GELU"),
    Bug("The decoder's bias is dropped", "", changed(no_decoder_bias), "decoder bias dropped"),
    Bug("Mean pooling where the model says CLS", GITHUB + "vllm-project/vllm/pull/20067",
        changed(pooled_by("mean")), "mean pooling", {"pooling": "cls"}),
    Bug("CLS pooling where the model says mean", "", changed(pooled_by("cls")), "CLS pooling"),
    Bug("Attention sees padding", GITHUB + "npatsakula/svod/pull/122",
        changed(padding_seen), "padding attended"),
    Bug("Only the first text of a batch is computed", GITHUB + "NVIDIA/TensorRT/issues/3004",
        changed(first_row), "first row only"),
    Bug("No [CLS] and [SEP] around the text", GITHUB + "aosama/astronomical/issues/596",
        no_special, "no special tokens"),
    Bug("Texts are cut after 512 tokens", "", cut_at_512, "cut at 512",
        {"max_position_embeddings": 600}),
    Bug("norm_eps 1e-12, BERT's", GITHUB + "keras-team/keras-hub/issues/642",
        changed(epsilon), "norm_eps 1e-12"),
    Bug("Norms that do not subtract the mean", "", changed(no_mean), "RMS norm"),
    Bug("A norm before the attention of layer 0", "", changed(norm_in_layer_0), "norm in layer 0"),
    Bug("The final norm is missing", "", changed(no_final_norm), "no final norm"),
    Bug("RoPE over neighbouring dimensions", GITHUB + "raiyanyahya/how-to-train-your-gpt/issues/6",
        interleaved, "interleaved rotation"),
    Bug("Queries and keys swapped in Wqkv", "", changed(keys_first), "queries and keys swapped"),
    Bug("Probabilities in place of logits", "", changed(probabilities), "probabilities"),
    Bug("Weights rounded to bfloat16, called float32", "", changed(bfloat16_weights),
        "bfloat16 weights"),
)  # fmt: skip


def _with(theirs: Theirs, change: Callable[[Theirs], None]) -> Theirs:
    change(theirs)
    return theirs


def report_of(bug: Bug, folder: Path) -> PortReport:
    """What `verify --against` finds of a bug."""
    explorer = write_model(folder, **(bug.model or {}))
    other = _Called("the other side", bug.plant(folder))
    return compare(explorer, other, build_suite(explorer))


def row_of(bug: Bug, found: PortReport) -> str:
    """What was found of a bug, as a row of the document's table."""
    first = found.first_mismatch
    assert first is not None and found.diagnosis is not None, bug.what
    short = next(v for v in found.compared if v.case == "16 tokens" and v.name == "pooled")
    link = f"[{bug.link.removeprefix(GITHUB)}]({bug.link})" if bug.link else ""
    said = diagnosis_of(found).replace("the other side", "it")
    return f"| {bug.what} | {link} | {first.case} | {short.cosine:.4f} | {said} |"
