"""What several views show alike: names of layers and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mbexplore.display.blocks import Hue
from mbexplore.display.numbers import significant
from mbexplore.errors import TransformersError
from mbexplore.text import word

if TYPE_CHECKING:
    from mbexplore.analysis.classify import ClassComparison
    from mbexplore.explorer import Comparison
    from mbexplore.session import Session


Found = TypeVar("Found")

HUGGING_FACE = "Hugging Face"
"""The other side of a comparison, as it is named everywhere."""


def compared(compare: Callable[[], Found], wanted: bool) -> tuple[Found | None, str]:
    """Hugging Face's side where it is wanted, or why it has none: ours stands by itself then."""
    try:
        return (compare() if wanted else None), ""
    except TransformersError as error:
        return None, str(error)


def difference(comparison: Comparison | ClassComparison) -> str:
    """How far our logits are from Hugging Face's, in a sentence."""
    largest = significant(comparison.max_abs_logit_difference, 2)
    return (
        f"Largest logit difference {largest} from transformers {comparison.version} on the same "
        "weights."
    )


def around(text: str, span: tuple[int, int], most: int) -> str:
    """The part of a text around a span, in whole words and at most `most` characters."""
    start, end = span
    left = max(0, min(start - (most - (end - start)) // 2, len(text) - most))
    right = min(len(text), max(left + most, end))
    while 0 < left < start and not text[left - 1].isspace():
        left += 1
    while end < right < len(text) and not text[right].isspace():
        right -= 1
    ellipsis = "\N{HORIZONTAL ELLIPSIS}"
    return ellipsis * (left > 0) + text[left:right] + ellipsis * (right < len(text))


def state_names(session: Session) -> tuple[str, ...]:
    """Names of the states of the residual stream: "embeddings", "layer 0", ..."""
    layers = session.explorer.model.config.num_hidden_layers
    return ("embeddings", *(f"layer {i}" for i in range(layers)))


def layer_names(session: Session) -> tuple[str, ...]:
    """Names of the layers."""
    return state_names(session)[1:]


def layer_hues(session: Session, *, states: bool = False) -> tuple[Hue, ...]:
    """The hue of each layer; with `states`, of the embeddings before them too."""
    kinds = session.explorer.model.config.layer_kinds
    return ("plain", *kinds) if states else tuple(kinds)


def token_names(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Tokens as labels."""
    return tuple(word(token) for token in tokens)
