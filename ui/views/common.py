"""What several views of the page share: how states, tokens and predictions are told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mbexplore.errors import ModelError, TextError
from mbexplore.explorer import Prediction
from mbexplore.network.config import ModernBertConfig
from mbexplore.network.heads import (
    REGRESSION,
    ClassifierModel,
    ModernBertForMultipleChoice,
    ModernBertForQuestionAnswering,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
)

from ..parts import Hue, cell, heat, table
from ..protocol import Part
from ..sessions import Desk
from ..text import label

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUS = "\N{MINUS SIGN}"


def check_one_text(desk: Desk) -> None:
    """Makes sure that the model's head can do with the one text that the page takes.

    Raises:
        ModelError: it needs a second one.
    """
    model = desk.explorer.model
    if isinstance(model, ModernBertForQuestionAnswering | ModernBertForMultipleChoice):
        raise ModelError(
            f"{desk.explorer.info.name} {model.does} and needs a second text, which this page does "
            "not take; ask it on the command line."
        )


def labels_tokens(desk: Desk) -> bool:
    """Whether the model's head has a label for every token."""
    return isinstance(desk.explorer.model, ModernBertForTokenClassification)


def gives_number(desk: Desk) -> bool:
    """Whether the model's head gives a text one number, and no answer among several."""
    model = desk.explorer.model
    return isinstance(model, ModernBertForSequenceClassification) and model.problem == REGRESSION


def asked_position(desk: Desk, token: int, *, masks_only: bool = True) -> int | None:
    """The token whose answer a view explains; None where the answer is about the whole text.

    Of a masked-language model it is the held mask, or else the first, so a look at another token
    asks for nothing anew. Where tokens have labels it is the held token.

    Args:
        desk: the text and the model.
        token: the held one; -1 for none.
        masks_only: whether a masked-language model is asked at its masks alone.

    Raises:
        ModelError: the model has no head, or one that needs a second text.
        TextError: the text has no mask.
    """
    check_one_text(desk)
    if labels_tokens(desk):
        return held_or_first(desk, token)
    if isinstance(desk.explorer.model, ClassifierModel):
        return None
    desk.explorer.masked_lm()
    if not masks_only:
        return held_or_first(desk, token)
    masks = desk.encoding.mask_positions
    if not masks:
        raise TextError("The text has no mask to explain; click a word to hide it.")
    return token if token in masks else masks[0]


def held_or_first(desk: Desk, token: int) -> int:
    """The held token; where none is, the first mask, or else the first token."""
    if 0 <= token < len(desk.encoding):
        return token
    return next(iter(desk.encoding.mask_positions), 0)


def window(first: int, place: int, count: int, most: int) -> slice:
    """The tokens that are drawn large of a text of `count`.

    Args:
        first: where they start; below 0 they stand about `place`.
        place: a token that is to be among them.
        count: tokens of the text.
        most: how many at most.
    """
    low = first if first >= 0 else place - most // 2
    low = max(0, min(low, count - most))
    return slice(low, min(low + most, count))


def token_names(tokens: Sequence[str]) -> list[str]:
    """Tokens as labels of columns and rows."""
    return [label(token) for token in tokens]


def pair_names(first: Sequence[str], second: Sequence[str]) -> list[str]:
    """Tokens of two texts as labels, both where they differ."""
    both = zip(token_names(first), token_names(second), strict=True)
    return [a if a == b else f"{a} | {b}" for a, b in both]


def first_difference(first: Sequence[str], second: Sequence[str]) -> int:
    """The first place at which two texts differ; 0 where they don't."""
    return next((i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b), 0)


def state_names(config: ModernBertConfig) -> list[str]:
    """The states of the residual stream, the embeddings first."""
    return ["embeddings", *(f"layer {i}" for i in range(config.num_hidden_layers))]


def depth_heat(config: ModernBertConfig, values: NDArray[Any], **rest: Any) -> Part:
    """A heat map with a row for each layer, or for each state; a click on a row holds its layer.

    Args:
        config: of the model.
        values: (layers or states, column).
        **rest: as `parts.heat` takes them.
    """
    extra = len(values) - config.num_hidden_layers  # 1 for states
    kinds: list[Hue] = ["plain", *config.layer_kinds]
    holds = [None, *range(config.num_hidden_layers)][1 - extra :]
    names = state_names(config)[1 - extra :]
    return heat(values, rows=names, row_hues=kinds[1 - extra :], row_hold=holds, **rest)


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign, as people write it; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text[1:]


def whole_number(value: int) -> str:
    """A distance with its sign; 0 has none."""
    return f"{value:+d}".replace("-", MINUS) if value else "0"


def scientific(value: float) -> str:
    """A very small number, "4.8e\N{MINUS SIGN}7"."""
    if value == 0:
        return "0"
    digits, _, power = f"{value:.1e}".partition("e")
    return f"{digits}e{int(power)}".replace("-", MINUS)


def per_cent(share: float) -> str:
    """A probability or a weight; what is too small for the digits is told from nothing."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def agreement(summary: str) -> str:
    """How far ours is from Hugging Face's, with its numbers as the page writes them."""
    return re.sub(r"\d\.\de[+-]\d+", lambda found: scientific(float(found[0])), summary)


def prediction_table(
    title: str, predictions: Sequence[Prediction], followed: int | None = None, digits: int = 2
) -> Part:
    """The likeliest tokens with their probabilities as bars.

    Args:
        title: whose they are.
        predictions: falling.
        followed: id of the token that is followed; it stands out.
        digits: of the logits, after the point.
    """
    rows = [
        [
            cell(label(p.token), strong=p.token_id == followed),
            cell(per_cent(p.probability), bar=p.probability, hue="global"),
            cell(f"{p.logit:.{digits}f}".replace("-", MINUS)),
        ]
        for p in predictions
    ]
    return table(["token", "probability", "logit"], rows, title=title, left=("token",))
