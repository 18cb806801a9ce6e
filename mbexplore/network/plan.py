"""What all layers of one kind share in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from typing_extensions import Self

from mbexplore.network.config import LayerInfo, LayerKind, ModernBertConfig
from mbexplore.network.rope import rope_tables
from mbexplore.network.visibility import Visibility


@dataclass(frozen=True, eq=False)
class AttentionPlan:
    """Rotation tables and visibility; built once a pass."""

    cos: Tensor  # (seq, head_dim / 2), or (batch or 1, 1, seq, head_dim / 2)
    sin: Tensor
    visibility: Visibility

    @classmethod
    def build(
        cls, x: Tensor, info: LayerInfo, segments: Tensor | None, position_ids: Tensor | None
    ) -> Self:
        """The plan of a layer for a pass over `x`, (batch, seq, hidden)."""
        last = x.shape[1] - 1 if position_ids is None else int(position_ids.max())
        cos, sin = rope_tables(info.theta, info.head_dim, last + 1, x.dtype, x.device, info.scaling)
        if position_ids is not None:
            cos, sin = cos[position_ids][:, None], sin[position_ids][:, None]
        return cls(cos, sin, Visibility.build(x, info.half_window, segments))


def build_plans(
    x: Tensor, config: ModernBertConfig, segments: Tensor | None, position_ids: Tensor | None
) -> list[AttentionPlan]:
    """The plan of every layer; layers of one kind share theirs."""
    plans: dict[LayerKind, AttentionPlan] = {}
    for index, kind in enumerate(config.layer_kinds):
        if kind not in plans:
            plans[kind] = AttentionPlan.build(x, config.layer(index), segments, position_ids)
    return [plans[kind] for kind in config.layer_kinds]
