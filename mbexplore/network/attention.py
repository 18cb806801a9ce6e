"""The attention kernels: pure functions of q, k and v; knows no layer, no model, no text.

A local layer costs what its band costs: queries go in blocks over the span of keys they can see,
and no seq x seq matrix is ever made. Scores and weights are made only where somebody wants them:
inside a pass by `attention_scores` and `mix_values`, or afterwards out of q and k, any rows, any
columns, or the band, by `attention_weights` and `attention_band`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

from mbexplore.network.visibility import BLOCK, Texts, Visibility, key_span, visible

SCORES = 2**21
"""Scores of a global layer computed together where weights are looked at: 8 MiB in float32."""


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visibility: Visibility,
    query_positions: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Softmax attention, softmax(q k^T / sqrt(head_dim)) v, over the keys each query sees.

    Args:
        q: rotated queries, (batch, heads, seq, head_dim).
        k: rotated keys, of the shape of `q`.
        v: values, of the shape of `q`.
        visibility: which keys each query sees.
        query_positions: (query,) of those that are wanted; None for all in order.
        dropout: probability that a weight is dropped, in training.

    Returns:
        The mix of values of every query, (batch, heads, query, head_dim).
    """
    wanted = slice(None) if query_positions is None else query_positions
    if visibility.packed is not None and _pays(visibility.packed, query_positions):
        return _attend_in_texts(q, k, v, visibility.packed, dropout)[:, :, wanted]
    if query_positions is not None:
        seen = visibility.of_queries(query_positions)
        return scaled_dot_product_attention(
            q[:, :, wanted], k, v, attn_mask=seen, dropout_p=dropout
        )
    if visibility.in_blocks:
        return _attend_in_blocks(q, k, v, visibility, dropout)
    # The kernel is a quarter faster on values that lie in one piece, as rotated q and k do.
    v = v.contiguous()
    return scaled_dot_product_attention(q, k, v, attn_mask=visibility.mask, dropout_p=dropout)


def _pays(packed: tuple[Texts, ...], query_positions: Tensor | None) -> bool:
    """Whether all queries of packed texts cost less than the wanted ones over all of the row."""
    if query_positions is None:
        return True
    seq = sum(number * length for number, length, *_ in packed)
    return sum(number * length**2 for number, length, *_ in packed) <= len(query_positions) * seq


def _attend_in_texts(
    q: Tensor, k: Tensor, v: Tensor, packed: tuple[Texts, ...], dropout: float
) -> Tensor:
    """Each packed text by itself, neighbours of one length as a batch: no waste."""
    parts, start = [], 0
    for number, length, keys, mask in packed:
        z = scaled_dot_product_attention(
            _texts(q, start, number, length, length),
            _texts(k, start, number, length, keys),
            _texts(v, start, number, length, keys),
            attn_mask=mask,
            dropout_p=dropout,
        )
        # The kernel lays heads beside each other in a token, as what follows wants them.
        parts.append(z.transpose(1, 2).flatten(0, 1))  # (token, heads, head_dim)
        start += number * length
    return torch.cat(parts)[None].transpose(1, 2)


def _texts(x: Tensor, start: int, number: int, length: int, size: int) -> Tensor:
    """`size` tokens from the start of each text on, (text, heads, size, head_dim), not copied."""
    some = x[0, :, start : start + (number - 1) * length + size]
    return some.unfold(1, size, length).permute(1, 0, 3, 2)


def _attend_in_blocks(
    q: Tensor, k: Tensor, v: Tensor, visibility: Visibility, dropout: float
) -> Tensor:
    """Local attention in one kernel call: blocks of queries fold into the batch."""
    assert visibility.half_window is not None and visibility.mask is not None
    batch, heads, seq, head_dim = q.shape
    mask = visibility.mask.expand(batch, -1, -1, -1, -1).flatten(0, 1)
    blocked, keys, values = (
        x.transpose(1, 2).flatten(0, 1)  # (batch * blocks, heads, BLOCK or span, head_dim)
        for x in (_blocks(q), _spans(k, visibility.half_window), _spans(v, visibility.half_window))
    )
    z = scaled_dot_product_attention(blocked, keys, values, attn_mask=mask, dropout_p=dropout)
    # The kernel lays heads beside each other in a token, as what follows wants them.
    joined = z.transpose(1, 2).reshape(batch, -1, heads, head_dim)
    return joined[:, :seq].transpose(1, 2)


def _blocks(x: Tensor) -> Tensor:
    """(batch, heads, seq, n) to (batch, heads, blocks, BLOCK, n), zeros after the text."""
    batch, heads, seq, n = x.shape
    tail = -seq % BLOCK
    filled = pad(x, (0, 0, 0, tail)) if tail else x
    return filled.reshape(batch, heads, -1, BLOCK, n)


def _spans(x: Tensor, half_window: int) -> Tensor:
    """The tokens in reach of each block, (batch, heads, blocks, BLOCK + 2 * half_window, n)."""
    tail = -x.shape[2] % BLOCK
    padded = pad(x, (0, 0, half_window, half_window + tail))
    return padded.unfold(2, BLOCK + 2 * half_window, BLOCK).transpose(-1, -2)


def attention_scores(q: Tensor, k: Tensor, visibility: Visibility) -> Tensor:
    """What the softmax is taken of, q k^T / sqrt(head_dim), minus infinity where nothing is seen.

    Args:
        q: rotated queries, (batch, heads, seq, head_dim).
        k: rotated keys, of the same shape.
        visibility: which keys each query sees.

    Returns:
        (batch, heads, seq, seq); of a local layer a band, (batch, heads, seq, 2 * half_window + 1),
        whose column `c` is the key at `i - half_window + c`.
    """
    scaled, half_window, seq = q * q.shape[-1] ** -0.5, visibility.half_window, q.shape[2]
    if half_window is None:
        scores: Tensor = scaled @ k.mT  # (batch, heads, seq, seq)
        seen = visibility.of_queries(torch.arange(seq, device=q.device))
        return scores if seen is None else scores.masked_fill(~seen, float("-inf"))
    blocks = _blocks(scaled) @ _spans(k, half_window).mT  # (batch, heads, blocks, BLOCK, span)
    # Row r of a block sees its span from column r on: in rows one longer, always from column 0.
    span = blocks.shape[-1]
    rows = pad(blocks.flatten(-2), (0, BLOCK)).view(*blocks.shape[:-1], span + 1)
    band = rows[..., : 2 * half_window + 1].flatten(2, 3)[:, :, :seq]  # (batch, heads, seq, width)
    return band.masked_fill(~visibility.in_band(q.device), float("-inf"))


def mix_values(pattern: Tensor, v: Tensor, half_window: int | None) -> Tensor:
    """The mix of values that a pattern makes, (batch, heads, seq, head_dim).

    Args:
        pattern: weights in the shape that `attention_scores` gives.
        v: values, (batch, heads, seq, head_dim).
        half_window: None for a global layer.
    """
    if half_window is None:
        return pattern @ v
    span, seq = BLOCK + 2 * half_window, v.shape[2]
    rows = pad(_blocks(pattern), (0, span + 1 - pattern.shape[-1]))  # the way back from a band
    blocks = rows.flatten(-2)[..., : BLOCK * span].reshape(*rows.shape[:-1], span)
    return (blocks @ _spans(v, half_window)).flatten(2, 3)[:, :, :seq]


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
