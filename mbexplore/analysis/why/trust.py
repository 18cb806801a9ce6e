"""How far an explanation can be trusted: what remains with it alone, without it, and at random.

Sufficiency and necessity as in DeYoung et al. 2020, "ERASER" (arXiv:1911.03429), with resampled
activations (Chan et al. 2022, "Causal Scrubbing") in place of erased ones; the control names as
many other heads at the same tokens, drawn at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mbexplore.analysis.why.evidence import fewer
from mbexplore.analysis.why.pair import Part, TextPair, counted
from mbexplore.analysis.why.route import LEAST, Measured
from mbexplore.hooks import Progress

DRAWS, LEAST_DRAWS = 20, 8
"""Draws of random heads; fewer in long texts."""
SEED = 0
ENOUGH = 0.8
"""Share of the difference that an explanation must keep."""
WEAK = 2 / 3
"""Share that a weak explanation must keep."""
SERVES = 0.6
"""Share that it must keep under other changes: their mean less their standard deviation."""
NEEDED = 0.5
"""Share that must go without it."""
DEVIATIONS = 3.0
"""Standard deviations above the mean of random heads that the share must lie."""

Verdict = Literal["explained", "weak", "none"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of the shares of `n` draws."""

    mean: float
    std: float
    n: int


@dataclass(frozen=True)
class OtherChange:
    """The tests of the same parts under another change of the same tokens.

    Attributes:
        text: the other counterfactual.
        answer: its answer.
        sufficiency: what remains with everything outside the parts from it.
        necessity: what goes with the named heads from it.
    """

    text: str
    answer: str
    sufficiency: float
    necessity: float


@dataclass(frozen=True)
class Trust:
    """What the tests gave, as shares of the logit difference.

    Attributes:
        sufficiency: what remains with everything outside the named parts the counterfactual's.
        necessity: what goes with the named heads the counterfactual's; with the named tokens so
            where no head is needed.
        random: sufficiency of as many other heads.
        random_necessity: their necessity.
        necessity_with_backups: what goes without the backups too; None where there are none.
        other_changes: the same parts under other changes of the text, on which nothing was
            searched.
    """

    sufficiency: float
    necessity: float
    random: Spread
    random_necessity: Spread
    necessity_with_backups: float | None = None
    other_changes: tuple[OtherChange, ...] = ()

    @property
    def is_redundant(self) -> bool:
        """Whether other heads do as well in place of the named ones."""
        return self.necessity_with_backups is not None

    @property
    def verdict(self) -> Verdict:
        """Whether the parts explain the answer: see `ENOUGH`, `WEAK`, `NEEDED`, `SERVES`."""
        needed = max(self.necessity, self.necessity_with_backups or 0.0)
        off, tolerance = abs(1 - self.sufficiency), 1e-9
        is_clear = self.sufficiency >= self.random.mean + DEVIATIONS * self.random.std
        if not is_clear or needed < NEEDED or off > 1 - WEAK + tolerance or not self.serves_others:
            return "none"
        return "explained" if off <= 1 - ENOUGH + tolerance else "weak"

    @property
    def serves_others(self) -> bool:
        """Whether the parts keep enough under other changes too; where there are none, yes."""
        others = [one.sufficiency for one in self.other_changes]
        return not others or float(np.mean(others) - np.std(others)) >= SERVES


def measure(
    pair: TextPair,
    parts: Sequence[Part],
    tokens: Sequence[int],
    backups: Sequence[Part],
    progress: Progress | None = None,
) -> Trust:
    """Runs the tests.

    Args:
        pair: both texts.
        parts: the heads that are named.
        tokens: the tokens that are named.
        backups: heads that do as well in their place.
        progress: called with the runs done and all there are; what it raises ends the work.
    """
    draws = _draws(pair, parts)
    total = 2 * (len(draws) + 1)

    kept = pair.kept([parts, *draws], tokens, counted(progress, 0, total))
    lost = 1 - pair.replaced([parts, *draws], counted(progress, len(draws) + 1, total))
    without = None
    if backups:
        without = 1 - float(pair.replaced([[*parts, *backups]])[0])
    needed = float(lost[0]) if parts else 1 - pair.without(tokens)
    return Trust(
        float(kept[0]), needed, _spread(kept[1:].tolist()), _spread(lost[1:].tolist()), without
    )


def find_backups(
    pair: TextPair, parts: Sequence[Part], others: Sequence[Measured], most: int
) -> tuple[Part, ...]:
    """Heads that carry the difference where the named ones don't, by greedy search.

    Args:
        pair: both texts.
        parts: the heads that are named.
        others: candidates, by their effects alone.
        most: how many are named at most.

    Returns:
        Nothing where the named ones are needed, or others don't account for what remains.
    """
    if not parts or 1 - pair.replaced([parts])[0] >= NEEDED:
        return ()
    found: list[Part] = []
    left = [one.part for one in others if one.part not in parts]
    share = float(pair.replaced([parts])[0])
    while left and len(found) < most and 1 - share < ENOUGH:
        shares = pair.replaced([[*parts, *found, one] for one in left])
        best = int(np.argmin(shares))
        if shares[best] > share - LEAST:
            break
        share = float(shares[best])
        found.append(left.pop(best))
    return tuple(found) if 1 - share >= NEEDED else ()


def _draws(pair: TextPair, parts: Sequence[Part]) -> list[list[Part]]:
    """As many other heads at the same tokens, up to `DRAWS` times."""
    config, random = pair.clean.config, np.random.default_rng(SEED)
    named = {(one.layer, one.head) for one in parts}
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    others = [(i, h) for i in range(layers) for h in range(heads) if (i, h) not in named]
    if not others or not parts:
        return []
    again, found = len(others) < len(parts), []
    for _ in range(fewer(DRAWS, LEAST_DRAWS, len(pair))):
        chosen = [others[i] for i in random.choice(len(others), len(parts), replace=again)]
        pairs = zip(chosen, parts, strict=True)
        found.append([Part(layer, head, part.query) for (layer, head), part in pairs])
    return found


def _spread(shares: Sequence[float]) -> Spread:
    if not shares:
        return Spread(0.0, 0.0, 0)
    return Spread(float(np.mean(shares)), float(np.std(shares)), len(shares))
