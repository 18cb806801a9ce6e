"""N-gram baselines: what a masked token is guessed to be from the tokens before it.

Interpolated with Witten-Bell smoothing (Chen and Goodman 1999, section 2.4). Context that is
itself masked is unknown, so the guess falls back to what lies between it and the token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mbexplore.training.evaluate import Accuracy, HeldoutRow
from mbexplore.training.packing import Ints


class NgramModel:
    """Counts of all n-grams up to `order` (at most 4), as sorted numbers in base `vocab_size`."""

    def __init__(self, tokens: NDArray[np.int32], vocab_size: int, order: int = 4) -> None:
        """Counts n-grams.

        Args:
            tokens: the training text, (total,).
            vocab_size: under 2**15, so that four tokens fit a 64-bit number.
            order: 1 to 4.
        """
        assert vocab_size < 2**15 and 1 <= order <= 4
        self.vocab_size, self.order = vocab_size, order
        counts = np.bincount(tokens, minlength=vocab_size)
        self._unigram = counts / counts.sum()
        self._grams: list[tuple[Ints, Ints]] = []
        keys = tokens.astype(np.int64)
        for n in range(2, order + 1):
            keys = keys[:-1] * vocab_size + tokens[n - 1 :]
            self._grams.append(np.unique(keys, return_counts=True))

    def probabilities(self, context: Sequence[int]) -> NDArray[np.float64]:
        """Probability of every token after `context`, of which the last `order - 1` count."""
        mixed: NDArray[np.float64] = self._unigram
        key = 0
        recent = list(context[-(self.order - 1) :]) if self.order > 1 else []
        for n in range(1, len(recent) + 1):
            key += recent[-n] * self.vocab_size ** (n - 1)
            grams, counts = self._grams[n - 1]
            low = np.searchsorted(grams, key * self.vocab_size)
            high = np.searchsorted(grams, (key + 1) * self.vocab_size)
            if low == high:
                break  # never seen: no longer context was either
            seen = counts[low:high]
            distinct = high - low
            mixed = mixed * distinct
            mixed[grams[low:high] - key * self.vocab_size] += seen
            mixed /= seen.sum() + distinct
        return mixed


def measure_ngrams(model: NgramModel, rows: Sequence[HeldoutRow], mask_id: int) -> Accuracy:
    """The accuracy of an n-gram model on the rows a masked language model is measured on."""
    first = five = count = 0
    loss = 0.0
    for row in rows:
        for position, label in zip(row.positions, row.labels, strict=True):
            start = max(0, int(position) - model.order + 1)
            context = row.input_ids[start:position].tolist()
            while mask_id in context:
                context = context[context.index(mask_id) + 1 :]
            probabilities = model.probabilities(context)
            best = np.argpartition(-probabilities, 5)[:5]
            first += int(best[np.argmax(probabilities[best])] == label)
            five += int(label in best)
            loss -= float(np.log(max(probabilities[label], 1e-12)))
            count += 1
    return Accuracy(first / count, five / count, loss / count, count)
