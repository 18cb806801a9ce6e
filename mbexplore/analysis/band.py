"""A local layer's maps straightened: every query by the offset of its keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbexplore.analysis.axis import Axis, build_axis
from mbexplore.analysis.maps import LayerFacts, layer_facts, max_pool
from mbexplore.errors import RangeError
from mbexplore.hooks import Progress
from mbexplore.recording import Recording, check_local

PIXELS = 400
"""The most rows of a picture of a band, less than its dots."""


@dataclass(frozen=True, eq=False)
class BandMap(LayerFacts):
    """The maps of a local layer by query and offset, small enough to draw.

    Attributes:
        offsets: of the columns, key minus query; short texts have fewer than the window.
        pool: queries to a pixel; a pixel holds the largest weight of its queries.
        weights: (heads or 1, rows, offsets) float32.
        profile: (heads or 1, offsets), mean weight over the queries of the whole text that have a
            key at that offset.
        profile_rows: (offsets,), how many these are.
        edge: (heads or 1,), mean weight at both ends of the window together, over the queries of
            the whole text that have a key at either; 0 where none has.
        edge_rows: how many these are.
    """

    offsets: NDArray[np.intp]
    pool: int
    weights: NDArray[np.float32]
    profile: NDArray[np.float32]
    profile_rows: NDArray[np.intp]
    edge: NDArray[np.float32]
    edge_rows: int


def band_map(
    recording: Recording,
    layer: int,
    head: int | None = None,
    pixels: int = PIXELS,
    axis: Axis | None = None,
    *,
    mean: bool = False,
    progress: Progress | None = None,
) -> BandMap:
    """The maps of a local layer (or of one head) by offset, max-pooled over queries.

    A part of the text shows the weights that these queries have in the whole.
    Special tokens that the axis hides have no row and no weight. It takes what `maps.layer_map`
    takes, and has at most `pixels` rows.

    Raises:
        RangeError: the layer is global or outside, or the axis counts in words.
    """
    axis = axis or build_axis(recording.encoding)
    if axis.words:
        raise RangeError("A band counts in tokens, not in words; take tokens, or the map.")
    half_window, seq = check_local(recording.config, layer), len(recording)
    facts = LayerFacts(*layer_facts(recording, layer, head, axis, mean))
    whole = _band(recording, layer, facts.heads, mean, progress)  # (heads, seq, offsets)
    reach = whole.shape[2] // 2
    offsets = np.arange(-reach, reach + 1)
    shown = whole[:, axis.starts]  # (heads, rows, offsets)
    if axis.hide_special:
        keys = np.clip(axis.starts[:, None] + offsets, 0, seq - 1)
        words = np.array([word is not None for word in recording.encoding.words])
        shown = np.where(words[keys], shown, 0.0)
    profile_rows = seq - np.abs(offsets)
    edge, edge_rows = np.zeros(len(whole)), 0
    if 0 < half_window < seq:
        edge_rows = min(seq, 2 * (seq - half_window))
        edge = whole[:, :, [0, -1]].sum(axis=(1, 2)) / edge_rows
    pool = -(-len(axis) // pixels)
    return BandMap(
        **vars(facts),
        offsets=offsets,
        pool=pool,
        weights=max_pool(shown, (pool, 1)).astype(np.float32),
        profile=(whole.sum(axis=1) / profile_rows).astype(np.float32),
        profile_rows=profile_rows,
        edge=edge.astype(np.float32),
        edge_rows=edge_rows,
    )


def _band(
    recording: Recording, layer: int, heads: tuple[int, ...], mean: bool, progress: Progress | None
) -> NDArray[np.float64]:
    """Weights by offset, (heads or 1, seq, offsets), as far as the text has keys."""
    half_window = check_local(recording.config, layer)
    reach = min(half_window, len(recording) - 1)
    bands = []
    for done, head in enumerate(heads, start=1):
        band = recording.attention_band(layer, head)[:, :, half_window - reach :]
        bands.append(band[:, :, : 2 * reach + 1].cpu().double().numpy())
        if progress is not None:
            progress(done, len(heads))
    return np.mean(bands, axis=0) if mean else np.concatenate(bands)
