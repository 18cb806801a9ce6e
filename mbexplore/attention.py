"""The attention kernels: pure functions of q, k and v; knows no layer, no model, no text.

Two things limit what a query sees. *Segments* number the tokens of a row: a query sees only keys
of its own number, so 1 1 1 0 0 is a padded text and 1 1 2 2 2 two texts packed in one row. A
*half window* keeps a query at `i` to the keys `|i - j| <= half_window`, both ends included.

A local layer costs what its band costs: queries go in blocks over the span of keys they can see,
and no seq x seq matrix is ever made. The weights themselves are derived from q and k only where
somebody looks: any rows, any columns, or the band.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

BLOCK = 64
"""Queries of a local layer computed together: small enough to waste few keys outside the window,
large enough to keep the matrix products busy (32 to 128 measured alike at half_window 64)."""


def visible(
    queries: Tensor, keys: Tensor, half_window: int | None, segments: Tensor | None = None
) -> Tensor | None:
    """Which keys each query sees, or None where it sees all of them.

    Args:
        queries: positions, (query,).
        keys: positions, (key,).
        half_window: None for a global layer.
        segments: numbers of the tokens of each row, (batch, seq).

    Returns:
        Booleans (batch or 1, 1, query, key), ready for scores (batch, heads, query, key).
    """
    near = None
    if half_window is not None:
        near = ((queries[:, None] - keys).abs() <= half_window)[None, None]
    if segments is None:
        return near
    same = segments[:, None, queries, None] == segments[:, None, None, keys]
    return same if near is None else same & near


def key_span(first: int, last: int, seq: int, half_window: int | None) -> tuple[int, int]:
    """Bounds `[start, stop)` of the keys that the queries first .. last can see in their window."""
    if half_window is None:
        return 0, seq
    return max(0, first - half_window), min(seq, last + half_window + 1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    half_window: int | None = None,
    segments: Tensor | None = None,
    rows: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Softmax attention, softmax(q k^T / sqrt(head_dim)) v, over the keys each query sees.

    Args:
        q: rotated queries, (batch, heads, query, head_dim), one for each of `rows`.
        k: rotated keys, (batch, heads, seq, head_dim).
        v: values, of the shape of `k`.
        half_window: reach on each side; None for a global layer.
        segments: (batch, seq); None where every row is one unpadded text.
        rows: positions of the queries, (query,); None for all of them in order.
        dropout: probability that a weight is dropped, in training.

    Returns:
        The context of every query, (batch, heads, query, head_dim).
    """
    seq = k.shape[2]
    if half_window is not None and half_window >= seq - 1:
        half_window = None
    if half_window is None or rows is not None or seq <= BLOCK:
        positions = torch.arange(seq, device=q.device)
        queries = positions if rows is None else rows
        mask = visible(queries, positions, half_window, segments)
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
    return _attend_in_blocks(q, k, v, half_window, segments, dropout)


