"""What the page says above every view: the answer, its rivals, and whether Hugging Face agrees."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, TypeAlias

from mbexplore.analysis.classify import is_classifier
from mbexplore.analysis.lens import normed_state
from mbexplore.analysis.readout import build_readout
from mbexplore.analysis.target import Target, find_token
from mbexplore.analysis.without import Without
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import ModelError, RangeError, TextError
from mbexplore.explorer import Prediction
from mbexplore.session import Session
from mbexplore.text import word
from mbexplore.views.classes import Classes
from mbexplore.views.predict import Predictions, PredictView
from mbexplore.views.why import WhyView

Row: TypeAlias = dict[str, Any]
TOP = 5
"""Candidates of an answer."""
SECOND_TEXTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "patch": (("other",), ()),
    "compare": (("other",), ()),
    "steer": (("toward",), ("away",)),
}
"""Views that show nothing without a second text: settings for that one, and for the text itself."""


def answers_of(session: Session, *, hf: bool, without: Without | None = None) -> dict[str, Any]:
    """The likeliest answers at each mask, or of a classifier.

    Args:
        session: the text.
        hf: whether transformers is asked too.
        without: a pass without some parts of the model, whose answers these are then.

    Raises:
        MbexploreError: the text has no mask, or the model no head.
    """
    found = PredictView(top_k=TOP, hf=hf).of(session).data
    rows = _classes(found) if isinstance(found, Classes) else _masks(found, session)
    if without is None:
        return {"answers": rows, "parity": _parity(found)}
    off = [_answer_without(row, session, without) for row in rows]
    return {"answers": off, "parity": None, "without": list(without.parts)}


def _answer_without(row: Row, session: Session, without: Without) -> Row:
    """An answer without some parts, and what it is with all of them."""
    position, was = row["position"], row["candidates"][0]
    try:
        readout = build_readout(session.explorer, session.encoding, position)
    except ModelError:  # a head that gives a number, and no choice among several
        return row
    last = len(without.recording.config.layer_kinds)
    logits = readout.read(normed_state(session.explorer, without.recording, last)[None])[0]
    found = [
        _candidate(one.token, one.probability, _name_of(session, position, one))
        for one in readout.top_predictions(logits.detach(), TOP)
    ]
    return {"position": position, "candidates": found, "was": was}


def _masks(found: Predictions, session: Session) -> list[Row]:
    return [
        {
            "position": mask.position,
            "candidates": [
                _candidate(one.token, one.probability, _name_of(session, mask.position, one))
                for one in mask.predictions
            ],
        }
        for mask in found.masks
    ]


def _classes(found: Classes) -> list[Row]:
    return [
        {
            "position": one.position,
            "candidates": [
                _candidate(each.answer, each.probability, each.answer, each.logit)
                for each in one.candidates
            ],
        }
        for one in found.outputs
    ]


def _candidate(token: str, probability: float | None, name: str, logit: float = 0.0) -> Row:
    shown = significant(logit) if probability is None else percent(probability)
    return {"word": word(token), "name": name, "percent": shown}


def _name_of(session: Session, position: int | None, one: Prediction) -> str:
    """A token as the parameters `answer` and `contrast` take it; a label as it is."""
    if position is None or is_classifier(session.explorer):
        return one.token
    with suppress(RangeError, TextError):
        tokenizer, encoding = session.explorer.tokenizer, session.encoding
        if find_token(tokenizer, one.token.strip(), encoding, position) == one.token_id:
            return one.token.strip()
    return Target(position, one.token, one.token_id).spelling


def _parity(found: Predictions | Classes) -> dict[str, Any] | None:
    """Whether transformers names the same answers; None where it isn't asked."""
    theirs = found.comparison
    if theirs is None:
        return {"good": False, "text": found.refusal} if found.refusal else None
    is_same = theirs.same_order if isinstance(found, Classes) else theirs.same_top_k  # type: ignore[union-attr]
    largest = significant(theirs.max_abs_logit_difference, 2)
    return {
        "good": is_same,
        "text": "matches transformers" if is_same else "another order in transformers",
        "more": f"Largest logit difference {largest} from transformers {theirs.version} on the "
        "same weights.",
    }


def other_text(session: Session, view: str) -> dict[str, Any]:
    """The settings that give a view a second text: the smallest change that moves the answer.

    Raises:
        MbexploreError: there is none, or the text has no answer.
    """
    change = WhyView().of(session).data.why.counterfactual
    if change is None:
        raise TextError("No change of up to 3 words that was tried moves the answer; type a text.")
    others, own = SECOND_TEXTS[view]
    texts = dict.fromkeys(others, change.encoding.texts[0]) | dict.fromkeys(own, session.texts[0])
    return {"settings": texts}
