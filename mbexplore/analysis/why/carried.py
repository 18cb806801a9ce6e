"""Where in the residual stream the difference is: layer by token, by patching.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (arXiv:2202.05262).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mbexplore.analysis.patch import patched_logits
from mbexplore.analysis.why.evidence import LONG, Evidence, fewer
from mbexplore.analysis.why.pair import TextPair
from mbexplore.hooks import Progress

MOST, LEAST = 16, 6
"""Tokens of a long text that are patched; fewer the longer it is."""
HELD = 0.5
"""Share of the difference from which on a token carries it."""
BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Held:
    """A token that carries the difference for some layers.

    Attributes:
        position: of the token.
        first: the first state of the residual stream at which it does, 0 the embeddings.
        last: the last one.
    """

    position: int
    first: int
    last: int


@dataclass(frozen=True, eq=False)
class Carried:
    """Share of the difference that each token's residual stream restores.

    Attributes:
        positions: the tokens that were patched.
        shares: (states, positions); state 0 is the embeddings, n the stream after layer n - 1.
    """

    positions: tuple[int, ...]
    shares: NDArray[np.float32]

    @property
    def held(self) -> tuple[Held, ...]:
        """The tokens that carry at least half of it somewhere, in the order of the layers."""
        found = []
        for column, position in enumerate(self.positions):
            states = np.flatnonzero(self.shares[:, column] >= HELD)
            if len(states):
                found.append(Held(position, int(states[0]), int(states[-1])))
        return tuple(sorted(found, key=lambda one: (one.first, one.last)))


def carry(pair: TextPair, evidence: Evidence, progress: Progress | None = None) -> Carried:
    """Patches every token's residual stream after every layer, one at a time.

    Args:
        pair: both texts.
        evidence: which tokens of a long text to take.
        progress: called with the runs done and all there are; what it raises ends the work.
    """
    positions = _positions(pair, evidence)
    layers = pair.clean.config.num_hidden_layers
    taps = ["embed", *(f"layers.{i}.resid_post" for i in range(layers))]
    shares = np.zeros((len(taps), len(positions)), dtype=np.float32)
    size = max(2, BATCH_TOKENS // len(pair))
    for state, tap in enumerate(taps):
        for first in range(0, len(positions), size):
            some = positions[first : first + size]
            logits = patched_logits(
                pair.readout, pair.clean, pair.corrupted.encoding, tap, [[i] for i in some]
            )
            found = logits[:, pair.target.token_id] - logits[:, pair.other.token_id]
            share = (found.double().cpu().numpy() - pair.corrupted_difference) / pair.span
            shares[state, first : first + len(some)] = share
        if progress is not None:
            progress(state + 1, len(taps))
    return Carried(tuple(positions), shares)


def _positions(pair: TextPair, evidence: Evidence) -> list[int]:
    """All tokens; of a long text those that changed, the answer's own, and those that matter."""
    seq, own = len(pair), pair.target.position
    if seq <= LONG:
        return list(range(seq))
    first = dict.fromkeys([*pair.changed, *([] if own is None else [own])])
    order = sorted(range(seq), key=lambda i: -abs(evidence.tokens[i].attribution))
    return sorted([*dict.fromkeys([*first, *order])][: max(fewer(MOST, LEAST, seq), len(first))])
