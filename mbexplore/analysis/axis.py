"""What a map's rows and columns stand for: tokens or words, of the whole text or a part of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbexplore.analysis.token_spans import word_spans, word_texts
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import RangeError
from mbexplore.text import word


@dataclass(frozen=True)
class Axis:
    """The places along both sides of a map, each one token or the tokens of one word.

    Attributes:
        seq: tokens in the whole text.
        spans: token bounds `[start, stop)` of each place, rising, without overlap.
        labels: each place as people read it; a leading space belongs to a token.
        bounds: the tokens asked for, `[start, stop)`, or None for the whole text.
        words: whether a place is a word.
        hide_special: whether the tokens that the model puts around a text are left out.
    """

    seq: int
    spans: tuple[tuple[int, int], ...]
    labels: tuple[str, ...]
    bounds: tuple[int, int] | None = None
    words: bool = False
    hide_special: bool = False

    def __len__(self) -> int:
        return len(self.spans)

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """First token of every place."""
        return np.array([start for start, _ in self.spans], dtype=np.intp)

    @cached_property
    def stops(self) -> NDArray[np.intp]:
        """The token after the last one of every place."""
        return np.array([stop for _, stop in self.spans], dtype=np.intp)

    @property
    def is_plain(self) -> bool:
        """Whether places are simply all the tokens of the text."""
        return self.bounds is None and not self.words and not self.hide_special

    @property
    def unit(self) -> str:
        """What a place is called, in the plural."""
        return "words" if self.words else "tokens"

    @property
    def size(self) -> str:
        """How many places there are, and of which part of the text, in words."""
        part = "" if self.bounds is None else f" (tokens {self.bounds[0]}:{self.bounds[1]})"
        unit = self.unit.removesuffix("s") if len(self) == 1 else self.unit
        return f"{len(self):,} {unit}{part}"

    def name_of(self, place: int) -> str:
        """A place as people read it, with the position of its first token."""
        return f"{word(self.labels[place])} {self.starts[place]}"

    def pixel_names(self, pool: int, mark: int | None = None) -> tuple[str, ...]:
        """Names of pixels of so many places: of the first of each, or of the marked one."""
        firsts = list(range(0, len(self), pool))
        if mark is not None:
            firsts[mark // pool] = mark
        return tuple(map(self.name_of, firsts))

    def indices_of(self, tokens: NDArray[np.intp]) -> NDArray[np.intp]:
        """The place that holds each token, -1 for a token that is not shown."""
        places = np.searchsorted(self.starts, tokens, side="right") - 1
        return np.where((places >= 0) & (tokens < self.stops[places]), places, -1)

    def index_of(self, token: int) -> int:
        """The place that holds a token.

        Raises:
            RangeError: the token is not on this axis.
        """
        place = int(self.indices_of(np.array([token]))[0])
        if place < 0:
            raise RangeError(
                f"Token {token} is not among those shown; take in more tokens, or show the special "
                "ones."
            )
        return place

    def visible_range(self, first: int, last: int, half_window: int | None) -> tuple[int, int]:
        """Bounds `[start, stop)` of the entries that the tokens first .. last see some token of."""
        if half_window is None:
            return 0, len(self)
        return (
            int(np.searchsorted(self.stops, first - half_window, side="right")),
            int(np.searchsorted(self.starts, last + half_window, side="right")),
        )

    def token_distance(self, query: int, key: int) -> int:
        """Tokens from the start of one entry to the start of another; below 0 to the left."""
        return int(self.starts[key] - self.starts[query])

    def sum_spans(self, weights: Tensor, dim: int, first_token: int, low: int, high: int) -> Tensor:
        """Sums the rows or columns of a map that belong to the same place.

        Args:
            weights: (heads, query, key).
            dim: 1 to sum rows, 2 to sum columns.
            first_token: position of the first row or column.
            low: the first place wanted.
            high: the place after the last.

        Returns:
            Weights with `high - low` rows or columns.
        """
        size = weights.shape[dim]
        places = self.indices_of(np.arange(first_token, first_token + size)) - low
        inside = (places >= 0) & (places < high - low)
        tokens, targets = np.flatnonzero(inside), places[inside]
        if len(tokens) != size:
            weights = weights.index_select(dim, torch.from_numpy(tokens).to(weights.device))
        if np.array_equal(targets, np.arange(high - low)):
            return weights  # a token each
        shape = list(weights.shape)
        shape[dim] = high - low
        target = torch.from_numpy(targets).to(weights.device)
        return weights.new_zeros(shape).index_add_(dim, target, weights)


def build_axis(
    encoding: Encoding,
    bounds: tuple[int, int] | None = None,
    *,
    words: bool = False,
    hide_special: bool = False,
) -> Axis:
    """The axis of a text's maps.

    Args:
        encoding: the text.
        bounds: tokens `[start, stop)` to zoom to; with `words`, every word they touch.
        words: whether the pieces of a word become one place.
        hide_special: whether the tokens around a text, such as [CLS] and [SEP], are left out. The
            weight that goes to them is then not shown, and rows no longer sum to 1.

    Raises:
        RangeError: nothing is left.
    """
    seq = len(encoding)
    names = word_texts(encoding) if words else encoding.tokens
    start, stop = bounds or (0, seq)
    spans = [
        span
        for span in (word_spans(encoding) if words else [(i, i + 1) for i in range(seq)])
        if span[1] > start
        and span[0] < stop
        and not (hide_special and encoding.words[span[0]] is None)
    ]
    if not spans:
        raise RangeError(
            f"Tokens {start}:{stop} are special ones only; take in more, or show special tokens."
        )
    labels = tuple(names[first] for first, _ in spans)
    return Axis(seq, tuple(spans), labels, bounds, words, hide_special)
