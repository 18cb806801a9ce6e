"""Which tokens carry the answer rather than its rival: two measures, and where they disagree.

Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) of the logit difference, and input
ablation: the change of the difference when a token is masked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mbexplore.analysis.attribute import attribute_difference, baseline_ids
from mbexplore.analysis.why.question import Question
from mbexplore.hooks import Progress

STEPS, LEAST_STEPS = 64, 16
"""Of the attributions; fewer in long texts."""
ROUGH_STEPS = 8
"""Steps where attribution only chooses what is measured."""
LONG = 64
"""Tokens above which only those that attribution finds are measured."""
MOST_ABLATED, LEAST_ABLATED = 32, 8
BATCH_TOKENS = 1024
TINY = 1e-9
"""Below any probability that counts."""
CLEAR = 0.25
"""Of the largest value of a measure: what a token must have for a change of sign to matter."""


@dataclass(frozen=True)
class TokenEvidence:
    """What a token adds to the logit difference.

    Attributes:
        position: of the token.
        token: itself.
        attribution: integrated gradients, in logits.
        ablation: the difference less that with the token masked, in logits; None where it was not
            measured, and 0 for special tokens and masks.
        without: probability of the answer with the token masked; None where it was not measured.
    """

    position: int
    token: str
    attribution: float
    ablation: float | None
    without: float | None


@dataclass(frozen=True, eq=False)
class Masked:
    """What the model answers with single tokens masked.

    Attributes:
        positions: of the tokens.
        logits: (rows, option), a row for each of them.
        is_same: (rows,), whether the text is the same with the token masked.
    """

    positions: tuple[int, ...]
    logits: Tensor
    is_same: Tensor

    def joined(self, other: Masked) -> Masked:
        """These runs and those with other tokens masked."""
        pairs = (self.logits, other.logits), (self.is_same, other.is_same)
        return Masked(self.positions + other.positions, *map(torch.cat, pairs))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Both measures of every token.

    Attributes:
        tokens: one entry a token; attributions are 0 where none were asked for.
        value: the logit difference on the text.
        probability: of the answer on the text.
        completeness_error: of the attributions, as a share of what they add up to.
        steps: points on the path of integrated gradients; 0 for none.
        masked: the runs that ablation took, which serve any rival.
    """

    tokens: tuple[TokenEvidence, ...]
    value: float
    probability: float
    completeness_error: float
    steps: int
    masked: Masked

    @property
    def scales(self) -> tuple[float, float]:
        """The largest size of either measure."""
        attribution = max(abs(one.attribution) for one in self.tokens)
        ablation = max(abs(one.ablation or 0.0) for one in self.tokens)
        return attribution or 1.0, ablation or 1.0

    def rests(self, position: int) -> float:
        """By how much the answer's log-probability falls with the token masked, in nats."""
        without = self.tokens[position].without
        if without is None:
            return 0.0
        return math.log(max(self.probability, TINY) / max(without, TINY))

    @property
    def disputed(self) -> tuple[TokenEvidence, ...]:
        """Tokens with clear values of opposite signs, the clearest first."""
        by_attribution, by_ablation = self.scales

        def clarity(one: TokenEvidence) -> float:
            product = one.attribution / by_attribution * (one.ablation or 0.0) / by_ablation
            return product if product < 0 else 0.0

        found = [one for one in self.tokens if clarity(one) <= -(CLEAR**2)]
        return tuple(sorted(found, key=clarity))


def fewer(most: int, least: int, seq: int) -> int:
    """How many of something are tried: in texts of over `LONG` tokens fewer, as each takes longer.

    It falls with the square root of the length, so that all of them take longer with it as well.

    Args:
        most: in short texts.
        least: in the longest.
        seq: tokens of the text.
    """
    return max(least, int(most * math.sqrt(LONG / max(seq, LONG))))


def gather(
    question: Question,
    progress: Progress | None = None,
    *,
    masked: Masked | None = None,
    steps: int | None = None,
) -> Evidence:
    """Attribution of every token, and ablation of those that it finds.

    Args:
        question: what is asked.
        progress: called with the steps done and all there are; what it raises ends the work.
        masked: runs with tokens masked, of the same text and another rival; None for none.
        steps: of attributions of the answer alone, whatever its rival; with 0 there are none, and
            all tokens are ablated; None for those of the difference, as many as the length allows.
    """
    seq, rival = len(question.encoding), question.rival if steps is None else None
    if steps is None:
        steps = fewer(STEPS, LEAST_STEPS, seq)
    ablated = fewer(MOST_ABLATED, LEAST_ABLATED, seq) if seq > LONG and steps else seq
    total = steps + ablated
    value, error, integrated = question.difference_here, 0.0, (0.0,) * seq

    def report(done: int, _: int) -> None:
        if progress is not None:
            progress(done, total)

    if steps:
        found = attribute_difference(
            question.explorer, question.encoding, question.readout, question.target,
            rival, steps=steps, progress=report,
        )  # fmt: skip
        error, integrated = found.completeness_error, found.integrated
    order = sorted(range(seq), key=lambda i: -abs(integrated[i]))[:ablated]
    if missing := [i for i in order if masked is None or i not in masked.positions]:
        more = mask_each(question, missing, lambda done, _: report(steps + done, total))
        masked = more if masked is None else masked.joined(more)
    assert masked is not None
    shares = question.readout.probabilities(masked.logits)[:, question.target.token_id]
    change = torch.where(masked.is_same, 0.0, value - question.difference(masked.logits))
    probabilities = dict(zip(masked.positions, shares.tolist(), strict=True))
    changes = dict(zip(masked.positions, change.tolist(), strict=True))
    tokens = tuple(
        TokenEvidence(i, token, integrated[i], changes.get(i), probabilities.get(i))
        for i, token in enumerate(question.encoding.tokens)
    )
    probability = question.scored(question.target).probability
    return Evidence(tokens, value, probability, error, steps, masked)


def mask_each(
    question: Question, positions: Sequence[int], progress: Progress | None = None
) -> Masked:
    """Runs the text once for each of some tokens, with that token masked.

    Args:
        question: what is asked.
        positions: of the tokens.
        progress: called with the runs done and all there are; what it raises ends the work.
    """
    size = max(1, BATCH_TOKENS // len(question.encoding))
    rows, same = [], []
    for first in range(0, len(positions), size):
        some = positions[first : first + size]
        logits, is_same = _masked(question, some)
        rows.append(logits)
        same.append(is_same)
        if progress is not None:
            progress(first + len(some), len(positions))
    return Masked(tuple(positions), torch.cat(rows), torch.cat(same))


def _masked(question: Question, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Logits with each token masked, (rows, option), and which rows are the text itself."""
    masked = baseline_ids(question.explorer, question.encoding)
    ids = question.ids.repeat(len(positions), 1)
    for row, position in enumerate(positions):
        ids[row, position] = masked[position]
    return question.readout.logits(ids), (ids == question.ids).all(dim=1)
