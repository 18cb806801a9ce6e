"""Texts on which implementations that differ can be recognised.

A fault in a window shows at its edge, one in padding beside padding, one in a rotation far from the
start; the cosine of two sentence vectors shows few of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.errors import TextError
from mbexplore.explorer import Explorer
from mbexplore.sample import sample_text

SuiteName = Literal["quick", "full"]
LONGEST_QUICK = 700
"""Tokens of the longest text of the quick suite, where the window allows it."""
_TRIES = 40


@dataclass(frozen=True, eq=False)
class Case:
    """A padded batch.

    Attributes:
        name: what it is.
        ids: (batch, seq).
        mask: (batch, seq), 0 for padding.
        texts: the same as text, which the model's tokenizer turns into these ids; None where no
            text gives them.
    """

    name: str
    ids: Tensor
    mask: Tensor
    texts: tuple[str, ...] | None = None

    @property
    def tokens(self) -> int:
        """Real tokens of the longest text."""
        return int(self.mask.sum(dim=1).max())

    @property
    def is_padded(self) -> bool:
        """Whether there is any padding."""
        return not bool(self.mask.all())

    @property
    def is_batch(self) -> bool:
        """Whether there are several texts."""
        return len(self.ids) > 1


def build_suite(
    explorer: Explorer, suite: SuiteName = "quick", text: Encoding | None = None
) -> list[Case]:
    """The cases, short ones first.

    Args:
        explorer: whose tokenizer, window and longest text they are made for.
        suite: "quick" or "full", which has more lengths and the longest text that the model takes.
        text: one more to compare on.
    """
    return sorted(_Maker(explorer).cases(suite, text), key=lambda case: case.ids.numel())


class _Maker:
    """Makes cases for one model."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        config = explorer.model.config
        self.pad = config.pad_token_id or 0
        self.longest = config.max_position_embeddings
        self.half = config.local_attention // 2
        self.words = sample_text().split()

    def cases(self, suite: SuiteName, text: Encoding | None) -> Iterator[Case]:
        full = suite == "full"
        if text is not None:
            given = None if text.context else (text.text,)
            yield self.batch("the text given", [text.ids], texts=given)
        special = self.explorer.encode("a").ids
        yield self.batch("one token", [special[:1]])
        edges = (-1, 0, 1, 2) if full else (1, 2)
        windows = {self.half + edge for edge in edges} | {2 * self.half + edge for edge in edges}
        several = min(self.longest, max(LONGEST_QUICK, 5 * self.half + 7))
        lengths = [3, 16, *sorted(windows), several] + [self.longest] * full
        for length in dict.fromkeys(lengths):
            if 3 <= length <= self.longest:
                yield self.batch(
                    f"{length:,} tokens", [self.ids(made := self.text(length))], texts=(made,)
                )
        yield from self.padded((1, 63, 64, 65, 500) if full else (1, 65))
        texts = tuple(self.text(length) for length in (9, 70, 5, 130) if length <= self.longest)
        yield self.batch("unequal lengths", [self.ids(text) for text in texts], texts=texts)
        yield from self.special()

    def padded(self, amounts: Sequence[int]) -> Iterator[Case]:
        """A text with padding on each side."""
        text = self.text(min(21, self.longest))
        ids = self.ids(text)
        for amount in amounts:
            if len(ids) + amount <= self.longest:
                for side in ("right", "left"):
                    name = f"{amount} of padding on the {side}"
                    yield self.batch(name, [ids], more=amount, left=side == "left")

    def special(self) -> Iterator[Case]:
        """A pair, special tokens inside a text, masks alone."""
        pair = self.explorer.encode("The tide rises.", pair="The tide falls.")
        yield self.batch("a pair", [pair.ids])
        ids, mask = self.ids("The tide rises and falls twice a day."), self.mask_id
        if mask is not None and len(ids) > 6:
            yield self.batch("special tokens inside", [(*ids[:3], mask, ids[-1], *ids[4:])])
            yield self.batch("masks alone", [(ids[0], *[mask] * 8, ids[-1])])

    @property
    def mask_id(self) -> int | None:
        """Id of the mask token; None where the tokenizer has none."""
        encoding = self.explorer.encode("a [MASK]")
        return encoding.ids[encoding.mask_positions[0]] if encoding.mask_positions else None

    def ids(self, text: str) -> tuple[int, ...]:
        return self.explorer.encode(text).ids

    def text(self, length: int) -> str:
        """A text of so many tokens, the special ones included."""
        for start in range(_TRIES):
            words = self.words[start:] + self.words * (1 + length // len(self.words))
            source = " ".join(words)
            encoding = self.explorer.tokenizer.encode(source)
            places = zip(encoding.offsets, encoding.words, strict=True)
            inner = [span for span, word in places if word is not None]
            special = len(encoding) - len(inner)
            text = source[: inner[length - special - 1][1]]
            if len(self.explorer.tokenizer.encode(text)) == length:
                return text
        raise TextError(f"No text of {length:,} tokens was found; name a model with its tokenizer.")

    def batch(
        self,
        name: str,
        rows: Sequence[Sequence[int]],
        *,
        texts: tuple[str, ...] | None = None,
        more: int = 0,
        left: bool = False,
    ) -> Case:
        """Texts as one rectangle.

        Args:
            name: of the case.
            rows: token ids of each text.
            texts: the same as text.
            more: padding beside the longest.
            left: whether padding stands on the left.
        """
        longest = max(map(len, rows)) + more
        ids, mask = [], []
        for row in rows:
            empty = longest - len(row)
            before, after = (empty, 0) if left else (0, empty)
            ids.append([self.pad] * before + list(row) + [self.pad] * after)
            mask.append([0] * before + [1] * len(row) + [0] * after)
        return Case(name, torch.tensor(ids), torch.tensor(mask), texts)
