"""The attention kernels: pure functions of q, k and v; knows no layer, no model, no text.

Two things limit what a query sees. *Segments* number the tokens of a row: a query sees only keys
of its own number, so 1 1 1 0 0 is a padded text and 1 1 2 2 2 two texts packed in one row. A
*half window* keeps a query at `i` to the keys `|i - j| <= half_window`, both ends included.

A local layer costs what its band costs: queries go in blocks over the span of keys they can see,
and no seq x seq matrix is ever made. The weights themselves are derived from q and k only where
somebody looks: any rows, any columns, or the band.
"""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

SCORES = 2**21
"""Scores of a global layer computed together where weights are looked at: 8 MiB in float32."""

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
    mask: Tensor | None = None,
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
        mask: what `block_mask` gives, where layers share it; made anew if it is needed.
        dropout: probability that a weight is dropped, in training.

    Returns:
        The context of every query, (batch, heads, query, head_dim).
    """
    seq = k.shape[2]
    if rows is None and in_blocks(seq, half_window):
        assert half_window is not None
        if mask is None:
            mask = block_mask(seq, half_window, segments, q.dtype, q.device)
        return _attend_in_blocks(q, k, v, half_window, mask, dropout)
    if half_window is not None and half_window >= seq - 1:
        half_window = None
    positions = torch.arange(seq, device=q.device)
    queries = positions if rows is None else rows
    seen = visible(queries, positions, half_window, segments)
    return scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)


def in_blocks(seq: int, half_window: int | None) -> bool:
    """Whether a layer's queries go in blocks: its window is shorter than the text."""
    return half_window is not None and seq > BLOCK and half_window < seq - 1


