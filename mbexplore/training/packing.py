"""Texts to batches: cuts documents, packs them into rows without padding, draws masks.

Everything is a pure function of the seed, the epoch, the block and the step, so a stopped run goes
on with the batches it would have had. Knows nothing of models.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mbexplore.errors import TextError
from mbexplore.training.corpus import Document

Ints = NDArray[np.int64]

BLOCK = 4096
"""Pieces that are packed together: enough that nearly every row is full."""


@dataclass(frozen=True, eq=False)
class TokenizedTexts:
    """All documents of all corpora, end to end."""

    tokens: NDArray[np.int32]  # (total,)
    starts: Ints  # (documents + 1,)
    weights: NDArray[np.float64]  # (documents,), times a document is seen in an epoch

    @property
    def fingerprint(self) -> int:
        """A number that differs for other tokens, documents or weights."""
        arrays = (self.tokens, self.starts, self.weights)
        return zlib.crc32(b"".join(zlib.crc32(a.tobytes()).to_bytes(4, "big") for a in arrays))


@dataclass(frozen=True, eq=False)
class Pieces:
    """Parts of documents short enough for a row; two places in a row are for [CLS] and [SEP]."""

    texts: TokenizedTexts
    starts: Ints  # (pieces,)
    sizes: Ints  # (pieces,)
    weights: NDArray[np.float64]  # (pieces,)
    length: int


@dataclass(frozen=True)
class Place:
    """Where a run stands in its data: the next row to take."""

    epoch: int = 0
    block: int = 0
    row: int = 0


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of packed texts with some tokens masked."""

    input_ids: Ints  # (rows, length)
    segments: Ints  # (rows, length), 0 for padding, 1 2 3 ... for the texts of a row
    positions: Ints  # (masked,), into the flattened rows
    labels: Ints  # (masked,)


def tokenize_corpora(
    tokenizer: Tokenizer, corpora: Sequence[tuple[list[Document], float]]
) -> TokenizedTexts:
    """Tokenizes documents, their paragraphs joined by line breaks.

    Args:
        tokenizer: without padding or truncation.
        corpora: documents with the weight they share.

    Raises:
        TextError: there is nothing to train on.
    """
    parts: list[NDArray[np.int32]] = []
    weights: list[float] = []
    for documents, weight in corpora:
        for start in range(0, len(documents), 2000):
            texts = ["\n".join(document) for document in documents[start : start + 2000]]
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                if encoding.ids:
                    parts.append(np.array(encoding.ids, dtype=np.int32))
                    weights.append(weight)
    if not parts:
        raise TextError("The corpus holds no text; give a file with a paragraph on each line.")
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return TokenizedTexts(np.concatenate(parts), starts, np.array(weights))


def check_words(texts: TokenizedTexts, special: Sequence[int]) -> None:
    """Refuses texts without one token to hide.

    Raises:
        TextError: they are special and unknown tokens alone.
    """
    for start in range(0, len(texts.tokens), 2**16):
        if not np.isin(texts.tokens[start : start + 2**16], special).all():
            return
    raise TextError(
        "The corpus holds special and unknown tokens alone, so there is nothing to learn; give "
        "other texts, or a tokenizer that knows them."
    )


