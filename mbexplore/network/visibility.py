"""Which keys each query sees. Knows no layer, no kernel, no text.

Two things limit what a query sees. *Segments* number the tokens of a row: a query sees only keys
of its own number, so 1 1 1 0 0 is a padded text and 1 1 2 2 2 two texts packed in one row. A
*half window* keeps a query at `i` to the keys `|i - j| <= half_window`, both ends included.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from typing_extensions import Self

from mbexplore.errors import RangeError

BLOCK = 64
"""Queries of a local layer computed together: small enough to waste few keys outside the window,
large enough to keep the matrix products busy (32 to 128 measured alike at half_window 64)."""

LANES, FEW = 16, 256
"""On a CPU, torch's kernel takes the exponentials of `LANES` keys together, and what is left of a
row one by one, at ten times the cost. So a packed text of up to `FEW` tokens, of which those are
much, reads on to a multiple of `LANES`, and what it reads of its neighbour is hidden."""


class Texts(NamedTuple):
    """Packed texts of one length, beside each other.

    Attributes:
        number: of texts.
        length: tokens of each.
        keys: that each reads from its start on: `length` or, into its neighbour, a few more.
        mask: which of these each token sees, booleans (length, keys); None for all.
    """

    number: int
    length: int
    keys: int
    mask: Tensor | None


@dataclass(frozen=True, eq=False)
class Visibility:
    """What the queries of one forward pass see in all layers of one kind; built once a pass.

    Attributes:
        seq: tokens of a row.
        half_window: reach on each side; None for a global layer.
        segments: (batch, seq); None where every row is one unpadded text.
        mask: of a kernel that takes all queries: blocks as of `block_mask` where `in_blocks`, else
            booleans (batch or 1, 1, seq, seq); None where nothing is hidden.
        packed: the texts of the only row, neighbours of one length together, where none is longer
            than a block and what it sees: each then goes through the kernel by itself.
    """

    seq: int
    half_window: int | None = None
    segments: Tensor | None = None
    mask: Tensor | None = None
    packed: tuple[Texts, ...] | None = None

    @classmethod
    def build(
        cls,
        x: Tensor,
        half_window: int | None = None,
        segments: Tensor | None = None,
    ) -> Self:
        """What is seen in a pass over rows of tokens.

        Args:
            x: (batch, ..., seq, _), for its length, dtype and device.
            half_window: reach on each side; None for a global layer.
            segments: (batch, seq), or None.
        """
        seq, mask = x.shape[-2], None
        # float16 overflows, and hidden infinities would make what sees them none.
        has_lanes = x.device.type == "cpu" and x.dtype != torch.float16
        packed = packed_texts(segments, half_window, has_lanes)
        if packed is None and in_blocks(seq, half_window):
            assert half_window is not None
            mask = block_mask(seq, half_window, segments, x.dtype, x.device)
        elif packed is None:
            positions = torch.arange(seq, device=x.device)
            near = None if half_window is None or half_window >= seq - 1 else half_window
            mask = visible(positions, positions, near, segments)
        return cls(seq, half_window, segments, mask, packed)

    @property
    def in_blocks(self) -> bool:
        """Whether queries go through the kernel in blocks."""
        return in_blocks(self.seq, self.half_window)

    def of_queries(self, queries: Tensor) -> Tensor | None:
        """What some queries see of all keys: booleans (batch or 1, 1, query, seq), None for all."""
        keys = torch.arange(self.seq, device=queries.device)
        return visible(queries, keys, self.half_window, self.segments)

    def in_band(self, device: torch.device) -> Tensor:
        """What a local layer's queries see of the keys in reach, by offset.

        Returns:
            Booleans (batch or 1, 1, seq, 2 * half_window + 1); column `c` is the key at
            `i - half_window + c`, which is not seen where it lies outside the text.
        """
        assert self.half_window is not None
        segments = self.segments
        if segments is None:
            segments = torch.zeros(1, self.seq, dtype=torch.long, device=device)
        reach = (self.half_window, self.half_window)
        keys = pad(segments, reach, value=OUTSIDE).unfold(1, 2 * self.half_window + 1, 1)
        return (keys == segments[..., None])[:, None]


OUTSIDE = -(2**31)
"""The segment of what lies outside a text: no token has it."""


def find_segments(attention_mask: Tensor | None, segment_ids: Tensor | None) -> Tensor | None:
    """Segments (batch, seq) of a padded or packed batch; None where every row is one whole text.

    Args:
        attention_mask: (batch, seq), 0 for padding.
        segment_ids: (batch, seq), whole numbers of the texts packed in each row.

    Raises:
        RangeError: one of them has other axes, such as transformers' masks of queries and keys.
    """
    for name, given in (("attention_mask", attention_mask), ("segment_ids", segment_ids)):
        if given is not None and given.dim() != 2:
            raise RangeError(
                f"{name} has the shape {tuple(given.shape)}; give (batch, seq), and hide single "
                "keys by an edit of the scores."
            )
    segments = None if segment_ids is None else segment_ids.long()
    if attention_mask is not None:
        real = attention_mask != 0
        segments = real.long() if segments is None else segments.masked_fill(~real, OUTSIDE + 1)
    if segments is None or bool((segments == segments[:, :1]).all()):
        return None
    return segments


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

    What lies outside the text has a segment of its own: a token never sees it, and the queries that
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
    padded = pad(segments, (half_window, half_window + tail), value=OUTSIDE)
    of_queries = padded[:, half_window : half_window + blocks * BLOCK].view(-1, blocks, BLOCK, 1)
    of_keys = padded.unfold(1, span, BLOCK)[:, :, None]  # (batch or 1, blocks, 1, span)
    steps = torch.arange(span, device=device)
    near = (steps[:BLOCK, None] + half_window - steps).abs() <= half_window
    mask = torch.zeros(len(segments), blocks, 1, BLOCK, span, dtype=dtype, device=device)
    return mask.masked_fill_(~(near & (of_queries == of_keys))[:, :, None], float("-inf"))


def packed_texts(
    segments: Tensor | None, half_window: int | None, has_lanes: bool = False
) -> tuple[Texts, ...] | None:
    """The texts that lie side by side in the one row of a batch.

    Args:
        segments: (batch, seq), or None.
        half_window: None for a global layer.
        has_lanes: whether reading keys to a multiple of `LANES` pays.

    Returns:
        None for other masks, and where a text of a local layer had better go in blocks.
    """
    if segments is None or len(segments) != 1:
        return None
    numbers: list[int] = segments[0].tolist()
    lengths = [len(list(run)) for _, run in groupby(numbers)]
    is_short = half_window is None or max(lengths) <= BLOCK + 2 * half_window
    if not is_short or len(lengths) != len(set(numbers)):
        return None
    found, start = [], 0
    for length, texts in groupby(lengths):
        number = len(list(texts))
        keys = -(-length // LANES) * LANES if length <= FEW and has_lanes else length
        # The last texts of the row have too few tokens behind them.
        fit = max(0, min(number, (len(numbers) - start - keys) // length + 1))
        for some, read in ((fit, keys), (number - fit, length)):
            if some:
                mask = _of_text(length, read, half_window, segments.device)
                found.append(Texts(some, length, read, mask))
        start += number * length
    return tuple(found)


def _of_text(
    length: int, keys: int, half_window: int | None, device: torch.device
) -> Tensor | None:
    """What the tokens of one text see of so many keys from its start on; None for all."""
    positions = torch.arange(keys, device=device)
    near = None if half_window is None or length <= half_window + 1 else half_window
    if keys == length and near is None:
        return None
    inside = positions < length
    seen = visible(positions[:length], positions, near)
    return inside.expand(length, keys) if seen is None else seen[0, 0] & inside