def _attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, half_window: int, segments: Tensor | None, dropout: float
) -> Tensor:
    """Local attention in one kernel call: blocks of queries fold into the batch.

    What lies outside the text has segment -1: a text token never sees it, and the queries that
    fill up the last block see one another, so that no row is empty.
    """
    batch, heads, seq, head_dim = q.shape
    blocks = -(-seq // BLOCK)
    tail = blocks * BLOCK - seq
    span = BLOCK + 2 * half_window

    def fold(x: Tensor) -> Tensor:
        """(batch, heads, ..., head_dim, span) spans of keys to (batch * blocks, heads, span, _)."""
        spans = pad(x, (0, 0, half_window, half_window + tail)).unfold(2, span, BLOCK)
        return spans.mT.transpose(1, 2).flatten(0, 1)  # (batch * blocks, heads, span, head_dim)

    if segments is None:
        segments = torch.zeros(1, seq, dtype=torch.long, device=q.device)
    padded = pad(segments.long(), (half_window, half_window + tail), value=-1)
    of_queries = padded[:, half_window : half_window + blocks * BLOCK].view(-1, blocks, BLOCK, 1)
    of_keys = padded.unfold(1, span, BLOCK)[:, :, None]  # (batch or 1, blocks, 1, span)
    steps = torch.arange(span, device=q.device)
    near = (steps[:BLOCK, None] + half_window - steps).abs() <= half_window
    mask = (near & (of_queries == of_keys)).expand(batch, -1, -1, -1)
    blocked = pad(q, (0, 0, 0, tail)).view(batch, heads, blocks, BLOCK, head_dim).transpose(1, 2)
    context = scaled_dot_product_attention(
        blocked.flatten(0, 1),  # (batch * blocks, heads, BLOCK, head_dim)
        fold(k),
        fold(v),
        attn_mask=mask.flatten(0, 1)[:, None],
        dropout_p=dropout,
    )
    unfolded = context.view(batch, blocks, heads, BLOCK, head_dim).transpose(1, 2).flatten(2, 3)
    return unfolded[:, :, :seq]


def attention_weights(
    q: Tensor,
    k: Tensor,
    *,
    half_window: int | None = None,
    queries: Tensor | None = None,
    keys: Tensor | None = None,
) -> Tensor:
    """The part of an attention map that is asked for, as the model weighs it.

    Each row is normalised over every key its query sees, also those not asked for.

    Args:
        q: rotated queries of one unpadded text, (heads, seq, head_dim).
        k: rotated keys, of the same shape.
        half_window: None for a global layer.
        queries: positions of the rows, (query,); None for all.
        keys: positions of the columns, (key,); None for all.

    Returns:
        Weights (heads, query, key), float32 or wider.
    """
    seq = k.shape[1]
    positions = torch.arange(seq, device=q.device)
    queries = positions if queries is None else queries
    if len(queries) == 0:
        shape = (len(q), 0, seq if keys is None else len(keys))
        return q.new_zeros(shape, dtype=torch.promote_types(q.dtype, torch.float32))
    low, high = key_span(int(queries.min()), int(queries.max()), seq, half_window)
    near = visible(queries, positions[low:high], half_window)
    weights = _softmax_of_scores(q[:, queries], k[:, low:high], None if near is None else near[0])
    keys = positions if keys is None else keys
    if torch.equal(keys, positions[low:high]):
        return weights  # all that was computed is asked for: no copy
    chosen = weights.new_zeros(len(weights), len(queries), len(keys))
    inside = (keys >= low) & (keys < high)
    chosen[:, :, inside] = weights[:, :, keys[inside] - low]
    return chosen


def attention_band(q: Tensor, k: Tensor, half_window: int) -> Tensor:
    """The whole map of a local layer, straightened: column `c` is the key at `i - half_window + c`.

    Args:
        q: rotated queries of one unpadded text, (heads, seq, head_dim).
        k: rotated keys, of the same shape.
        half_window: reach on each side.

    Returns:
        Weights (heads, seq, 2 * half_window + 1), zero where the key would lie outside the text.
    """
    heads, seq, _ = q.shape
    width = 2 * half_window + 1
    wide = torch.promote_types(q.dtype, torch.float32)
    band = torch.empty(heads, seq, width, dtype=wide, device=q.device)
    padded = pad(k, (0, 0, half_window, half_window + BLOCK))
    positions = torch.arange(-half_window, seq + half_window + BLOCK, device=q.device)
    for start in range(0, seq, BLOCK):
        size = min(BLOCK, seq - start)
        span = slice(start, start + size + 2 * half_window)  # of the padded keys
        queries, keys = positions[start + half_window :][:size], positions[span]
        near = (queries[:, None] - keys).abs() <= half_window
        weights = _softmax_of_scores(
            q[:, start : start + size], padded[:, span], near & (keys >= 0) & (keys < seq)
        )  # (heads, size, size + 2 * half_window)
        # Row r of a block starts its window at column r: one step further right in each row.
        columns = torch.arange(size, device=q.device)[:, None] + torch.arange(
            width, device=q.device
        )
        band[:, start : start + size] = weights.gather(2, columns.expand(heads, -1, -1))
    return band


def _softmax_of_scores(q: Tensor, k: Tensor, near: Tensor | None) -> Tensor:
    wide = torch.promote_types(q.dtype, torch.float32)
    scale: float = q.shape[-1] ** -0.5
    scores = (q.to(wide) * scale) @ k.to(wide).mT  # (heads, query, key)
    if near is not None:
        scores.masked_fill_(~near, float("-inf"))
    return scores.softmax(dim=-1)