def cut_pieces(texts: TokenizedTexts, length: int) -> Pieces:
    """Cuts every document into pieces that fit a row of `length` with [CLS] and [SEP]."""
    size = length - 2
    sizes = np.diff(texts.starts)
    counts = -(-sizes // size)
    document = np.repeat(np.arange(len(sizes)), counts)
    index = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = texts.starts[document] + index * size
    return Pieces(
        texts,
        starts,
        np.minimum(size, texts.starts[document + 1] - starts),
        texts.weights[document],
        length,
    )


def draw_epoch(pieces: Pieces, seed: int, epoch: int) -> Ints:
    """The pieces of one epoch in their order: each as often as its weight says, on average."""
    random = np.random.default_rng([seed, epoch, 1])
    whole = np.floor(pieces.weights)
    extra = random.random(len(whole)) < pieces.weights - whole
    order = np.repeat(np.arange(len(whole)), (whole + extra).astype(np.int64))
    random.shuffle(order)
    return order


def pack_rows(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Packs texts into rows: longest first, each into the fullest row that still has room.

    Args:
        sizes: of the texts with [CLS] and [SEP], none over `length`.
        length: of a row.

    Returns:
        For each row, the indices of its texts.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(length + 1)]  # row numbers by room left
    for text in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        size = sizes[text]
        for room in range(size, length + 1):
            if with_room[room]:
                row = with_room[room].pop()
                break
        else:
            row, room = len(rows), length
            rows.append([])
        rows[row].append(text)
        with_room[room - size].append(row)
    return rows


class RowStream:
    """Endless rows from a `Place` on; `place` is always the next row's."""

    def __init__(
        self, pieces: Pieces, *, cls_id: int, sep_id: int, pad_id: int, seed: int, place: Place
    ) -> None:
        self.pieces = pieces
        self.place = place
        self._ids = (cls_id, sep_id, pad_id)
        self._seed = seed
        self._order: tuple[int, Ints] | None = None
        self._rows: tuple[Place, list[list[int]]] | None = None

    def take(self, count: int) -> tuple[Ints, Ints]:
        """The next `count` rows: ids and segments, each (count, length)."""
        cls_id, sep_id, pad_id = self._ids
        ids = np.full((count, self.pieces.length), pad_id, dtype=np.int64)
        segments = np.zeros_like(ids)
        for row in range(count):
            at = 0
            for number, piece in enumerate(self._next(), start=1):
                start, size = self.pieces.starts[piece], self.pieces.sizes[piece]
                ids[row, at] = cls_id
                ids[row, at + 1 : at + 1 + size] = self.pieces.texts.tokens[start : start + size]
                ids[row, at + 1 + size] = sep_id
                segments[row, at : at + 2 + size] = number
                at += size + 2
        return ids, segments

    def _next(self) -> list[int]:
        while True:
            rows = self._block()
            if self.place.row < len(rows):
                row = rows[self.place.row]
                self.place = replace(self.place, row=self.place.row + 1)
                return row
            self.place = Place(self.place.epoch, self.place.block + 1)
            if self.place.block * BLOCK >= len(self._epoch()):
                self.place = Place(self.place.epoch + 1)

    def _epoch(self) -> Ints:
        if self._order is None or self._order[0] != self.place.epoch:
            order = draw_epoch(self.pieces, self._seed, self.place.epoch)
            epoch = self.place.epoch
            while not len(order):  # weights under 1 may leave out every piece of a small corpus
                epoch += 1_000_000
                order = draw_epoch(self.pieces, self._seed, epoch)
            self._order = (self.place.epoch, order)
        return self._order[1]

    def _block(self) -> list[list[int]]:
        here = replace(self.place, row=0)
        if self._rows is None or self._rows[0] != here:
            chosen = self._epoch()[here.block * BLOCK : (here.block + 1) * BLOCK]
            sizes = (self.pieces.sizes[chosen] + 2).tolist()
            random = np.random.default_rng([self._seed, here.epoch, here.block, 2])
            rows = []
            for row in pack_rows(sizes, self.pieces.length):
                random.shuffle(row)
                rows.append([int(chosen[i]) for i in row])
            random.shuffle(rows)
            self._rows = (here, rows)
        return self._rows[1]


def mask_rows(
    ids: Ints,
    segments: Ints,
    *,
    rate: float,
    mask_id: int,
    special_ids: Sequence[int],
    seed: Sequence[int],
) -> Batch:
    """Hides a part of the tokens, drawn anew for every `seed`; at least one.

    Args:
        ids: (rows, length).
        segments: (rows, length).
        rate: part of the ordinary tokens that is hidden.
        mask_id: shown in their place.
        special_ids: never hidden.
        seed: the run's seed and the step, say.
    """
    open_ = np.flatnonzero(~np.isin(ids, special_ids).ravel() & (segments.ravel() > 0))
    chosen = np.random.default_rng(seed).random(len(open_)) < rate
    if len(open_) and not chosen.any():
        chosen[0] = True
    positions = open_[chosen]
    labels = ids.ravel()[positions]
    hidden = ids.copy()
    hidden.ravel()[positions] = mask_id
    return Batch(hidden, segments, positions, labels)


def rank_part(batch: Batch, rank: int, world: int) -> Batch:
    """The rows rank, rank + world, ... of a batch, with the masks it already has."""
    length = batch.input_ids.shape[1]
    if world == 1:
        return batch
    row, column = np.divmod(batch.positions, length)
    mine = row % world == rank
    return Batch(
        batch.input_ids[rank::world],
        batch.segments[rank::world],
        row[mine] // world * length + column[mine],
        batch.labels[mine],
    )


def stream_rows(texts: TokenizedTexts, length: int) -> Iterator[NDArray[np.int32]]:
    """Every piece of every document in order, without special tokens; for measuring."""
    pieces = cut_pieces(texts, length)
    for start, size in zip(pieces.starts, pieces.sizes, strict=True):
        yield texts.tokens[start : start + size]
