"""What a training run is made of: the numbers of a recipe and the learning-rate schedule.

Pure values and functions; knows no tensor and no file.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mbexplore.errors import UsageError
from mbexplore.network.config import ModernBertConfig


@dataclass(frozen=True)
class Recipe:
    """The numbers of one run. The defaults made the bundled model, on two CPU cores.

    ModernBERT's recipe (arXiv:2412.13663, section 2.2) at small scale: masked-language modelling
    alone at a 30% rate, packed sequences, a trapezoidal schedule, short sequences first and a
    longer phase at the end. Chosen tokens are always shown as `[MASK]` (Wettig et al. 2022,
    arXiv:2202.08005, found the 80-10-10 rule not worth its cost).
    """

    batch_tokens: int = 4096
    length: int = 128
    long_length: int = 512
    """Length of the rows in the last part of the run, as ModernBERT's context extension."""
    long_part: float = 0.06
    mask_rate: float = 0.3
    matrix_rate: float = 2e-3
    """Learning rate of Muon, which trains the matrices (arXiv:2502.16982)."""
    other_rate: float = 2e-3
    """Learning rate of AdamW, which trains embeddings, norms and biases."""
    weight_decay: float = 0.05
    warmup_steps: int = 100
    decay_part: float = 0.45
    clip: float = 1.0
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for the log and the checkpoint."""
        return asdict(self)


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 256,
        "intermediate_size": 384,
        "num_hidden_layers": 9,
        "num_attention_heads": 4,
        "local_attention": 32,
        "vocab_size": 10_240,
    },
    "micro": {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "local_attention": 16,
        "vocab_size": 1_024,
    },
}
"""Model sizes: `tiny` is the bundled model's; `micro` learns letters in a minute, to try."""


def build_config(preset: str, token_ids: dict[str, int], vocab_size: int) -> ModernBertConfig:
    """The model configuration of a preset, for a tokenizer of `vocab_size` tokens.

    Args:
        preset: one of `PRESETS`.
        token_ids: ids of the special tokens by name ("[PAD]").
        vocab_size: of the tokenizer; rounded up to a multiple of 64.

    Raises:
        UsageError: there is no such preset.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset {preset!r}; choose one of {', '.join(PRESETS)}.")
    return ModernBertConfig.from_dict(
        PRESETS[preset]
        | {
            "model_type": "modernbert",
            "architectures": ["ModernBertForMaskedLM"],
            "vocab_size": -(-vocab_size // 64) * 64,
            "max_position_embeddings": 2048,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160_000.0,
            "local_rope_theta": 10_000.0,
            "pad_token_id": token_ids["[PAD]"],
            "cls_token_id": token_ids["[CLS]"],
            "bos_token_id": token_ids["[CLS]"],
            "sep_token_id": token_ids["[SEP]"],
            "eos_token_id": token_ids["[SEP]"],
        }
    )


def rate_factor(recipe: Recipe, step: int, progress: float) -> float:
    """The trapezoid: rises over the warm-up, stays at 1, falls to 0 over the last part.

    torch's schedulers count steps; a run of `--minutes` does not know its steps beforehand.

    Args:
        recipe: gives the warm-up and the part that decays.
        step: zero-based.
        progress: 0 at the start of the run, 1 at its end.

    Returns:
        What the learning rates are multiplied by, from 0 to 1.
    """
    rise = min(1.0, (step + 1) / recipe.warmup_steps) if recipe.warmup_steps else 1.0
    if recipe.decay_part <= 0:
        return rise
    return min(rise, max(0.0, min(1.0, (1.0 - progress) / recipe.decay_part)))
