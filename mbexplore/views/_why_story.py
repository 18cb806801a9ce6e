"""The story that `why` tells: sentences, each with its number and the command that shows it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.display.numbers import percent, significant
from mbexplore.display.story_blocks import Sentence
from mbexplore.text import shown, state_name, word
from mbexplore.views.attention import AttentionView
from mbexplore.views.attribute import AttributeView
from mbexplore.views.lens import LensView
from mbexplore.views.patch import PatchView
from mbexplore.views.predict import PredictView
from mbexplore.views.result import build_command
from mbexplore.views.view import View

if TYPE_CHECKING:
    from mbexplore.analysis.why import Route, Why
    from mbexplore.analysis.why.route import Step
    from mbexplore.checkpoints.tokenizer import Encoding
    from mbexplore.session import Session

ALONE = 3
"""Heads with a sentence each."""


def tell(found: Why, session: Session, command: str, parity: str = "") -> Iterator[Sentence]:
    """The story, a sentence at a time.

    Args:
        found: the explanation.
        session: the text.
        command: that makes this explanation again.
        parity: how close Hugging Face's logits are; "" where they weren't compared.
    """
    answer = None if found.is_top else found.spellings[0]
    what = f"{_what(found)} {parity}".strip()
    yield Sentence(what, _shown(PredictView(hf=bool(parity)), session))
    rests = max(range(len(found.tokens)), key=found.evidence.rests)
    masked = _masked(session, rests)
    if masked is not None and found.evidence.rests(rests) > 0:
        yield Sentence(
            _rests(found, rests), _shown(PredictView(hf=False), masked), {"token": rests}
        )
    contrast = AttributeView(token=found.position, answer=answer, contrast=found.spellings[1])
    named = command if contrast.contrast is None else _shown(contrast, session)
    yield Sentence(_whence(found), named, {"token": _first(found)})
    for one in found.evidence.disputed[:1]:
        text = (
            f"The two measures disagree on {_at(found.tokens, one.position)}: "
            f"{significant(one.attribution, signed=True)} by attribution, "
            f"{significant(one.ablation or 0.0, signed=True)} by masking it."
        )
        yield Sentence(text, named, {"token": one.position})
    if found.counterfactual is None:
        text = (
            "No change of up to 3 tokens that was tried moves the answer away from "
            f"{word(found.target.token)}."
        )
        yield Sentence(text, command)
    else:
        other = _session_of(session, found.counterfactual.encoding)
        yield Sentence(_changed(found), _shown(PredictView(hf=False), other))
    if found.route is not None:
        yield from _route(found, found.route, session, answer, command)
    lens = LensView(token=found.position, answer=answer)
    yield Sentence(_when(found), _shown(lens, session))
    if found.route is not None:
        yield Sentence(_tested(found.route, found), command)
        if found.route.backups:
            yield Sentence(_redundant(found.route), command)
        if found.route.trust.other_changes:
            yield Sentence(_elsewhere(found.route, found), command)


def _shown(view: View[Any], session: Session) -> str:
    return shlex.join(("mbexplore", *build_command(view, session)))


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


def _rests(found: Why, position: int) -> str:
    without = found.evidence.tokens[position].without or 0.0
    return (
        f"{word(found.target.token)} falls most without {_at(found.tokens, position)}: from "
        f"{percent(found.evidence.probability)} to {percent(without)} with that token masked."
    )


def _at(tokens: Sequence[str], position: int) -> str:
    return f"{word(tokens[position])} ({position})"


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
        return names_of([shown(old) for old, _ in change.swaps])
    return names_of([word(found.tokens[i]) for i in route.tokens])


def _what(found: Why) -> str:
    answer, against = found.answer, found.against
    first = f"{word(answer.token)} {percent(answer.probability)}"
    second = f"{word(against.token)} {percent(against.probability)}"
    if not found.is_top:
        return f"{first} is set against {second}."
    return f"The answer is {first}, {'then' if found.is_runner_up else 'set against'} {second}."


def _first(found: Why) -> int:
    return max(found.evidence.tokens, key=lambda one: one.attribution).position


def _whence(found: Why) -> str:
    evidence = found.evidence
    first = evidence.tokens[_first(found)]
    text = (
        f"{_at(found.tokens, first.position)} carries {word(found.target.token)} rather than "
        f"{word(found.rival.token)} most: {significant(first.attribution, signed=True)} of a logit "
        f"difference of {significant(evidence.value, signed=True)} by integrated gradients "
        f"(completeness error {percent(evidence.completeness_error)})"
    )
    if first.ablation is not None:
        change = significant(-first.ablation, signed=True)
        way = "but" if first.ablation < 0 else "and"
        text += f", {way} masking it moves the difference by {change}"
    most = max(evidence.tokens, key=lambda one: one.ablation or 0.0)
    if most.position != first.position and most.ablation:
        text += (
            f"; masking {_at(found.tokens, most.position)} lowers it most, by "
            f"{significant(-most.ablation, signed=True)}"
        )
    least = min(evidence.tokens, key=lambda one: one.attribution)
    if -least.attribution > abs(first.attribution) / 2:
        text += (
            f"; {_at(found.tokens, least.position)} carries {word(found.rival.token)}, "
            f"{significant(least.attribution, signed=True)}"
        )
    return f"{text}."


def _changed(found: Why) -> str:
    change = found.counterfactual
    assert change is not None
    swaps = names_of([f"{shown(new)} for {shown(old)}" for old, new in change.swaps])
    answer = f"{word(change.answer.token)} ({percent(change.answer.probability)})"
    if not change.is_top:
        return f"With {swaps}, {answer} is likelier than {word(found.target.token)}."
    return f"With {swaps} the answer is {answer}."


def _route(
    found: Why, route: Route, session: Session, answer: str | None, command: str
) -> Iterator[Sentence]:
    change = found.counterfactual
    assert change is not None
    patch = PatchView(
        other=change.encoding.texts[0], token=found.position, answer=answer,
        other_answer=route.other_spelling,
    )  # fmt: skip
    same = change.encoding.context == session.encoding.context  # what the command can say
    patched = _shown(patch, session) if same and patch.other_answer else command
    yield Sentence(_held(found, route), patched)
    strongest = sorted(route.steps, key=lambda step: -step.restored)
    for step in sorted(strongest[:ALONE], key=lambda step: step.part):
        view = AttentionView(layer=step.layer, head=step.head, token=step.query, top=5)
        select = {"layer": step.layer, "head": step.head, "token": step.query}
        yield Sentence(_step(found.tokens, step), _shown(view, session), select)
    if not route.steps:
        yield Sentence(f"No head is needed: {tokens_of(found, route)} acts by itself.", command)
    if rest := sorted(strongest[ALONE:], key=lambda step: step.part):
        shares = names_of([f"{step.name} ({whole(step.restored)})" for step in rest])
        yield Sentence(f"Further heads, by the share they restore: {shares}.", patched)


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
        places.append(f"at {_at(found.tokens, one.position)} {when}")
    both = f"{word(found.target.token)} and {word(route.other.token)}"
    if not places:
        return f"No single token holds half of the difference between {both}."
    return f"Patching finds the difference between {both} {names_of(places)}."


def _step(tokens: Sequence[str], step: Step) -> str:
    away = f"{step.distance} token{'s' * (step.distance != 1)} away"
    if step.key == step.query:
        way, away = f"acts at {_at(tokens, step.query)} itself", "no distance"
    else:
        way = f"takes it from {_at(tokens, step.key)} to {_at(tokens, step.query)}"
    reach = "a local layer could reach it too" if step.in_window else "beyond any local layer"
    kind = f"{step.kind}: {away}{f'; {reach}' if step.kind == 'global' else ''}"
    return (
        f"Head {step.name} {way}: {whole(step.restored)} restored, attention weight "
        f"{step.weight:.2f} ({kind})."
    )


def _when(found: Why) -> str:
    answer = word(found.target.token)
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


def _elsewhere(route: Route, found: Why) -> str:
    change = found.counterfactual
    assert change is not None
    names = []
    for encoding, target in change.others:
        new = shown("".join(encoding.tokens[one.position] for one in change.changes).strip())
        names.append(f"{new} ({word(target.token)})")
    shares = [whole(one.sufficiency) for one in route.trust.other_changes]
    return (
        f"Under other changes of the same place, {names_of(names)}, the same parts keep "
        f"{names_of(shares)}."
    )


def _redundant(route: Route) -> str:
    trust = route.trust
    left = 1 - (trust.necessity_with_backups or 0.0)
    return (
        f"Neither is necessary: {heads_of(route.backups)} can do as well, and without "
        f"{heads_of((*route.steps, *route.backups))} {whole(left)} of the difference remains."
    )
