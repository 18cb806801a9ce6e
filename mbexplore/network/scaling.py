"""Rotations for texts longer than a model was trained on, of config.json: linear scaling and YaRN.

Chen et al. 2023, "Extending Context Window of Large Language Models via Positional Interpolation"
(arXiv:2306.15595); Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language
Models" (arXiv:2309.00071). Read as transformers does; knows nothing of tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mbexplore.errors import ModelError
from mbexplore.text import quoted


@dataclass(frozen=True)
class RopeScaling:
    """How the frequencies of a kind of layers are scaled; the names are those of config.json.

    Attributes:
        rope_type: "linear" divides every frequency by `factor`; "yarn" those of slow pairs alone.
        factor: how many times as long texts may be.
        original_max_position_embeddings: tokens of the texts that the model was trained on.
        beta_fast: a pair that turns so often in such a text, or more, keeps its frequency.
        beta_slow: one that turns so seldom, or less, has it divided by all of `factor`.
        attention_factor: what rotated queries and keys are multiplied by.
    """

    rope_type: str
    factor: float
    original_max_position_embeddings: int = 0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0

    def __str__(self) -> str:
        return f"{self.rope_type} x {self.factor:g}"

    def ends(self, theta: float, head_dim: int) -> tuple[int, float]:
        """The last pair, of the fast ones, that keeps its frequency, and the first divided one."""

        def pair_of(turns: float) -> float:
            steps = self.original_max_position_embeddings / (turns * 2 * math.pi)
            return head_dim * math.log(steps) / (2 * math.log(theta))

        low = max(math.floor(pair_of(self.beta_fast)), 0)
        high: float = min(math.ceil(pair_of(self.beta_slow)), head_dim - 1)
        return low, high + 0.001 * (low == high)

    def to_dict(self) -> dict[str, Any]:
        """The keys of config.json that say the same."""
        found: dict[str, Any] = {"rope_type": self.rope_type, "factor": self.factor}
        if self.rope_type == "yarn":
            names = ("original_max_position_embeddings", "beta_fast", "beta_slow")
            found |= {name: getattr(self, name) for name in (*names, "attention_factor")}
        return found


def read_scaling(rope: Mapping[str, Any], kind: str, longest: int) -> RopeScaling | None:
    """What config.json says of the rope of one kind of layers; None for the plain one.

    Args:
        rope: `rope_parameters` of the kind.
        kind: "global" or "local".
        longest: `max_position_embeddings`.

    Raises:
        ModelError: it is another type of rope, or one of its numbers can't be used.
    """
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type == "default":
        return None
    if rope_type not in ("linear", "yarn"):
        raise ModelError(
            f"config.json asks for rope_type {quoted(rope_type)} on {kind} layers; "
            "open a model with 'default', 'linear' or 'yarn'."
        )
    for name, plain in (("partial_rotary_factor", 1.0), ("truncate", True)):
        if rope.get(name, plain) not in (plain, None):
            raise ModelError(
                f"{name} is {quoted(rope[name])} for the {rope_type} rope of {kind} layers in "
                f"config.json; open a model that has {plain} there."
            )

    def number(name: str, value: Any, least: float = 1e-9) -> float:
        if type(value) not in (int, float) or not least <= value <= 1e9:
            raise ModelError(
                f"{name} is {quoted(value)} for the {rope_type} rope of {kind} layers in "
                f"config.json; it must be a number from {least:g} to 10^9."
            )
        return float(value)

    if rope_type == "linear":
        return RopeScaling(rope_type, number("factor", rope.get("factor")))
    trained = rope.get("original_max_position_embeddings", longest)
    trained = int(number("original_max_position_embeddings", trained, 1))
    factor = rope.get("factor", 0)
    factor = longest / trained if factor is None else number("factor", factor)
    magnitude = rope.get("attention_factor")
    if magnitude is None:
        scales = [rope.get(name) for name in ("mscale", "mscale_all_dim")]
        above, below = (number("mscale", x) for x in scales) if all(scales) else (1.0, 0.0)
        magnitude = _magnitude(factor, above) / _magnitude(factor, below)
    return RopeScaling(
        rope_type,
        factor,
        trained,
        number("beta_fast", rope.get("beta_fast") or 32.0),
        number("beta_slow", rope.get("beta_slow") or 1.0),
        number("attention_factor", magnitude),
    )


def _magnitude(factor: float, scale: float) -> float:
    """YaRN's equation 22: 0.1 ln(factor) + 1, its first part times a scale."""
    return 1.0 if factor <= 1 else 0.1 * scale * math.log(factor) + 1.0
