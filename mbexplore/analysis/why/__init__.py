"""Why this answer: one explanation of it, found and tested.

`why` puts together what the other files find, each one idea: the question, the evidence of the
tokens, the counterfactual, the pair of texts that is patched, where the difference is carried, the
route of heads, and how far all this can be trusted. Greedy search as in Conmy et al. 2023,
"Towards Automated Circuit Discovery for Mechanistic Interpretability" (arXiv:2304.14997).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mbexplore import limits
from mbexplore.analysis.lens import KEEP as LENS_KEEP
from mbexplore.analysis.lens import normed_state, top1_from
from mbexplore.analysis.target import Target
from mbexplore.analysis.why.carried import Carried, carry
from mbexplore.analysis.why.counterfactual import Counterfactual, check, find
from mbexplore.analysis.why.evidence import LONG, ROUGH_STEPS, Evidence, Masked, gather
from mbexplore.analysis.why.pair import Part, TextPair
from mbexplore.analysis.why.question import Question, Scored, ask
from mbexplore.analysis.why.refill import MOST_TOKENS
from mbexplore.analysis.why.route import (
    Step,
    candidates,
    choose,
    most_heads,
    prune,
    steps_of,
)
from mbexplore.analysis.why.trust import (
    ENOUGH,
    OtherChange,
    Trust,
    Verdict,
    find_backups,
    measure,
)
from mbexplore.checkpoints.tokenizer import Encoding
from mbexplore.explorer import Explorer
from mbexplore.hooks import Progress

LIMITS = limits.WHY
MOST_HEADS = 6
MOST_IN_DETAIL = 16


@dataclass(frozen=True, eq=False)
class Route:
    """The heads that carry the difference, and the tests of them.

    Attributes:
        other: the counterfactual's answer.
        other_spelling: likewise, as a person names it.
        clean_difference: logit of the answer less that of the other, on the text.
        corrupted_difference: likewise, on the counterfactual.
        tokens: positions of the named tokens, of those that were changed.
        steps: the named heads.
        backups: heads that do as well in their place.
        carried: where in the residual stream the difference is.
        trust: the tests.
        measured: how many heads were measured, and how many there are; where not all of them were,
            those with the largest estimates by gradients.
    """

    other: Target
    other_spelling: str | None
    clean_difference: float
    corrupted_difference: float
    tokens: tuple[int, ...]
    steps: tuple[Step, ...]
    backups: tuple[Step, ...]
    carried: Carried
    trust: Trust
    measured: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Why:
    """An answer and one explanation of it.

    Attributes:
        tokens: of the text.
        target: the answer that is explained.
        rival: the answer it is set against: the counterfactual's, or the one that was named, or the
            runner-up where no counterfactual was found.
        answer: the target with its probability.
        against: the rival with its probability.
        position: the token that was asked about; None where the head chooses.
        spellings: the answer and the rival as a person names them; see `Question.spelled`.
        is_top: whether the answer is the model's own.
        runner_up: the model's next choice after the answer; None where a rival was named.
        evidence: what each token adds.
        counterfactual: a change that moves the answer; None where none was found.
        route: how the difference travels; None without a counterfactual.
        first_state: the first state at which the answer is at rank 1; None if it never is.
        decided_state: the first state from which on it stays there; None if it is not there in the
            end.
        is_pruned: whether the text is so long that attribution chose the tokens measured.
    """

    tokens: tuple[str, ...]
    target: Target
    rival: Target
    answer: Scored
    against: Scored
    position: int | None
    spellings: tuple[str | None, str | None]
    is_top: bool
    runner_up: Scored | None
    evidence: Evidence
    counterfactual: Counterfactual | None
    route: Route | None
    first_state: int | None
    decided_state: int | None
    is_pruned: bool

    @property
    def verdict(self) -> Verdict:
        """Whether the parts that are named explain the answer."""
        return "none" if self.route is None else self.route.trust.verdict


def why(
    explorer: Explorer,
    text: str | Encoding,
    position: int | None = None,
    *,
    answer: str | None = None,
    rival: str | None = None,
    counterfactual: str | Encoding | None = None,
    detail: bool = False,
    progress: Progress | None = None,
) -> Why:
    """Explains an answer, and tests the explanation.

    Args:
        explorer: with a head that chooses; see `readout.build_readout`.
        text: the text.
        position: which token is asked about; see `readout.build_readout`.
        answer: the answer explained; None for the model's own.
        rival: why the answer and not this one; None for the counterfactual's answer.
        counterfactual: a text of as many tokens that gets another answer; None to search for one.
        detail: whether up to 16 heads are named, not 6.
        progress: called with the steps done and all there are; what it raises ends the work.

    Raises:
        MbexploreError: see `readout.build_readout`.
        RangeError: there is no such answer, or the counterfactual has another length or the same
            answer.
    """
    encoding = explorer.encode(text) if isinstance(text, str) else text
    question = ask(explorer, encoding, position, answer=answer, rival=rival)
    stages, is_named = Stages(progress), rival is not None
    if isinstance(counterfactual, str):
        counterfactual = explorer.encode(counterfactual, pair=encoding.context)
    next_best = question.scored(question.rival)
    change, masked = _change(question, counterfactual, is_named, stages)
    if change is not None and not is_named:
        question = replace(question, rival=change.target)  # one rival throughout
    evidence = gather(question, stages.part(100), masked=masked)
    first, decided = _decided(question)
    route = None if change is None else _route(question, evidence, change, detail, stages)
    stages.finish()
    return Why(
        tokens=encoding.tokens,
        target=question.target,
        rival=question.rival,
        answer=question.scored(question.target),
        against=question.scored(question.rival),
        position=position,
        spellings=(question.spelled(question.target), question.spelled(question.rival)),
        is_top=question.target == question.top,
        runner_up=None if is_named else next_best,
        evidence=evidence,
        counterfactual=change,
        route=route,
        first_state=first,
        decided_state=decided,
        is_pruned=len(encoding) > LONG,
    )


def _change(
    question: Question, counterfactual: Encoding | None, is_named: bool, stages: Stages
) -> tuple[Counterfactual | None, Masked | None]:
    """The counterfactual, given or found, and the runs with tokens masked that finding it took."""
    if counterfactual is not None:
        return check(question, counterfactual, is_named=is_named), None
    # Tokens are ablated to find which to change; of a long text attribution chooses them.
    steps = ROUGH_STEPS if len(question.encoding) > LONG else 0
    rough = gather(question, stages.part(100), steps=steps)
    change = find(question, rough, is_named=is_named, progress=stages.part(100))
    return change, rough.masked


def _route(
    question: Question, evidence: Evidence, change: Counterfactual, detail: bool, stages: Stages
) -> Route:
    most = MOST_IN_DETAIL if detail else MOST_HEADS
    pair = TextPair.build(question, change.encoding, change.target)
    carried = carry(pair, evidence, stages.part(200))
    named = _named_tokens(pair, carried)
    found = candidates(pair, most, stages.part(300))
    path = prune(pair, [one.part for one in found], named, stages.part(100))
    parts = choose(path, most, ENOUGH)
    spares = find_backups(pair, parts, found, most)
    trust = measure(pair, parts, named, spares, stages.part(50))
    config = pair.clean.config
    heads = config.num_hidden_layers * config.num_attention_heads
    return Route(
        other=change.target,
        other_spelling=question.spelled(change.target),
        clean_difference=pair.clean_difference,
        corrupted_difference=pair.corrupted_difference,
        tokens=named,
        steps=steps_of(pair, parts, stages.part(50)),
        backups=steps_of(pair, spares),
        carried=carried,
        trust=replace(trust, other_changes=tuple(_elsewhere(question, pair, change, parts, named))),
        measured=(min(heads, most_heads(len(pair))), heads),
    )


def _elsewhere(
    question: Question,
    first: TextPair,
    change: Counterfactual,
    parts: Sequence[Part],
    named: Sequence[int],
) -> Iterator[OtherChange]:
    """The same parts, tested under other changes of the same tokens."""
    for encoding, target in change.others:
        pair = TextPair.build(question, encoding, target, first.clean)
        kept, left = pair.kept([parts], named)[0], pair.replaced([parts])[0]
        yield OtherChange(encoding.text, target.token, float(kept), 1 - float(left))


def _named_tokens(pair: TextPair, carried: Carried) -> tuple[int, ...]:
    """Of the tokens that were changed, those that restore most."""
    shares = dict(zip(carried.positions, carried.shares[0].tolist(), strict=True))
    order = sorted(pair.changed, key=lambda i: -shares[i])
    return tuple(sorted(order[:MOST_TOKENS]))


def _decided(question: Question) -> tuple[int | None, int | None]:
    """The state at which the answer is first at rank 1, and that from which on it stays there."""
    explorer, readout = question.explorer, question.readout
    recording = explorer.record(question.encoding, keep=LENS_KEEP)
    ranks = []
    for state in range(recording.config.num_hidden_layers + 1):
        with torch.no_grad():
            logits = readout.read(normed_state(explorer, recording, state)[None])
        ranks.append(readout.scores_of(logits, question.target)[0].rank)
    return next((n for n, rank in enumerate(ranks) if rank == 1), None), top1_from(ranks)


class Stages:
    """One progress out of several stages, each with its share of the whole."""

    WHOLE = 1000

    def __init__(self, progress: Progress | None) -> None:
        self._progress, self._begun, self._shown = progress, 0, 0

    def part(self, share: int) -> Progress:
        """The progress of the next stage, which takes so many thousandths."""
        begun = self._begun
        self._begun += share

        def report(done: int, total: int) -> None:
            now = begun + share * done // max(total, 1)
            if self._progress is not None and now > self._shown:
                self._shown = now
                self._progress(now, self.WHOLE)

        return report

    def finish(self) -> None:
        """Reports the end, whatever was left out."""
        if self._progress is not None and self._shown < self.WHOLE:
            self._progress(self.WHOLE, self.WHOLE)
