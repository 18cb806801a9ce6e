"""Confidence intervals against scipy, and against every resample there is."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from mbexplore.analysis.intervals import bootstrap, wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (1, 1), (7, 20), (999, 1000), (0, 50)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilson_is_scipys(successes, trials, confidence):
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert wilson(successes, trials, confidence) == pytest.approx(tuple(theirs), abs=1e-12)


def test_the_bootstrap_is_scipys_but_for_chance():
    values = np.random.default_rng(1).gamma(2.0, size=40)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, random_state=2
    ).confidence_interval
    assert bootstrap(values.tolist()) == pytest.approx(tuple(theirs), abs=0.02)
    assert bootstrap(values.tolist()) == bootstrap(values.tolist())
    assert bootstrap(values.tolist(), seed=3) != bootstrap(values.tolist())


def test_few_values_have_few_resamples():
    values = [0.0, 1.0, 5.0]
    every = [float(np.mean(some)) for some in product(values, repeat=3)]
    expected = np.quantile(every, [0.1, 0.9], method="inverted_cdf")
    assert bootstrap(values, 0.8) == pytest.approx(tuple(expected))
    assert bootstrap([1.0]) is None and bootstrap([]) is None
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0)
