"""A local layer's maps straightened: every query by the offset of its keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.maps import head_names, layer_title, pooled_note
from mbexplore.errors import RangeError
from mbexplore.network.config import LayerKind
from mbexplore.recording import Recording, check_local

PIXELS = 400
"""The most rows of a picture of a band, less than its dots."""


@dataclass(frozen=True, eq=False)
class BandMap:
    """The maps of a local layer by query and offset, small enough to draw.

    Attributes:
        layer: from 0.
        theta: RoPE base.
        half_window: reach on each side.
        offsets: of the columns, key minus query; short texts have fewer than the window.
        axis: what rows stand for.
        heads: which heads, or all that `weights` is the mean of.
        is_mean: whether `weights` is the mean of `heads`.
        pool: queries to a pixel; a pixel holds the largest weight of its queries.
        weights: (heads or 1, rows, offsets) float32.
        profile: (heads or 1, offsets), the mean over the queries shown.
        edge: (heads or 1,), the mean weight at both ends of the window together.
        kind: always "local".
    """

    layer: int
    theta: float
    half_window: int
    offsets: NDArray[np.intp]
    axis: Axis
    heads: tuple[int, ...]
    is_mean: bool
    pool: int
    weights: NDArray[np.float32]
    profile: NDArray[np.float32]
    edge: NDArray[np.float32]
    kind: LayerKind = "local"

    @property
    def title(self) -> str:
        """What the layer is, in one line."""
        return layer_title(self.layer, self.kind, self.half_window, self.theta)

    @property
    def pooled(self) -> str:
        """How much a pixel holds; nothing where it holds one query."""
        return pooled_note(self.pool, "queries")

    @property
    def names(self) -> tuple[str, ...]:
        """What each map of `weights` is called."""
        return head_names(self.heads, self.is_mean)


def band_map(
    recording: Recording,
    layer: int,
    head: int | None = None,
    pixels: int = PIXELS,
    axis: Axis | None = None,
    *,
    mean: bool = False,
) -> BandMap:
    """The maps of a local layer (or of one head) by offset, max-pooled over queries.

    Args:
        recording: with "attention" kept.
        layer: from 0.
        head: one head, or None for all.
        pixels: the most rows.
        axis: tokens, all or a part; None for all. What it hides has no row and no weight.
        mean: whether to average over the heads, before pooling.

    Raises:
        RangeError: the layer is global or outside, or the axis counts in words.
    """
    config = recording.config
    axis = axis or build_axis(recording.encoding)
    if axis.words:
        raise RangeError("A band counts in tokens; leave out --words, or ask for --view map.")
    half_window, band = check_local(config, layer), recording.attention_band(layer, head)
    reach = min(half_window, len(recording) - 1)
    whole = band[:, :, half_window - reach : half_window + reach + 1].cpu().numpy()
    whole = whole.mean(0, keepdims=True) if mean else whole
    offsets = np.arange(-reach, reach + 1)
    shown = whole[:, axis.starts]  # (heads, rows, offsets)
    if axis.hide_special or axis.bounds is not None:
        keys = np.clip(axis.starts[:, None] + offsets, 0, len(recording) - 1)
        shown = np.where(axis.indices_of(keys) >= 0, shown, 0.0)
    pool = -(-len(axis) // pixels)
    at_edge = shown[:, :, [0, -1]].sum(2) if reach == half_window else np.zeros_like(shown[:, :, 0])
    return BandMap(
        layer,
        config.theta(layer),
        half_window,
        offsets,
        axis,
        tuple(range(config.num_attention_heads)) if head is None else (head,),
        mean,
        pool,
        np.maximum.reduceat(shown, range(0, len(axis), pool), axis=1).astype(np.float32),
        shown.mean(1).astype(np.float32),
        at_edge.mean(1).astype(np.float32),
    )
