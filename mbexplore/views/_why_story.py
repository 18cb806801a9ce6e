"""The story that `why` tells: sentences, each with its number and the command that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from mbexplore.display.numbers import percent, significant
from mbexplore.display.story_blocks import Phrase, Proof, Sentence
from mbexplore.text import said, said_at, shown, state_name
from mbexplore.views.attention import AttentionView
from mbexplore.views.attribute import AttributeView
from mbexplore.views.lens import LensView
from mbexplore.views.patch import PatchView
from mbexplore.views.predict import PredictView
from mbexplore.views.result import prove
from mbexplore.views.score import ScoreView

if TYPE_CHECKING:
    from mbexplore.analysis.why import Route, Why
    from mbexplore.analysis.why.evidence import TokenEvidence
    from mbexplore.analysis.why.route import Step
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.session import Session

ALONE = 3
"""Heads with a sentence each."""
TOKENS, ROUTE = "What each token adds", "The way of the difference"
TESTS = "Share of the difference that remains"
"""Titles of the figures that show the numbers of the story itself."""

WhyProof: TypeAlias = Callable[[str], Proof]
"""The proof of what a figure of the explanation shows, by the figure's title."""


def tell(found: Why, session: Session, own: WhyProof, parity: str = "") -> Iterator[Sentence]:
    """The story, a sentence at a time.

    Args:
        found: the explanation.
        session: the text.
        own: gives the proof of what a figure of this explanation shows, by the figure's title.
        parity: how close Hugging Face's logits are; "" where they weren't compared.
    """
    same = [Phrase(f" {parity}", prove(PredictView(hf=True), session))] if parity else []
    yield Sentence((*_what(found, session, bool(parity)), *same))
    rests = max(range(len(found.tokens)), key=found.evidence.rests)
    masked = _masked(session, rests)
    if masked is not None and found.evidence.rests(rests) > 0:
        yield _rests(found, rests, masked, _answered(found, session, is_named=not found.is_top))
    if found.counterfactual is None:
        text = (
            "No change of up to 3 tokens that was tried moves the answer away from "
            f"{said(found.target.token)}."
        )
        yield _one(text, own(TOKENS))
    else:
        other = _session_of(session, found.counterfactual.encoding)
        is_named = not found.counterfactual.is_top
        yield _one(_changed(found), _answered(found, other, is_named=is_named))
    answer = None if found.is_top else found.spellings[0]
    yield Sentence(tuple(_whence(found, answer, session, own)))
    if found.route is not None:
        yield from _route(found, found.route, session, answer, own)
    lens = LensView(token=found.position, answer=answer)
    yield _one(_when(found), prove(lens, session))
    if found.route is not None:
        yield _one(_tested(found.route, found), own(TESTS))
        if found.route.backups:
            yield _one(_redundant(found.route), own(TESTS))
        if found.route.trust.other_changes:
            yield _one(_elsewhere(found.route, found), own(TESTS))


def _one(text: str, proof: Proof) -> Sentence:
    return Sentence((Phrase(text, proof),))


def _answered(found: Why, session: Session, *, is_named: bool = False) -> Proof:
    """What shows the answer of a text; where a person named it or its rival, both are scored."""
    named = tuple(name for name in found.spellings if name is not None)
    if is_named and len(named) == 2 and (mask := _mask_of(found, session)) is not None:
        return prove(ScoreView(targets=named, mask=mask, hf=False), session)
    return prove(PredictView(hf=False), session)


def _mask_of(found: Why, session: Session) -> int | None:
    """Which mask of a text is answered; None for another token, and for a classifier."""
    from mbexplore.analysis.classify import is_classifier

    masks, own = session.encoding.mask_positions, found.target.position
    return masks.index(own) if own in masks and not is_classifier(session.explorer) else None


def _session_of(session: Session, encoding: Encoding) -> Session:
    from mbexplore.session import Session as Made

    return Made(session.explorer, encoding.texts[0], context=encoding.context,
                truncate=encoding.is_cut)  # fmt: skip


