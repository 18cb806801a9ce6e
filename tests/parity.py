"""Random ModernBERTs built twice from the same weights: `ours` and transformers' (`theirs`).

Nothing is downloaded. `draw_case(seed)` makes one configuration and one batch of texts; the table
`CASES` is what test_model.py compares on.
"""

from __future__ import annotations

import contextlib
import copy
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import ModernBertConfig as TheirConfig
from transformers import ModernBertForMaskedLM as TheirModel
from transformers.initialization import no_init_weights
from transformers.models.modernbert import modeling_modernbert

from mbexplore.network.config import ModernBertConfig
from mbexplore.network.model import ModernBertForMaskedLM

PAD = 0
LENGTHS = [1, 2, 3, 5, 8, 17, 33, 63, 64, 65, 90, 129, 150]


@dataclass(frozen=True)
class Case:
    """A configuration, as config.json holds it, and the texts to run through it."""

    seed: int
    config: dict[str, Any]
    lengths: tuple[int, ...]
    padding: str

    def __str__(self) -> str:
        config = self.config
        form = "v5" if "layer_types" in config else "legacy"
        return f"{self.seed}-{form}-{config['num_hidden_layers']}x{config['hidden_size']}"


def draw_case(seed: int) -> Case:
    """One reproducible point of everything a ModernBERT's config.json can say."""
    pick = random.Random(seed).choice
    layers, heads = pick(range(1, 10)), pick([1, 2, 3, 4])
    every, thetas = pick([1, 2, 3, 4]), (pick([160_000.0, 500.0]), pick([10_000.0, 500.0, 40]))
    config = {
        "model_type": "modernbert",
        "vocab_size": 61,
        "hidden_size": heads * pick([8, 12, 16]),
        "intermediate_size": pick([7, 24, 40]),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "local_attention": pick([2, 3, 4, 7, 8, 15, 16, 31, 64, 65, 127, 128]),
        "hidden_activation": pick(["gelu", "silu", "relu"]),
        "classifier_activation": pick(["gelu", "silu", "relu"]),
        "norm_eps": pick([1e-5, 1e-6, 1e-3]),
        "layer_norm_eps": 0.5,  # published files have both; norm_eps alone counts
        "tie_word_embeddings": pick([True, False]),
        "pad_token_id": PAD,
        "bos_token_id": 1,
        "cls_token_id": 1,
        "eos_token_id": 2,
        "sep_token_id": 2,
    }
    for part in ("attention", "mlp", "norm", "decoder", "classifier"):
        config[f"{part}_bias"] = pick([True, False])
    form = pick(["legacy", "null local theta", "v5", "v5 irregular"])
    if form.startswith("v5"):
        kinds = ["sliding_attention" if i % every else "full_attention" for i in range(layers)]
        if form == "v5 irregular":
            kinds = [pick([*kinds, "sliding_attention"]) for _ in kinds]
        config["layer_types"] = kinds
        config["rope_parameters"] = {
            "full_attention": {"rope_type": "default", "rope_theta": thetas[0]},
            "sliding_attention": {"rope_type": "default", "rope_theta": thetas[1]},
        }
    else:
        config["global_attn_every_n_layers"] = every
        config["global_rope_theta"] = thetas[0]
        config["local_rope_theta"] = None if form == "null local theta" else thetas[1]
    lengths = tuple(pick(LENGTHS) for _ in range(pick([1, 1, 2, 3])))
    return Case(seed, config, lengths, pick(["left", "right"]))


