"""What the page says above every view: the answer, its rivals, and whether Hugging Face agrees."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mbexplore.analysis.target import Target, find_token
from mbexplore.display.numbers import percent, significant
from mbexplore.errors import RangeError, TextError
from mbexplore.session import Session
from mbexplore.text import word
from mbexplore.views.classes import Classes
from mbexplore.views.predict import Predictions, PredictView
from mbexplore.views.why import WhyView

TOP = 5
"""Candidates of an answer."""
SECOND_TEXTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "patch": (("other",), ()),
    "compare": (("other",), ()),
    "steer": (("toward",), ("away",)),
}
"""Views that show nothing without a second text: settings for that one, and for the text itself."""


def answers_of(session: Session, *, hf: bool) -> dict[str, Any]:
    """The likeliest answers at each mask, or of a classifier; with `hf`, transformers' agreement.

    Raises:
        MbexploreError: the text has no mask, or the model no head.
    """
    found = PredictView(top_k=TOP, hf=hf).of(session).data
    rows = _classes(found) if isinstance(found, Classes) else _masks(found, session)
    return {"answers": rows, "parity": _parity(found)}


def _masks(found: Predictions, session: Session) -> list[dict[str, Any]]:
    def name(token: str, token_id: int, position: int) -> str:
        """As the parameters `answer` and `contrast` take it."""
        with suppress(RangeError, TextError):
            tokenizer, encoding = session.explorer.tokenizer, session.encoding
            if find_token(tokenizer, token.strip(), encoding, position) == token_id:
                return token.strip()
        return Target(position, token, token_id).spelling

    return [
        {
            "position": mask.position,
            "candidates": [
                {
                    "word": word(one.token),
                    "name": name(one.token, one.token_id, mask.position),
                    "percent": percent(one.probability),
                }
                for one in mask.predictions
            ],
        }
        for mask in found.masks
    ]


def _classes(found: Classes) -> list[dict[str, Any]]:
    return [
        {
            "position": one.position,
            "candidates": [
                {
                    "word": word(each.answer),
                    "name": each.answer,
                    "percent": significant(each.logit)
                    if each.probability is None
                    else percent(each.probability),
                }
                for each in one.candidates
            ],
        }
        for one in found.outputs
    ]


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