def block_mask(
    seq: int,
    half_window: int,
    segments: Tensor | None,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """What blocks of queries see of their spans of keys, for every local layer of a forward pass.

    What lies outside the text has segment -1: a text token never sees it, and the queries that
    fill up the last block see one another, so that no row is empty.

    Args:
        seq: tokens of a row.
        half_window: reach on each side.
        segments: (batch, seq), or None.
        dtype: of the queries.
        device: of the queries.

    Returns:
        0 where a query sees a key and minus infinity elsewhere, (batch or 1, blocks, 1, BLOCK,
        BLOCK + 2 * half_window).
    """
    blocks = -(-seq // BLOCK)
    tail, span = blocks * BLOCK - seq, BLOCK + 2 * half_window
    if segments is None:
        segments = torch.zeros(1, seq, dtype=torch.long, device=device)
    padded = pad(segments.long(), (half_window, half_window + tail), value=-1)
    of_queries = padded[:, half_window : half_window + blocks * BLOCK].view(-1, blocks, BLOCK, 1)
    of_keys = padded.unfold(1, span, BLOCK)[:, :, None]  # (batch or 1, blocks, 1, span)
    steps = torch.arange(span, device=device)
    near = (steps[:BLOCK, None] + half_window - steps).abs() <= half_window
    mask = torch.zeros(len(segments), blocks, 1, BLOCK, span, dtype=dtype, device=device)
    return mask.masked_fill_(~(near & (of_queries == of_keys))[:, :, None], float("-inf"))


def packed_lengths(segments: Tensor | None) -> list[int] | None:
    """Lengths of the texts that lie side by side in the one row of a batch; None for other masks.

    Args:
        segments: (batch, seq), or None.
    """
    if segments is None or len(segments) != 1:
        return None
    numbers: list[float] = segments[0].tolist()
    runs = [(number, len(list(run))) for number, run in groupby(numbers)]
    return [length for _, length in runs] if len(runs) == len(set(numbers)) else None


def _attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, half_window: int, mask: Tensor, dropout: float
) -> Tensor:
    """Local attention in one kernel call: blocks of queries fold into the batch.

    With one row to a batch, blocks of queries and their overlapping spans of keys are views.
    """
    batch, heads, seq, head_dim = q.shape
    blocks = -(-seq // BLOCK)
    tail = blocks * BLOCK - seq
    span = BLOCK + 2 * half_window

    def fold(x: Tensor) -> Tensor:
        """(batch, heads, seq, head_dim) to (batch * blocks, heads, span, head_dim)."""
        spans = pad(x, (0, 0, half_window, half_window + tail)).unfold(2, span, BLOCK)
        return spans.mT.transpose(1, 2).flatten(0, 1)

    filled = pad(q, (0, 0, 0, tail)) if tail else q
    blocked = filled.reshape(batch, heads, blocks, BLOCK, head_dim)
    context = scaled_dot_product_attention(
        blocked.transpose(1, 2).flatten(0, 1),  # (batch * blocks, heads, BLOCK, head_dim)
        fold(k),
        fold(v),
        attn_mask=mask.expand(batch, -1, -1, -1, -1).flatten(0, 1),
        dropout_p=dropout,
    )
    # The kernel lays heads beside each other in a token, as what follows wants them.
    joined = context.transpose(1, 2).reshape(batch, blocks * BLOCK, heads, head_dim)
    return joined[:, :seq].transpose(1, 2)


def attention_weights(
    q: Tensor,
    k: Tensor,
    *,
    half_window: int | None = None,
    queries: Tensor | None = None,
    keys: Tensor | None = None,
) -> Tensor:
    """The part of an attention map that is asked for, as the model weighs it.

    Each row is normalised over every key its query sees, also those not asked for. Carries no
    gradient.

    Args:
        q: rotated queries of one unpadded text, (heads, seq, head_dim).
        k: rotated keys, of the same shape.
        half_window: None for a global layer.
        queries: positions of the rows, (query,); None for all.
        keys: positions of the columns, (key,); None for all.

    Returns:
        Weights (heads, query, key), float32 or wider.
    """
    heads, seq, _ = k.shape
    positions = torch.arange(seq, device=q.device)
    queries = positions if queries is None else queries
    keys = positions if keys is None else keys
    # A global layer fills every place; beside the windows of a local one there are zeros.
    make = torch.empty if half_window is None else torch.zeros
    wide = torch.promote_types(q.dtype, torch.float32)
    part = make(heads, len(queries), len(keys), dtype=wide, device=q.device)
    size = _rows_at_once(heads, seq, half_window)
    blocks = zip(torch.split(queries, size), torch.split(part, size, dim=1), strict=True)
    for rows, block in blocks if part.numel() else ():
        low, high = key_span(int(rows.min()), int(rows.max()), seq, half_window)
        near = visible(rows, positions[low:high], half_window)
        weights = _softmax_of_scores(q[:, rows], k[:, low:high], None if near is None else near[0])
        _place(weights, low, keys, block)
    return part


def _place(weights: Tensor, low: int, keys: Tensor, block: Tensor) -> None:
    """Copies weights over the keys from `low` on to those columns of `block` that are asked for."""
    first, last, high = int(keys[0]), int(keys[-1]), low + weights.shape[2]
    if torch.equal(keys, torch.arange(first, first + len(keys), device=keys.device)):
        start, stop = max(low, first), min(high, last + 1)
        if start < stop:
            block[:, :, start - first : stop - first] = weights[:, :, start - low : stop - low]
    else:
        inside = ((keys >= low) & (keys < high)).nonzero()[:, 0]
        block[:, :, inside] = weights[:, :, keys[inside] - low]


def _rows_at_once(heads: int, seq: int, half_window: int | None) -> int:
    """Rows whose scores are computed together.

    A local layer's, so that few lie outside the band; a global one's, to stay in a cache.
    """
    if half_window is not None:
        return max(BLOCK, half_window)
    return max(16, SCORES // (heads * seq))


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


@torch.no_grad()
def _softmax_of_scores(q: Tensor, k: Tensor, near: Tensor | None) -> Tensor:
    """Weights of one block; the scores are overwritten, so that a block takes its memory once."""
    wide = torch.promote_types(q.dtype, torch.float32)
    scale: float = q.shape[-1] ** -0.5
    scores = (q.to(wide) * scale) @ k.to(wide).mT  # (heads, query, key)
    if near is not None:
        scores.masked_fill_(~near, float("-inf"))
    return torch.softmax(scores, dim=-1, out=scores)