def _masked(session: Session, position: int) -> Session | None:
    """The text with a token masked; None for a model without a mask, or of two texts."""
    encoding, mask = session.encoding, session.explorer.tokenizer.mask_token
    if mask is None or encoding.pair_start is not None or encoding.words[position] is None:
        return None
    start, stop = encoding.offsets[position]
    space = " " * encoding.text[start:stop][:1].isspace()
    return session.beside(f"{encoding.text[:start]}{space}{mask}{encoding.text[stop:]}")


def _rests(found: Why, position: int, masked: Session, before: Proof) -> Sentence:
    """How the answer falls without a token, and what shows it."""
    name = found.spellings[0]
    after = prove(PredictView(hf=False), masked)
    mask = _mask_of(found, masked)
    if mask is not None and name is not None:
        after = prove(ScoreView(targets=(name,), mask=mask, hf=False), masked)
    without = found.evidence.tokens[position].without or 0.0
    first = (
        f"{said(found.target.token)} falls most without {said_at(found.tokens, position)}: from "
        f"{percent(found.evidence.probability)}"
    )
    second = f" to {percent(without)} with that token masked."
    return Sentence((Phrase(first, before), Phrase(second, after)))


def whole(share: float) -> str:
    """A share as whole per cent, never minus zero."""
    return percent(round(share, 2) + 0.0, 0)


