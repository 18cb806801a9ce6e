"""Confidence intervals: of a share of successes, and of a mean by resampling."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000
_TOGETHER = 2**22
"""Numbers that are resampled together."""


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share, from 0 to 1.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". Unlike the
    interval of the normal approximation it stays inside 0 to 1 and holds for few trials.

    Args:
        successes: from 0 to `trials`.
        trials: 1 or more.
        confidence: that the share lies inside.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, square = successes / trials, z**2 / trials
    middle = share + square / 2
    half = z * sqrt(share * (1 - share) / trials + square / (4 * trials))
    # At both ends the bound is the share itself, which rounding would miss.
    low = 0.0 if successes == 0 else (middle - half) / (1 + square)
    high = 1.0 if successes == trials else (middle + half) / (1 + square)
    return low, high


def bootstrap(
    values: Sequence[float],
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Percentile interval of the mean of values, by resampling them with replacement.

    Efron 1979, "Bootstrap Methods: Another Look at the Jackknife".

    Args:
        values: paired differences, say.
        confidence: that the mean lies inside.
        resamples: how many.
        seed: of the random choices: the same values give the same interval.

    Returns:
        None for fewer than two values, which say nothing of their spread.
    """
    if len(values) < 2:
        return None
    random, given = np.random.default_rng(seed), np.asarray(values, dtype=np.float64)
    size = max(1, _TOGETHER // len(given))
    means = [
        given[random.integers(0, len(given), (min(size, resamples - first), len(given)))].mean(1)
        for first in range(0, resamples, size)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)