SMALL = {
    "vocab_size": 10_240,
    "hidden_size": 16,
    "intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
"""A config for the tokenizer of the bundled model, and nothing else large."""

CASES = [draw_case(seed) for seed in range(64)]
CASES.append(Case(700, draw_case(10).config | {"local_attention": 128}, (700,), "right"))
CASES.append(Case(411, draw_case(11).config | {"local_attention": 65}, (120, 411), "left"))


def build_ours(case: Case) -> ModernBertForMaskedLM:
    """Our model, with weights that make every part of it matter."""
    ours = ModernBertForMaskedLM(ModernBertConfig.from_dict(case.config)).eval()
    spread_weights(ours, case.seed)
    return ours


@torch.no_grad()
def spread_weights(model: ModernBertForMaskedLM, seed: int) -> None:
    """Draws weights that keep values near 1, peak the attention and leave no norm or bias idle.

    With ModernBERT's own initialisation all maps are flat, and a wrong window would hardly show.
    """
    generator = torch.Generator().manual_seed(seed)
    hidden = model.config.hidden_size
    for name, parameter in model.named_parameters():
        parameter.normal_(generator=generator)
        if name.endswith("bias"):
            parameter.mul_(0.1)
        elif "norm" in name:
            parameter.mul_(0.1).add_(1.0)
        else:
            parameter.div_(math.sqrt(parameter.shape[1]))
        if name.endswith("Wo.weight"):
            parameter.div_(math.sqrt(2 * model.config.num_hidden_layers))
        if "Wqkv" in name:
            parameter[: 2 * hidden].mul_(1.2)  # queries and keys: scores of a few units


def build_theirs(
    ours: ModernBertForMaskedLM, config: dict[str, Any], attention: str = "sdpa"
) -> Any:
    """transformers' model with the same weights, in memory of its own.

    Their `_from_config` writes into the config it gets, hence the copy; and transformers 5 takes
    a null `local_rope_theta` for a number, where transformers 4 read it as the global theta.
    """
    config = copy.deepcopy(config)
    if config.get("local_rope_theta", 0) is None:
        config["local_rope_theta"] = config["global_rope_theta"]
    with no_init_weights():
        theirs = TheirModel._from_config(
            TheirConfig.from_dict(config), attn_implementation=attention, dtype=ours.dtype
        ).eval()
    theirs.tie_weights()
    theirs.load_state_dict(ours.state_dict())
    return theirs


def build_inputs(case: Case) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, both (batch, seq), padded on the case's side."""
    generator = torch.Generator().manual_seed(case.seed)
    longest = max(case.lengths)
    input_ids = torch.full((len(case.lengths), longest), PAD)
    mask = torch.zeros_like(input_ids)
    for row, length in enumerate(case.lengths):
        place = slice(longest - length, None) if case.padding == "left" else slice(length)
        input_ids[row, place] = torch.randint(1, 61, (length,), generator=generator)
        mask[row, place] = 1
    return input_ids, mask


def run_ours(
    ours: ModernBertForMaskedLM, input_ids: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, list[Tensor]]:
    """Logits, and the hidden states as transformers lists them: the last is after final_norm."""
    encoder = ours.model
    places = [encoder.embeddings.embed, *(layer.resid_post for layer in encoder.layers)]
    with torch.no_grad(), kept_outputs([*places[:-1], encoder.final_norm]) as hidden_states:
        logits = ours(input_ids, mask)
    return logits, hidden_states


def run_theirs(theirs: Any, input_ids: Tensor, mask: Tensor | None = None) -> Any:
    """Their output object, with the hidden states, and with the maps if built with eager."""
    maps = theirs.config._attn_implementation == "eager"
    with torch.no_grad():
        return theirs(input_ids, mask, output_hidden_states=True, output_attentions=maps)


@contextlib.contextmanager
def kept_outputs(modules: list[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what each module returns, in the order in which they run."""
    kept: list[Tensor] = []
    with contextlib.ExitStack() as stack:
        for module in modules:
            hook = module.register_forward_hook(lambda _m, _args, output: kept.append(output))
            stack.callback(hook.remove)
        yield kept


def largest_difference(ours: Tensor, theirs: Tensor, mask: Tensor) -> float:
    """Largest absolute difference over real tokens; the rows of padding have no meaning."""
    real = mask.bool()
    return float((ours[real] - theirs[real]).abs().max())


def largest(differences: Iterable[float]) -> float:
    """The largest one, or NaN if any is: the built-in max may pass over a NaN."""
    return float(torch.tensor(list(differences), dtype=torch.float64).max())


def rotate_in_own_dtype(
    q: Tensor, k: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1
) -> tuple[Tensor, Tensor]:
    """transformers' rotation without its rounding of q and k to float32."""
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    half = modeling_modernbert.rotate_half
    return q * cos + half(q) * sin, k * cos + half(k) * sin