def names_of(items: Sequence[str]) -> str:
    """Items in a sentence: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def heads_of(steps: Sequence[Step]) -> str:
    """Heads in a sentence: "head 6.3", "heads 0.1 and 6.3"."""
    names = list(dict.fromkeys(step.name for step in steps))
    return f"head{'s' * (len(names) > 1)} {names_of(names)}" if names else "no head"


def tokens_of(found: Why, route: Route) -> str:
    """The named tokens in a sentence; whole words where all that changed are named."""
    change = found.counterfactual
    assert change is not None
    if len(route.tokens) == len(change.changes):
        return names_of([_said(old) for old, _ in change.swaps])
    return names_of([_said(found.tokens[i].strip()) for i in route.tokens])


def _said(text: str) -> str:
    """A word of the text in a sentence: in quotes unless a capital tells it from the sentence."""
    return shown(text) if text[:1].isupper() else f'"{shown(text)}"'


def _what(found: Why, session: Session, hf: bool) -> Iterator[Phrase]:
    """The answer, and what the model says next; or both as they were named."""
    answer, against = found.answer, found.runner_up or found.against
    first = f"{said(answer.token)} {percent(answer.probability)}"
    second = f"{said(against.token)} {percent(against.probability)}"
    named = _answered(found, session, is_named=True)
    if found.runner_up is None:
        yield Phrase(f"The answer is {first}, set against {second}.", named)
    elif not found.is_top:
        yield Phrase(f"{first} is explained", named)
        own = prove(PredictView(hf=hf), session)
        yield Phrase(f"; the model's own answer is {second}.", own)
    else:
        yield Phrase(f"The answer is {first}, then {second}.", prove(PredictView(hf=hf), session))


def _whence(found: Why, answer: str | None, session: Session, own: WhyProof) -> Iterator[Phrase]:
    """What each token adds to the difference to the rival, by both measures."""
    evidence, tokens = found.evidence, found.tokens
    contrast = AttributeView(
        token=found.position, answer=answer, contrast=found.spellings[1], steps=evidence.steps
    )
    shown = own(TOKENS) if contrast.contrast is None else prove(contrast, session)
    first = max(evidence.tokens, key=lambda one: one.attribution)
    yield Phrase(
        f"{said_at(tokens, first.position)} carries {said(found.target.token)} rather than "
        f"{said(found.rival.token)} most: {significant(first.attribution, signed=True)} of a logit "
        f"difference of {significant(evidence.value, signed=True)} by integrated gradients "
        f"(completeness error {percent(evidence.completeness_error)})",
        shown,
    )
    least = min(evidence.tokens, key=lambda one: one.attribution)
    if -least.attribution > abs(first.attribution) / 2:
        yield Phrase(
            f"; {said_at(tokens, least.position)} carries {said(found.rival.token)}, "
            f"{significant(least.attribution, signed=True)}",
            shown,
        )
    yield Phrase(f"{_by_masking(found, first)}.", own(TOKENS))


def _by_masking(found: Why, first: TokenEvidence) -> str:
    """What masking says of the token that carries most, and of others where it disagrees."""
    evidence, text = found.evidence, ""
    if first.ablation is not None:
        change = significant(-first.ablation, signed=True)
        way = "but" if first.ablation < 0 else "and"
        text += f", {way} masking it moves the difference by {change}"
    most = max(evidence.tokens, key=lambda one: one.ablation or 0.0)
    if most.position != first.position and most.ablation:
        text += (
            f"; masking {said_at(found.tokens, most.position)} lowers it most, by "
            f"{significant(-most.ablation, signed=True)}"
        )
    for one in evidence.disputed[:1]:
        if one.position not in (first.position, most.position):
            text += (
                f"; the two measures disagree on {said_at(found.tokens, one.position)}: "
                f"{significant(one.attribution, signed=True)} by attribution, "
                f"{significant(-(one.ablation or 0.0), signed=True)} by masking it"
            )
    return text


def _changed(found: Why) -> str:
    change = found.counterfactual
    assert change is not None
    swaps = names_of([f"{_said(new)} for {_said(old)}" for old, new in change.swaps])
    answer = f"{said(change.answer.token)} ({percent(change.answer.probability)})"
    if not change.is_top:
        return f"With {swaps}, {answer} is likelier than {said(found.target.token)}."
    return f"With {swaps} the answer is {answer}."


def _route(
    found: Why, route: Route, session: Session, answer: str | None, own: WhyProof
) -> Iterator[Sentence]:
    change = found.counterfactual
    assert change is not None
    patch = PatchView(
        other=change.encoding.texts[0], token=found.position, answer=answer,
        other_answer=route.other_spelling,
    )  # fmt: skip
    same = change.encoding.context == session.encoding.context  # what the command can say
    is_shown = same and patch.other_answer
    yield _one(_held(found, route), prove(patch, session) if is_shown else own(ROUTE))
    strongest = sorted(route.steps, key=lambda step: -step.restored)
    for step in sorted(strongest[:ALONE], key=lambda step: step.part):
        view = AttentionView(layer=step.layer, head=step.head, token=step.query, top=5)
        shares, attention = describe_step(found.tokens, step)
        yield Sentence((Phrase(shares, own(ROUTE)), Phrase(attention, prove(view, session))))
    if not route.steps:
        yield _one(f"No head is needed: {tokens_of(found, route)} acts by itself.", own(TESTS))
    if rest := sorted(strongest[ALONE:], key=lambda step: step.part):
        names = names_of([f"{step.name} ({whole(step.restored)})" for step in rest])
        yield _one(f"Further heads, by the share they restore: {names}.", own(ROUTE))


def _held(found: Why, route: Route) -> str:
    last = len(route.carried.shares) - 1
    places = []
    for one in route.carried.held:
        when = (
            f"up to {state_name(one.last)}"
            if one.first == 0
            else f"from {state_name(one.first)} on"
        )
        if one.first == 0 and one.last == last:
            when = "at every layer"
        elif one.first and one.last < last:
            when = f"from {state_name(one.first)} to {state_name(one.last)}"
        places.append(f"at {said_at(found.tokens, one.position)} {when}")
    both = f"{said(found.target.token)} and {said(route.other.token)}"
    if not places:
        return f"No single token holds half of the difference between {both}."
    return f"Patching finds the difference between {both} {names_of(places)}."


def describe_step(tokens: Sequence[str], step: Step) -> tuple[str, str]:
    """What a head restores, and how it attends."""
    away = f"{step.distance} token{'s' * (step.distance != 1)} away"
    if step.key == step.query:
        way, away = f"acts at {said_at(tokens, step.query)} itself", "no distance"
    else:
        way = f"takes it from {said_at(tokens, step.key)} to {said_at(tokens, step.query)}"
    reach = "a local layer could reach it too" if step.in_window else "beyond any local layer"
    kind = f"{step.kind}: {away}{f'; {reach}' if step.kind == 'global' else ''}"
    return (
        f"Head {step.name} {way}: {whole(step.restored)} restored",
        f", attention weight {step.weight:.2f} ({kind}).",
    )


def _when(found: Why) -> str:
    answer = said(found.target.token)
    first, decided = found.first_state, found.decided_state
    if first is None:
        return f"{answer} is at rank 1 after no layer."
    if decided is None:
        return f"{answer} is first at rank 1 after {state_name(first)}, and not in the end."
    if first == decided:
        return f"{answer} is at rank 1 after {state_name(decided)} and stays there."
    return (
        f"{answer} is first at rank 1 after {state_name(first)}, and for good after "
        f"{state_name(decided)}."
    )


def _tested(route: Route, found: Why) -> str:
    trust, heads = route.trust, heads_of(route.steps)
    named = names_of([tokens_of(found, route), *([heads] if route.steps else [])])
    text = (
        f"With all but {named} taken from the counterfactual, "
        f"{whole(trust.sufficiency)} of the difference remains"
    )
    if route.steps:
        text += f"; with {heads} taken from it, {whole(1 - trust.necessity)} does"
    if trust.random.n:
        text += (
            f"; as many random heads keep {whole(trust.random.mean)} \N{PLUS-MINUS SIGN} "
            f"{whole(trust.random.std)} ({trust.random.n} draws)"
        )
    return f"{text}."


def names_elsewhere(found: Why) -> list[str]:
    """The other changes under which the parts were tested: "Belgium (Brussels)"."""
    change = found.counterfactual
    assert change is not None
    names = []
    for encoding, target in change.others:
        new = _said("".join(encoding.tokens[one.position] for one in change.changes).strip())
        names.append(f"{new} ({said(target.token)})")
    return names


def _elsewhere(route: Route, found: Why) -> str:
    shares = [whole(one.sufficiency) for one in route.trust.other_changes]
    return (
        f"Under other changes of the same place, {names_of(names_elsewhere(found))}, the same "
        f"parts keep {names_of(shares)}."
    )


def _redundant(route: Route) -> str:
    trust = route.trust
    left = 1 - (trust.necessity_with_backups or 0.0)
    return (
        f"Neither is necessary: {heads_of(route.backups)} can do as well, and without "
        f"{heads_of((*route.steps, *route.backups))} {whole(left)} of the difference remains."
    )


def thresholds(found: Why) -> str:
    """The verdict, and what each takes."""
    from mbexplore.analysis.why.trust import DEVIATIONS, ENOUGH, NEEDED, SERVES, WEAK

    text = (
        f"Verdict: {found.verdict}. An answer is explained where the named parts alone keep "
        f"{whole(ENOUGH)} to {whole(2 - ENOUGH)} of the difference, {DEVIATIONS:.0f} standard "
        f"deviations above random heads; without the named heads {whole(NEEDED)} goes; and other "
        f"changes keep {whole(SERVES)}, their mean less their standard deviation. Weak: "
        f"{whole(WEAK)} to {whole(2 - WEAK)}."
    )
    if found.is_pruned:
        text += " Of this long text attribution chose the tokens that were measured."
    measured, heads = (0, 0) if found.route is None else found.route.measured
    if measured < heads:
        text += f" Of {heads} heads the {measured} with the largest estimates were measured."
    return text
